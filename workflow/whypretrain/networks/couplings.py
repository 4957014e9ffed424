"""Which channels of a network go together, found by torch-pruning, and the order of them that is most like another's.

A coupling is one set of channels, that of a residual stage or of one layer, with every tensor that has an entry for
each of them. It finds none for some networks (ShuffleNet, ConvNeXt's layer scale, norm-free ones); that is said.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from whypretrain.networks.building import build, loaded
from whypretrain.networks.card import Card
from whypretrain.networks.network import Network, Weights

SWEEPS = 100
LEAST_GAIN = 1e-12  # of the sum of products; less is rounding
MOVED = 1e-3  # of the largest logit: more than rounding


@dataclass(frozen=True)
class Part:
    """A tensor with an entry for each channel along an axis: `places` (k, channels) of k entries for each."""

    name: str
    axis: int
    places: np.ndarray


@dataclass(frozen=True)
class Coupling:
    """Channels that go together: how many, in how many groups that keep theirs, and their tensors.

    `weights` names the weights whose filters they are.
    """

    channels: int
    groups: int
    parts: tuple[Part, ...]
    weights: tuple[str, ...]

    def permuted(self, weights: Weights, order: np.ndarray) -> Weights:
        """Return weights with channel `order[c]` at place c, in all that has it; a head may be missing."""
        found = dict(weights)
        for part in self.parts:
            if part.name in found:
                array = np.array(found[part.name])
                moved = np.take(array, part.places[:, order].ravel(), axis=part.axis)
                index = (slice(None),) * part.axis + (part.places.ravel(),)
                array[index] = moved
                found[part.name] = array
        return found

    def order(self, generator: np.random.Generator) -> np.ndarray:
        """Draw an order of the channels that leaves each in its group."""
        if self.groups == 1:
            return generator.permutation(self.channels)
        size = self.channels // self.groups
        within = generator.permutation(size)  # one for all groups: a grouped convolution reads all of them alike
        return (np.arange(self.groups)[:, None] * size + within).ravel()


def couplings(card: Card, size: int) -> list[Coupling]:
    """Return the couplings of a network's layers in forward order, found on images of a size.

    Raises ValueError, in one sentence, where they can't be found.
    """
    network = build(card, classes=2)
    try:
        with torch.enable_grad():  # the graph is that of the gradients
            return list(_found(network, size))
    except Exception as error:  # what a finder of graphs can't follow has many types
        raise ValueError(
            f"the channels of '{card.name}' that go together can't be found ({type(error).__name__})"
        ) from None


def _found(network: Network, size: int) -> Iterator[Coupling]:
    import torch_pruning

    module = network.eval().module
    images = torch.zeros(1, network.card.channels, size, size)
    graph = torch_pruning.DependencyGraph().build_dependency(module, example_inputs=images)
    names = {each: name for name, each in module.named_modules()}
    number = {weight.name: layer.number for layer in network.card.layers for weight in layer.weights}
    found = [
        _coupling(graph, group, names)
        for group in graph.get_all_groups(ignored_layers=[network.head], root_module_types=[nn.Conv2d, nn.Linear])
    ]
    return iter(sorted(found, key=lambda each: min(number.get(name, 10**9) for name in each.weights)))


def _coupling(graph: Any, group: Any, names: dict[nn.Module, str]) -> Coupling:
    channels = len(group[0].idxs)
    parts: dict[tuple[str, int, bytes], Part] = {}
    weights, groups = [], 1
    for item in group:
        module = item.dep.target.module
        if not names.get(module):
            continue
        name, grouped = names[module], _groups(module)
        depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
        if grouped > 1 and not depthwise:
            groups = max(groups, grouped)
        out = graph.is_out_channel_pruning_fn(item.dep.handler)
        places = _places(item, channels)
        for tensor, axis in _tensors(module, name, out or depthwise):
            if axis == 1 and grouped > 1:  # inputs of a group are numbered within it
                places = places[:, : channels // grouped]
            parts.setdefault((tensor, axis, places.tobytes()), Part(tensor, axis, places))
        if isinstance(module, nn.Conv2d | nn.Linear) and (out or depthwise) and f"{name}.weight" not in weights:
            weights.append(f"{name}.weight")
    return Coupling(channels, groups, tuple(parts.values()), tuple(weights))


def _groups(module: nn.Module) -> int:
    if isinstance(module, nn.GroupNorm):
        return module.num_groups
    return module.groups if isinstance(module, nn.Conv2d) else 1


def _tensors(module: nn.Module, name: str, out: bool) -> Iterator[tuple[str, int]]:
    inputs = isinstance(module, nn.Conv2d | nn.Linear) and not out
    for tensor in ("weight",) if inputs else ("weight", "bias", "running_mean", "running_var"):
        if isinstance(getattr(module, tensor, None), torch.Tensor):
            yield f"{name}.{tensor}", int(inputs)


def _places(item: Any, channels: int) -> np.ndarray:
    """Return the places (k, channels) of each channel: several where maps are flattened or put side by side."""
    roots = item.root_idxs if item.root_idxs is not None and len(item.root_idxs) == len(item.idxs) else None
    found = defaultdict(list)
    for place, root in zip(item.idxs, roots if roots is not None else range(len(item.idxs)), strict=True):
        found[int(root)].append(int(place))
    return np.array([found[channel] for channel in range(channels)]).T


def check_kept(card: Card, before: Weights, after: Weights, size: int) -> None:
    """Raise ValueError where the logits of a network of those weights moved by more than rounding."""
    if f"{card.head}.weight" not in before:
        return
    images = torch.randn(2, card.channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = [loaded(card, weights).eval()(images) for weights in (before, after)]
    moved = float((logits[0] - logits[1]).abs().max() / logits[0].abs().max().clamp(min=1e-12))
    if moved > MOVED:
        raise ValueError(
            f"permuting channels of '{card.name}' moves its logits by {moved:.1%}: they go together otherwise"
        )


def match(a: Weights, b: Weights, couplings: Sequence[Coupling], stream: np.random.Generator) -> Weights:
    """Return b, which keeps its function, with its channels permuted to be most like a's, of the same architecture.

    Git Re-Basin (Ainsworth et al. 2023, algorithm 1), coordinate descent: couplings are visited in an order that
    `stream` draws anew for each sweep, and each takes the order of channels that has the largest sum of products of a's
    and b's parameters; it ends when a sweep moves nothing, or after 100, in an optimum that may be local. Channels in
    groups stay where they are. Statistics of norms follow but don't count. Raises ValueError where weights aren't
    finite.
    """
    free = [coupling for coupling in couplings if coupling.groups == 1]
    wanted = [_channels(a, coupling) for coupling in free]
    matched = dict(b)
    for _ in range(SWEEPS):
        moved = False
        for number in stream.permutation(len(free)).tolist():
            likeness = wanted[number] @ _channels(matched, free[number]).T
            _, order = linear_sum_assignment(likeness, maximize=True)
            if likeness[np.arange(len(order)), order].sum() > likeness.trace() + LEAST_GAIN:
                matched = free[number].permuted(matched, order)
                moved = True
        if not moved:
            break
    return matched


def _channels(weights: Weights, coupling: Coupling) -> np.ndarray:
    """Return all parameters that move with each channel, one channel a row."""
    rows = []
    for part in coupling.parts:
        if ".running_" in part.name or part.name not in weights:
            continue
        array = np.moveaxis(weights[part.name], part.axis, 0).reshape(weights[part.name].shape[part.axis], -1)
        rows += [array[places] for places in part.places]
    return np.concatenate(rows, axis=1, dtype=np.float64)
