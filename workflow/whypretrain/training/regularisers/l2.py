"""L2: adds strength / 2 · Σ w² to the loss, over all learning weights, those of the head too.

It is weight decay, on top of the recipe's own, but for networks without norm: their gradients are clipped with the
penalty's inside, weight decay comes after the clipping.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from whypretrain.networks.network import Network
from whypretrain.training.regularising import Regulariser, penalised

STRENGTH = "the factor of half the sum of squared weights"


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the hook that adds strength · w to the gradients."""

    def pull(network: Network, number: int, generators: Sequence[torch.Generator]) -> None:
        for _, weight, gradient in penalised(network):
            gradient.add_(weight, alpha=strength)

    return Regulariser(gradients=pull)
