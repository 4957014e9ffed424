"""L2: adds strength / 2 · Σ w² to the loss, over all learning weights, those of the head too.

It is weight decay, on top of the recipe's own, but for networks without norm: their gradients are clipped with the
penalty's inside, weight decay comes after the clipping.
"""

from collections.abc import Mapping

from torch import Tensor

from whypretrain.training.regularising import Regulariser, pulling

STRENGTH = "the factor of half the sum of squared weights"


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the hook that adds strength · w to the gradients."""
    return pulling(strength, lambda name, weight: weight)
