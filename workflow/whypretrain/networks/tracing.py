"""What a network does with its weights, seen in one forward pass on the real module or on the meta device.

Every torch function of the pass is watched. So the order of the weights is that of their use, never that of their
registration; weights are seen in attention and standardisation too, where hooks of modules miss them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from whypretrain.networks.card import GATE, SHORTCUT, TRUNK, Layer, Weight, arranged

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
PRODUCTS = ("linear", "matmul", "__matmul__", "mm", "bmm", "addmm", "baddbmm", "einsum", "multi_head_attention_forward")
SUMS = ("add", "add_", "__add__", "__iadd__", "__radd__")
GATINGS = ("mul", "mul_", "__mul__", "__imul__", "__rmul__")
NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")
LOOKS = ("__get__", "__set__", "size", "dim", "shape", "stride", "is_contiguous", "__len__", "numel")  # at, not into


@dataclass(frozen=True)
class Place:
    """The output of a module at its call of that number, from 0."""

    module: str
    call: int


@dataclass
class _Use:
    """The first use of a weight: when, its groups, its output, and the weights that it comes from."""

    at: int
    groups: int
    shape: tuple[int, ...]
    sources: frozenset[str]
    ancestors: frozenset[str]
    depth: int
    role: str = TRUNK
    branch: str = ""  # the trunk weight that a shortcut or gate goes with
    along: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)


class _Output(NamedTuple):
    place: Place
    at: int
    tensor: int
    shape: tuple[int, ...]


class _Watch(TorchFunctionMode):
    """Notes each function of a forward pass: what its tensors come from, and which of them are in use when."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        named = chain(network.named_parameters(), network.named_buffers())
        self.names = {id(tensor): name for name, tensor in named}
        self.sizes = {name: tuple(p.shape) for name, p in network.named_parameters()}
        self.at = 0
        self.uses: dict[str, _Use] = {}
        self.comes_from: dict[int, frozenset[str]] = {}  # of tensors that derive from the images
        self.made_of: dict[int, frozenset[str]] = {}  # of tensors that derive from the network's own alone
        self.first: dict[int, int] = {}  # when a tensor that derives from the images was made
        self.last: dict[int, int] = {}  # and when it was taken for the last time
        self.kept: list[Tensor] = []  # so that no id is given twice
        self.early: list[str] = []  # what is taken before any weight
        self.outputs: list[_Output] = []
        self.calls: dict[str, int] = {}
        self.done: dict[str, int] = {}

    # --- functions -------------------------------------------------------------------------

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function and note what it did."""
        kwargs = kwargs or {}
        name = getattr(function, "__name__", str(function))
        result = function(*args, **kwargs)
        if name in LOOKS:
            return result
        self.at += 1
        taken = [leaf for leaf in tree_leaves((args, dict(kwargs))) if isinstance(leaf, Tensor)]
        own = [name for leaf in taken for name in self._own(leaf)]
        images = [leaf for leaf in taken if id(leaf) in self.comes_from]
        for leaf in images:
            self.last[id(leaf)] = self.at
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.kept += made
        if not images:
            self.made_of |= {id(leaf): frozenset(own) for leaf in made if own}
            return result
        sources = self._joined(name, images)
        weights = self._weights(taken) if name in CONVOLUTIONS + PRODUCTS else []
        for weight in weights:
            self._use(weight, images, made, sources)
        self._goes_along(name, [each for each in own if each not in weights], weights, sources)
        for leaf in made:
            self.comes_from[id(leaf)] = frozenset(weights[-1:]) or sources
            self.first.setdefault(id(leaf), self.at)
            self.last[id(leaf)] = self.at
        return result

    def _own(self, leaf: Tensor) -> Iterable[str]:
        if id(leaf) in self.names:
            return (self.names[id(leaf)],)
        return sorted(self.made_of.get(id(leaf), ()))

    def _weights(self, taken: list[Tensor]) -> list[str]:
        """Return the weights that a function convolves or multiplies with, each once, in the order of its arguments.

        Of what a weight is computed from, as of a weight and its gains, that is the largest.
        """
        found = []
        for leaf in taken:
            names = [each for each in self._own(leaf) if len(self.sizes.get(each, ())) > 1]
            if names and id(leaf) not in self.comes_from:
                found.append(max(names, key=lambda each: prod(self.sizes[each])))
        return list(dict.fromkeys(found))

    def _use(self, weight: str, images: list[Tensor], made: list[Tensor], sources: frozenset[str]) -> None:
        if weight in self.uses:
            return
        size, inputs = self.sizes[weight], images[0].shape
        groups = max(1, inputs[1] // size[1]) if len(size) > 2 and len(inputs) == len(size) else 1
        ancestors = sources.union(*(self.uses[each].ancestors for each in sources))
        depth = 1 + max((self.uses[each].depth for each in sources), default=0)
        shape = tuple(made[0].shape) if made else ()
        self.uses[weight] = _Use(self.at, groups, shape, sources, frozenset(ancestors), depth)

    def _goes_along(self, name: str, others: list[str], weights: list[str], sources: frozenset[str]) -> None:
        """Note parameters and buffers that a function takes beside weights as those of the weight they follow."""
        if not self.uses:
            self.early += others
            return
        use = self.uses[weights[-1] if weights else self._last(sources or self.uses)]
        use.along += [each for each in others if each not in use.along]
        if name in NORMS:
            use.norms += [m for m in dict.fromkeys(each.rpartition(".")[0] for each in others) if m not in use.norms]

    # --- sums and gates ------------------------------------------------------------------------

    def _joined(self, name: str, images: list[Tensor]) -> frozenset[str]:
        """Return what the result of a function comes from; where two branches meet, find shortcuts and gates."""
        found = [self.comes_from[id(leaf)] for leaf in images]
        if len(found) == 2 and all(found) and name in SUMS:
            self._shortcut(*found)
        if len(found) == 2 and all(found) and name in GATINGS:
            (a, b), (here, there) = found, images
            sizes = (here.numel(), there.numel()) if here.shape != there.shape else (self._size(a), self._size(b))
            if a != b and sizes[0] != sizes[1]:
                whole, gate = (a, b) if sizes[0] > sizes[1] else (b, a)
                self._gate(whole, gate)
                return whole
        every = frozenset().union(*found)
        trunk = frozenset(each for each in every if self.uses[each].role == TRUNK)
        return trunk or every

    def _shortcut(self, a: frozenset[str], b: frozenset[str]) -> None:
        """Mark the single layer of the shallower branch, where it isn't on the way of the other."""
        if len(a) != 1 or len(b) != 1:
            return
        for layer, end in ((*a, *b), (*b, *a)):
            use, last = self.uses[layer], self.uses[end]
            if layer not in last.ancestors and layer != end and use.depth < last.depth and use.role == TRUNK:
                use.role, use.branch = SHORTCUT, end

    def _last(self, sources: Iterable[str]) -> str:
        return max(sources, key=list(self.uses).index)

    def _size(self, sources: frozenset[str]) -> int:
        """Return how many numbers the last weight of some gives: a gate gives fewer, even where it is expanded."""
        return prod(self.uses[self._last(sources)].shape)

    def _gate(self, whole: frozenset[str], gate: frozenset[str]) -> None:
        """Mark all layers between what is gated and what gates it."""
        end, waiting = self._last(whole), list(gate - whole)
        while waiting:
            use = self.uses[waiting.pop()]
            if use.role == TRUNK and end in use.ancestors | use.sources:
                use.role, use.branch = GATE, end
                waiting += [each for each in use.sources if each not in whole and each != end]

    # --- modules --------------------------------------------------------------------------------

    def hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        """Return a forward hook that notes the output of a module."""

        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            call = self.calls.get(name, 0)
            self.calls[name], self.done[name] = call + 1, self.at
            if isinstance(output, Tensor) and id(output) in self.comes_from:
                self.outputs.append(_Output(Place(name, call), self.at, id(output), tuple(output.shape)))

        return note


