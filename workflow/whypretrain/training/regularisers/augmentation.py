"""Random shifts: each image of each batch moves by whole pixels along both axes.

What comes into view repeats the image's edge, whatever its background is. Nothing is flipped, turned or scaled: a
letter or digit stays the one it is (a turned 6 is a 9), and no pixel gets a value that its image hasn't.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from whypretrain.training.regularising import Regulariser

STRENGTH = "the largest shift along each axis, as a share of the side"
LIMIT = ("up to", 0.5)
OF_IMAGES = True


def reach(strength: float, side: int) -> int:
    """Return the largest shift in pixels: the share of the side, and one at least where there is any."""
    return math.ceil(round(strength * side, 9))  # 0.1 of 30 is 3, whatever floats say


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Return images (n, c, h, w), each moved `down` and `right` (n,) by whole pixels; its edge goes on outside."""
    n, _, height, width = images.shape
    rows = (torch.arange(height) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width) - right[:, None]).clamp(0, width - 1)
    places = (torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :])
    image, row, column = (place.to(images.device) for place in places)
    moved = images[image, :, row, column].permute(0, 3, 1, 2)
    return torch.empty_like(images).copy_(moved)  # the memory's order is part of a convolution's bits


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the hook that moves each image by its own shift, uniform over all whole pixels up to the largest."""

    def move(images: Tensor, generator: torch.Generator) -> Tensor:
        down, right = (
            torch.randint(-most, most + 1, (len(images),), generator=generator)
            for most in (reach(strength, side) for side in images.shape[2:])
        )
        return shift(images, down, right)

    return Regulariser(images=move)
