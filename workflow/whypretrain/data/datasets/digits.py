"""1,797 handwritten digits of 8x8 pixels, as scikit-learn ships them."""

import numpy as np
import pydantic

PACKAGES = ("scikit-learn", "pillow")  # what the bytes depend on beside numpy

SOURCE = (
    "Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, 1998; UCI Machine Learning "
    "Repository, https://doi.org/10.24432/C50P49): its test set of 1,797 images by 13 writers, "
    "as scikit-learn's load_digits reads it from its own files"
)
LICENCE = (
    "Images: Creative Commons Attribution 4.0 International (UCI Machine Learning Repository). "
    "The package scikit-learn that carries them: BSD 3-Clause"
)

COUNTS = {"0": 178, "1": 182, "2": 177, "3": 183, "4": 181, "5": 182, "6": 181, "7": 179, "8": 174, "9": 180}
SIDE = 8
BRIGHTEST = 16


class Parameters(pydantic.BaseModel):
    """No parameters: the images are what they are."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def class_counts(parameters: Parameters) -> dict[str, int]:
    """Return the number of images of each class."""
    return dict(COUNTS)


def prepare(parameters: Parameters, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (1797, 1, size, size) uint8 and labels (1797,) int64.

    The values 0…16 become 0…255, rounded; then Pillow's BILINEAR filter enlarges:
    linear interpolation, on 8-bit images in integers.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    scaled = (pixels.astype(np.int64) * 255 + BRIGHTEST // 2) // BRIGHTEST
    images = scaled.astype(np.uint8).reshape(-1, SIDE, SIDE)
    if size != SIDE:
        images = np.stack(
            [np.asarray(Image.fromarray(i).resize((size, size), Image.Resampling.BILINEAR)) for i in images]
        )
    return images[:, None], labels.astype(np.int64)
