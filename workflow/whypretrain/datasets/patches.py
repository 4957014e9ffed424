"""Crops of two photographs, each turned by a quarter turn or not; the label is the turn.

A source that is far from letters and digits, and needs no download. To tell how far a
crop has been turned is the task of Gidaris, Singh and Komodakis (2018, "Unsupervised
representation learning by predicting image rotations"). About half of the crops are
clear sky or blurred background and say little of it: no network comes near 100 %.
"""

import numpy as np
import pydantic

from whypretrain.randomness import stream

PACKAGES = ("scikit-learn", "pillow")  # what the bytes depend on beside numpy

SOURCE = (
    "The photographs china.jpg (by the Flickr user danielbuechele, "
    "https://www.flickr.com/photos/danielbuechele/6061409035/) and flower.jpg (by the Flickr user vultilion, "
    "https://www.flickr.com/photos/vultilion/6056698931/), 640x427 pixels each, as scikit-learn ships them; "
    "cut and turned by this module"
)
LICENCE = (
    "Photographs: Creative Commons Attribution 2.0 (by the README.txt beside them in scikit-learn, which names "
    "danielbuechele as the author of both). The package scikit-learn that carries them: BSD 3-Clause"
)

CLASSES = ("0", "90", "180", "270")  # degrees, counter-clockwise
PHOTOGRAPHS = 2
HEIGHT, WIDTH = 427, 640


class Parameters(pydantic.BaseModel):
    """How the photographs are cut."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    crop: int = pydantic.Field(
        20, ge=8, le=100, description="side of a crop, pixels of the photographs; crops of 20 are 1,344 images"
    )


def _labels(parameters: Parameters) -> np.ndarray:
    """Return the labels (2, crops of a photograph), each class as often as any other or once more."""
    crops = (HEIGHT // parameters.crop) * (WIDTH // parameters.crop)
    even = np.arange(PHOTOGRAPHS * crops).reshape(PHOTOGRAPHS, crops) % len(CLASSES)
    return np.stack([stream("rotation", parameters.crop, i).permutation(row) for i, row in enumerate(even)])


def class_counts(parameters: Parameters) -> dict[str, int]:
    """Return the number of images of each class."""
    counts = np.bincount(_labels(parameters).ravel(), minlength=len(CLASSES))
    return dict(zip(CLASSES, counts.tolist(), strict=True))


def prepare(parameters: Parameters, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, 1, size, size) uint8 and labels (n,) int64, photograph after photograph, row by row.

    The photographs become grey (Pillow's "L", the luminance of ITU-R 601) and are cut by a
    grid from their upper left corner. Crops share no pixel, and each appears once, in one
    rotation. It is turned before Pillow's BILINEAR filter resizes it (antialiased), so
    that nothing the filter does to an axis tells of the turn.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    side = parameters.crop
    rows, columns = HEIGHT // side, WIDTH // side
    labels = _labels(parameters)
    images = []
    for photograph, turns in zip(load_sample_images().images, labels, strict=True):
        grey = np.asarray(Image.fromarray(photograph).convert("L"))[: rows * side, : columns * side]
        crops = grey.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
        turned = (Image.fromarray(np.rot90(crop, turn).copy()) for crop, turn in zip(crops, turns, strict=True))
        images += [np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) for image in turned]
    return np.stack(images)[:, None], labels.ravel().astype(np.int64)
