"""L1: adds strength · Σ |w| to the loss, over all learning weights, those of the head too (Tibshirani 1996)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from whypretrain.networks.network import Network
from whypretrain.training.regularising import Regulariser, penalised

STRENGTH = "the factor of the sum of absolute weights"


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the hook that adds strength · sign(w) to the gradients; a weight of 0 has the subgradient 0."""

    def pull(network: Network, number: int, generators: Sequence[torch.Generator]) -> None:
        for _, weight, gradient in penalised(network):
            gradient.add_(weight.sign(), alpha=strength)

    return Regulariser(gradients=pull)