@dataclass(frozen=True)
class Trace:
    """What one forward pass showed.

    `outputs` has for each layer the place of what it gives to what follows; `activations` the same before pooling: the
    last place with the layer's own height and width. `cuts` has the place where nothing but one tensor crosses from a
    layer to all above it, for the layers that have one. `used` says when the weight of each layer was used, and
    `done` when each module gave its last output.
    """

    layers: tuple[Layer, ...]
    head: str
    features: int
    head_convolves: bool
    outputs: dict[int, Place]
    activations: dict[int, Place]
    cuts: dict[int, Place]
    shapes: dict[Place, tuple[int, ...]]
    used: dict[int, int]
    done: dict[str, int]

    def before(self, layer: int) -> frozenset[str]:
        """Return the modules that are done before the weight of the layer above this one is used."""
        end = self.used.get(layer + 1, self.used[0])
        return frozenset(module for module, at in self.done.items() if at < end)


def trace(network: nn.Module, images: Tensor) -> Trace:
    """Return what a network in evaluation mode does with some images (n, c, h, w); it is called once.

    Raises ValueError where it has not one output (n, classes), or no head that is a linear layer or 1x1 convolution.
    """
    watch = _Watch(network)
    watch.comes_from[id(images)], watch.first[id(images)] = frozenset(), 0
    hooks = [module.register_forward_hook(watch.hook(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad(), watch:
            result = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(result, Tensor) or result.ndim != 2:
        raise ValueError("it gives no single output of shape (images, classes): it is no classification network")
    watch.last[id(result)] = watch.at + 1
    head, features, convolves = _head(network, watch, result)
    trunk = [name for name, use in watch.uses.items() if use.role == TRUNK and name != f"{head}.weight"]
    if not trunk:
        raise ValueError("it has no layer before its head")
    outputs, activations, cuts = _places(watch, trunk)
    layers = _layers(network, watch, trunk, head, set(cuts))
    shapes = {output.place: output.shape for output in watch.outputs}
    used = {number: watch.uses[name].at for number, name in enumerate(trunk, 1)}
    used[0] = watch.uses[f"{head}.weight"].at  # which is above the last layer
    return Trace(layers, head, features, convolves, outputs, activations, cuts, shapes, used, watch.done)


def _head(network: nn.Module, watch: _Watch, result: Tensor) -> tuple[str, int, bool]:
    """Return the name of the head's module, the number of its inputs, and whether it is a convolution."""
    last = next(reversed(watch.uses), "")
    name, _, tensor = last.rpartition(".")
    if watch.comes_from.get(id(result)) != {last} or tensor != "weight":
        raise ValueError("its output comes from more than one classifier: it has no single head")
    module = network.get_submodule(name)
    if isinstance(module, nn.Linear):
        return name, module.in_features, False
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
        return name, module.in_channels, True
    raise ValueError(f"its head '{name}' is a {type(module).__name__}; allowed: a linear layer or a 1x1 convolution")


def _places(watch: _Watch, trunk: list[str]) -> tuple[dict[int, Place], dict[int, Place], dict[int, Place]]:
    """Return for each layer the places of its output, of its activation, and of a cut, by the layer's number."""
    outputs, activations, cuts = (dict[int, Place]() for _ in range(3))
    uses = [watch.uses[name] for name in trunk]
    ends = [*(use.at for use in uses[1:]), max(use.at for use in watch.uses.values())]  # the head is the last
    for number, (use, end) in enumerate(zip(uses, ends, strict=True), 1):
        window = [each for each in watch.outputs if use.at <= each.at < end]
        alone = [each for each in window if _crossing(watch, each.at) == {each.tensor}]
        if alone:
            cuts[number] = alone[-1].place
        if window:
            outputs[number] = (alone or window)[-1].place
            before = window[: window.index(alone[-1]) + 1] if alone else window
            same = [each for each in before if each.shape[2:] == use.shape[2:]]
            activations[number] = (same or before)[-1].place
    for number in range(len(trunk) - 1, 0, -1):  # a layer whose output stays within a function is seen at the next one
        outputs.setdefault(number, outputs[number + 1])
        activations.setdefault(number, activations[number + 1])
    return outputs, activations, cuts


def _crossing(watch: _Watch, at: int) -> set[int]:
    """Return the tensors that were made by then and are taken afterwards."""
    return {tensor for tensor, first in watch.first.items() if first <= at < watch.last.get(tensor, 0)}


def _layers(network: nn.Module, watch: _Watch, trunk: list[str], head: str, cuts: set[int]) -> tuple[Layer, ...]:
    rest = _rest(network, watch, head)
    found: dict[str, list[Weight]] = {name: [] for name in trunk}
    for name, use in sorted(watch.uses.items(), key=lambda item: (item[1].role != TRUNK, item[1].at)):
        if name == f"{head}.weight":
            continue
        along = arranged((*use.along, *rest.get(name, ())), use.norms)
        end = name
        while watch.uses[end].role != TRUNK:
            end = watch.uses[end].branch
        found[end].append(Weight(name, watch.sizes[name], use.groups, use.role, along, tuple(use.norms)))
    layers, block = [], 0
    for number, name in enumerate(trunk, 1):
        block += number == 1 or number - 1 in cuts
        layers.append(Layer(number, block, tuple(found[name])))
    return tuple(layers)


def _rest(network: nn.Module, watch: _Watch, head: str) -> dict[str, list[str]]:
    """Return what no function took in evaluation mode, by the weight that its module goes with."""
    owners = {tensor: weight for weight, use in watch.uses.items() for tensor in (weight, *use.along)}
    modules = {tensor.rpartition(".")[0]: weight for tensor, weight in owners.items()}
    first = next(iter(watch.uses))
    rest: dict[str, list[str]] = {first: list(dict.fromkeys(watch.early))}
    for name, tensor in network.state_dict().items():
        if name in owners or name in rest[first] or not tensor.is_floating_point() or name.startswith(f"{head}."):
            continue
        module = name.rpartition(".")[0]
        if module in modules:  # of others, as auxiliary heads, nothing is used
            rest.setdefault(modules[module], []).append(name)
    return rest
