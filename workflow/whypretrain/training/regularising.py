"""What a regulariser does to a training step: the hooks that the training loop takes, and who fills them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from whypretrain import registry
from whypretrain.networks.network import Network


@dataclass(frozen=True)
class Regulariser:
    """What changes in a step, in the order of the step; what isn't named stays as it is without a regulariser.

    `images` takes a batch as the network does, standardised (n, c, h, w); `features` the penultimate ones before the
    head, those of copies that share their images in one tensor (copies, n, d). `smoothing` is the share of each label
    that is spread over all classes in the loss whose gradient is taken. `gradients` changes `.grad` in place, told the
    network and the number of the step, from 1; gradients are clipped, and weight decay is added, after it. Evaluation
    knows none of these.
    What they draw they draw from one of the `generators`, whose states are part of a training's. There is one for each
    set of images: copies that share their images share what is drawn, as those of a seed do at all learning rates.
    """

    images: Callable[[Tensor, torch.Generator], Tensor] = lambda tensor, generator: tensor
    features: Callable[[Tensor, torch.Generator], Tensor] = lambda tensor, generator: tensor
    smoothing: float = 0.0
    gradients: Callable[[Network, int, Sequence[torch.Generator]], None] = lambda network, number, generators: None
    generators: tuple[torch.Generator, ...] = ()

    def on_images(self, sets: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the batch of each set of images as the network is to see it."""
        if not self.generators:
            return sets
        return [self.images(own, generator) for own, generator in zip(sets, self.generators, strict=True)]

    def on_features(self, network: Network) -> RemovableHandle:
        """Let the head take changed features in training, until the returned hook is removed."""

        def change(head: nn.Module, taken: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            if not (head.training and self.generators):
                return taken
            # (n, sets · copies of one · d, ...), one copy beside the other
            width = head.get_parameter("weight").shape[1]
            parts = taken[0].unflatten(1, (len(self.generators), -1, width)).movedim((1, 2), (0, 1))
            changed = [self.features(own, generator) for own, generator in zip(parts, self.generators, strict=True)]
            return (torch.stack(changed).movedim((0, 1), (1, 2)).flatten(1, 3),)

        assert network.head is not None  # what learns has one
        return network.head.register_forward_pre_hook(change)


NONE = Regulariser()


def learning(network: Network) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, values and gradient of every parameter that this step changes: frozen ones have no gradient."""
    for name, parameter in network.learning().items():
        if parameter.grad is not None:
            yield name, parameter.detach(), parameter.grad


def pulling(strength: float, pull: Callable[[str, Tensor], Tensor | None]) -> Regulariser:
    """Return what adds strength · pull(name, weight) to the gradients, but for biases and norms; nothing for None."""

    def add(network: Network, number: int, generators: Sequence[torch.Generator]) -> None:
        for name, weight, gradient in learning(network):
            if network.is_decaying(name) and (force := pull(name, weight)) is not None:
                gradient.add_(force, alpha=strength)

    return Regulariser(gradients=add)


def build(chosen: Mapping[str, Any] | None, network: Network, streams: Sequence[np.random.Generator]) -> Regulariser:
    """Return the regulariser that a recipe names (`name`, `strength`) for a network before it learns, or none.

    The module is given the weights that training begins with, but for the head, which is new on every target. It draws
    from generators on the CPU, one seeded from each of the `streams`, so what is drawn doesn't depend on the device.
    Raises ValueError for a name that doesn't exist.
    """
    if chosen is None:
        return NONE
    head, parameters = f"{network.card.head}.", network.module.named_parameters()
    start = {name: values.detach().clone() for name, values in parameters if not name.startswith(head)}
    found: Regulariser = registry.load("regularisers", chosen["name"]).regularise(chosen["strength"], start)
    return replace(found, generators=tuple(torch.Generator().manual_seed(int(s.integers(2**63))) for s in streams))
