"""Cards: what is known of a network without torch.

A card has the network's layers in forward order with the names that its tensors have in the state dict, its head, and
the images that it takes. That of a plain convnet follows from config; those of torchvision's classification networks
are shipped in `torchvision.json`; any other is found once by the stage `describe_network`.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).with_name("torchvision.json")
TRUNK, SHORTCUT, GATE = "trunk", "shortcut", "gate"
SMALL_STEM = 3  # kernel of the small stem, stride 1


@dataclass(frozen=True)
class Weight:
    """A tensor that is convolved or multiplied with, and what goes with it.

    `shape` is (out, in / groups, kh, kw) of a convolution and (out, in) of a linear map. `along` names all other
    tensors that belong to it: bias, the parameters and statistics of the norms that follow, embeddings. `norms` names
    those norms' modules.
    """

    name: str
    shape: tuple[int, ...]
    groups: int = 1
    role: str = TRUNK
    along: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the weight and of all that goes with it."""
        return (self.name, *self.along)

    @property
    def kernel(self) -> tuple[int, ...]:
        """The size of a slice: (kh, kw) of a convolution, () of a linear map."""
        return self.shape[2:]

    def of_filters(self, arrays: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the tensors that have one entry for each filter: weight, bias, norms."""
        return tuple(n for n in self.tensors if n == self.name or arrays[n].shape == (self.shape[0],))


@dataclass(frozen=True)
class Layer:
    """A trunk weight, and the shortcuts and gates of its branch; layers of one `block` share a residual unit."""

    number: int
    block: int
    weights: tuple[Weight, ...]

    @property
    def weight(self) -> Weight:
        """The trunk weight."""
        return self.weights[0]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of all tensors of the layer."""
        return tuple(name for weight in self.weights for name in weight.tensors)

    @property
    def convolves(self) -> bool:
        """Whether the trunk weight is a convolution."""
        return len(self.weight.shape) > 2


@dataclass(frozen=True)
class Card:
    """A network's layers from the input on, its head, and its images.

    `head` is the name of the head's module, `features` the number of its inputs; one that `head_convolves` is a 1x1
    convolution. Images have `channels`, and are standardised by `mean` and `standard_deviation` for each channel (of
    plain convnets those are the study's); `size` is the network's own, `least` the smallest that it takes, and a
    `fixed` one takes no other than `size`. The modules `stem_convolution` and `stem_pooling` make the map smaller than
    the image by `stem_stride`. `architecture` is what config, with its name, says of it: what it is built from.
    """

    layers: tuple[Layer, ...]
    head: str
    features: int
    size: int
    least: int
    fixed: bool = False
    channels: int = 3
    mean: tuple[float, ...] = ()
    standard_deviation: tuple[float, ...] = ()
    stem_convolution: str = ""
    stem_pooling: str = ""
    stem_stride: int = 1
    head_convolves: bool = False
    made_by: str = ""
    architecture: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The name of the architecture in config."""
        return str(self.architecture["name"])

    @property
    def depth(self) -> int:
        """The number of layers, without the head."""
        return len(self.layers)

    @property
    def ends(self) -> tuple[int, ...]:
        """The number of the last layer of each block."""
        return tuple({layer.block: layer.number for layer in self.layers}.values())

    @property
    def has_norm(self) -> bool:
        """Whether any norm follows any layer."""
        return any(weight.norms for layer in self.layers for weight in layer.weights)

    @property
    def has_statistics(self) -> bool:
        """Whether any norm has running statistics."""
        return any(name.endswith(".running_mean") for layer in self.layers for name in layer.tensors)

    def layer(self, number: int) -> Layer:
        """Return a layer by its number, from 1."""
        return self.layers[number - 1]

    def tensors(self, layers: int | None = None) -> Iterator[str]:
        """Yield the names of all tensors of the first layers, without the head; of all for None."""
        return (name for layer in self.layers[:layers] for name in layer.tensors)

    def write(self) -> dict[str, Any]:
        """Return the card as JSON has it, without what is empty."""
        before = (0, *(layer.block for layer in self.layers))
        layers = [
            {"starts": layer.block - earlier, "weights": list(map(_written, layer.weights))}
            for layer, earlier in zip(self.layers, before, strict=False)
        ]
        others = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "architecture"}
        kept = {name: value for name, value in others.items() if value not in ("", (), False)}
        return kept | {"layers": [{key: value for key, value in layer.items() if value} for layer in layers]}


def _written(weight: Weight) -> dict[str, Any]:
    """Return a weight as JSON has it, without what is usual, and with the number of each norm's tensors alone."""
    counts = {norm: sum(name.startswith(f"{norm}.") for name in weight.along) for norm in weight.norms}
    of_norms = {name for norm, count in counts.items() for name in norm_tensors(norm, count)}
    told = {"groups": weight.groups, "role": weight.role, "norms": counts}
    told["along"] = [name for name in weight.along if name not in of_norms]
    usual = {"groups": 1, "role": TRUNK, "norms": {}, "along": []}
    own = {"name": weight.name, "shape": weight.shape}
    return own | {key: value for key, value in told.items() if value != usual[key]}


def norm_tensors(norm: str, count: int) -> tuple[str, ...]:
    """Return the names of a norm's tensors: four with running statistics, else two, or one without a shift."""
    names = {4: ("running_mean", "running_var", "weight", "bias"), 2: ("weight", "bias"), 1: ("weight",)}
    return tuple(f"{norm}.{name}" for name in names.get(count, ()))


def arranged(along: Iterable[str], norms: Iterable[str]) -> tuple[str, ...]:
    """Return the tensors that go with a weight in one order: others by name, then those of its norms."""
    names = list(dict.fromkeys(along))
    counts = {norm: sum(name.startswith(f"{norm}.") for name in names) for norm in norms}
    of_norms = [name for norm, count in counts.items() for name in norm_tensors(norm, count)]
    return (*sorted(name for name in names if name not in of_norms), *(name for name in of_norms if name in names))


def _read_weight(found: Mapping[str, Any]) -> Weight:
    norms = found.get("norms", {})
    along = (*found.get("along", ()), *(name for norm, count in norms.items() for name in norm_tensors(norm, count)))
    role, groups = found.get("role", TRUNK), found.get("groups", 1)
    return Weight(found["name"], tuple(found["shape"]), groups, role, along, tuple(norms))


def read(found: Mapping[str, Any]) -> Card:
    """Return a card from what `Card.write` gave."""
    layers, block = [], 0
    for number, layer in enumerate(found["layers"], 1):
        block += layer.get("starts", 0)
        layers.append(Layer(number, block, tuple(map(_read_weight, layer["weights"]))))
    others: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    return Card(**(others | {"layers": tuple(layers)}))


@cache
def _table() -> dict[str, str]:
    """Return the shipped cards, each still as text: one network a line."""
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines)


