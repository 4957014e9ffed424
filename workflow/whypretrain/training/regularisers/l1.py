"""L1: adds strength · Σ |w| to the loss, over all learning weights, those of the head too (Tibshirani 1996)."""

from collections.abc import Mapping

from torch import Tensor

from whypretrain.training.regularising import Regulariser, pulling

STRENGTH = "the factor of the sum of absolute weights"


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the hook that adds strength · sign(w) to the gradients; a weight of 0 has the subgradient 0."""
    return pulling(strength, lambda name, weight: weight.sign())
