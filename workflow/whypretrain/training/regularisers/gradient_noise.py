"""Gaussian noise on the gradients that fades as training goes on (Neelakantan et al. 2015).

Its variance is strength / (1 + t)^0.55, t the number of steps done before. It falls on all that learns, biases and
norms too. In networks without norm it is clipped with the gradient.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from whypretrain.networks.network import Network
from whypretrain.training.regularising import Regulariser, learning

STRENGTH = "the variance at the first step"
DECAY = 0.55


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the hook that adds independent noise to the gradients."""

    def add_noise(network: Network, number: int, generators: Sequence[torch.Generator]) -> None:
        deviation = math.sqrt(strength / number**DECAY)
        sharing = network.copies // len(generators)
        for _, _, gradient in learning(network):
            for own, generator in zip(gradient.chunk(len(generators)), generators, strict=True):
                copies = own.unflatten(0, (sharing, -1))
                noise = torch.randn(copies.shape[1:], generator=generator).to(gradient.device)
                copies.add_(noise, alpha=deviation)

    return Regulariser(gradients=add_noise)
