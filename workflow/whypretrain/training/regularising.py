"""What a regulariser does to a training step: the hooks that the training loop takes, and who fills them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from whypretrain import registry
from whypretrain.networks.network import Network


def _as_they_are(tensor: Tensor) -> Tensor:
    return tensor


def _unchanged(network: Network, number: int) -> None:
    pass


@dataclass(frozen=True)
class Regulariser:
    """What changes in a step, in the order of the step; what isn't named stays as it is without a regulariser.

    `images` takes a batch as the network does, standardised (n, c, h, w); `features` the penultimate ones
    (n, d) before the head. `smoothing` is the share of each label that is spread over all classes in the loss
    whose gradient is taken. `gradients` changes `.grad` in place, told the network and the number of the step,
    from 1; gradients are clipped, and weight decay is added, after it. Evaluation knows none of these.
    `generator` is what it draws from, whose state is part of a training's.
    """

    images: Callable[[Tensor], Tensor] = _as_they_are
    features: Callable[[Tensor], Tensor] = _as_they_are
    smoothing: float = 0.0
    gradients: Callable[[Network, int], None] = _unchanged
    generator: torch.Generator | None = None

    def on_features(self, network: Network) -> RemovableHandle:
        """Let the head take changed features in training, until the returned hook is removed."""

        def change(head: nn.Module, taken: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (self.features(taken[0]),) if head.training else taken

        assert network.head is not None  # what learns has one
        return network.head.register_forward_pre_hook(change)


NONE = Regulariser()


def learning(network: Network) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, values and gradient of every parameter that this step changes: frozen ones have no gradient."""
    for name, parameter in network.learning().items():
        if parameter.grad is not None:
            yield name, parameter.detach(), parameter.grad


def penalised(network: Network) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield of those what penalties are about, as weight decay is: neither biases nor norms."""
    return (found for found in learning(network) if network.is_decaying(found[0]))


def build(chosen: Mapping[str, Any] | None, network: Network, stream: np.random.Generator) -> Regulariser:
    """Return the regulariser that a recipe names (`name`, `strength`) for a network before it learns, or none.

    The module is given the weights that training begins with, but for the head, which is new on every target.
    It draws from a generator on the CPU, seeded from `stream`, so what is drawn doesn't depend on the device.
    Raises ValueError for a name that doesn't exist.
    """
    if chosen is None:
        return NONE
    head, parameters = f"{network.card.head}.", network.module.named_parameters()
    start = {name: values.detach().clone() for name, values in parameters if not name.startswith(head)}
    generator = torch.Generator().manual_seed(int(stream.integers(2**63)))
    found: Regulariser = registry.load("regularisers", chosen["name"]).regularise(chosen["strength"], start, generator)
    return replace(found, generator=generator)
