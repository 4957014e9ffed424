"""Dropout on the penultimate features (Srivastava et al. 2014), scaled in training so that their mean stays."""

from collections.abc import Mapping

import torch
from torch import Tensor

from whypretrain.training.regularising import Regulariser

STRENGTH = "the share of features that are set to zero"
LIMIT = ("below", 1.0)


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the hook that sets each feature of each image to 0 by chance `strength`, others to x / (1 - strength)."""

    def drop(features: Tensor, generator: torch.Generator) -> Tensor:
        kept = torch.rand(features.shape[1:], generator=generator) >= strength
        return features * (kept / (1 - strength)).to(features.device)

    return Regulariser(features=drop)
