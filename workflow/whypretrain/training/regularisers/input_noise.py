"""Gaussian noise on every pixel of every batch (Bishop 1995: a penalty on the network's slopes)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from whypretrain.training.regularising import Regulariser

STRENGTH = "the standard deviation on standardised images"
OF_IMAGES = True


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the hook that adds independent noise of standard deviation `strength` to standardised images."""

    def add_noise(images: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        return torch.add(images, noise, alpha=strength)

    return Regulariser(images=add_noise)
