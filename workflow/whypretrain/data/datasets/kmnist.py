"""Kuzushiji-MNIST: 70,000 letters of old Japanese books of 28x28 pixels, 10,000 of them the test set."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "KMNIST Dataset (T. Clanuwat and others, 2018, https://doi.org/10.20676/00000341): created by CODH, adapted "
    "from the Kuzushiji Dataset of NIJL and others"
)
LICENCE = "Creative Commons Attribution-ShareAlike 4.0"


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/kmnist"


SET = sets.Published(
    name="KMNIST",
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    images={"train": 6000, "test": 1000},
    splits=sets.TRAIN_OR_NOT,
    address="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    files={
        "KMNIST/raw/train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
        "KMNIST/raw/train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
        "KMNIST/raw/t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
        "KMNIST/raw/t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
    },
    colours=1,
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
