"""EMNIST's letters: 145,600 handwritten letters of 28x28 pixels, 26 classes, 20,800 of them the test set."""

import string
from typing import Any

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "EMNIST, its part of letters (G. Cohen, S. Afshar, J. Tapson, A. van Schaik, 2017, "
    "https://www.nist.gov/itl/products-and-services/emnist-dataset), made from NIST Special Database 19; a "
    "letter's capital and small form are one class. The files have rows and columns exchanged; here the letters "
    "stand upright"
)
LICENCE = (
    "None is stated by its authors; NIST gives it, and the database that it is made from, to anybody free of "
    "charge, and research use is customary"
)


def _upright(image: Any) -> Any:
    """Return an image of Pillow with rows and columns exchanged."""
    from PIL import Image

    return image.transpose(Image.Transpose.TRANSPOSE)


def _from_zero(label: int) -> int:
    """Return a label of 1 to 26 as one of 0 to 25."""
    return label - 1


LETTERS = {"split": "letters", "transform": _upright, "target_transform": _from_zero}
SPLITS = {part: LETTERS | split for part, split in sets.TRAIN_OR_NOT.items()}


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/emnist-letters"


SET = sets.Published(
    name="EMNIST",
    classes=string.ascii_lowercase,
    images={"train": 4800, "test": 800},
    splits=SPLITS,
    address="https://biometrics.nist.gov/cs_links/EMNIST/",
    files={"EMNIST/raw/gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"},
    colours=1,
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