def shipped() -> tuple[str, ...]:
    """Return the names of the networks whose cards are shipped: `torchvision/resnet18`."""
    return tuple(_table())


def of_shipped(network: str) -> Card:
    """Return the card of a network of torchvision.

    Raises ValueError, with the nearest names, where there is none.
    """
    if network not in _table():
        near = difflib.get_close_matches(network, _table(), 3, 0.5)
        raise ValueError(f"torchvision has no classification network '{network.partition('/')[2]}'" + nearest(near))
    return read(json.loads(_table()[network]))


def nearest(names: list[str]) -> str:
    """Return the end of a message about a name that doesn't exist."""
    return f"; did you mean {' or '.join(names)}?" if names else ""


def with_small_stem(card: Card) -> Card:
    """Return the card of a network whose stem keeps the size of its images: a 3x3 convolution, no pooling behind it.

    Raises ValueError where the first layer is no convolution of a larger kernel or stride.
    """
    if not card.stem_convolution:
        raise ValueError("it has no stem that makes images smaller; leave `stem` out")
    first = card.layers[0]
    stem = replace(first.weight, shape=(*first.weight.shape[:2], SMALL_STEM, SMALL_STEM))
    layers = (replace(first, weights=(stem, *first.weights[1:])), *card.layers[1:])
    return replace(card, layers=layers, least=max(1, card.least // card.stem_stride), size=min(card.size, 64))
