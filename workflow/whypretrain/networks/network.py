"""A network that learns or is read: a torch module with its card; activations by hooks on its one forward pass."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from whypretrain.networks.card import Card
from whypretrain.networks.tracing import Place, Trace, trace

Weights = dict[str, np.ndarray]
# images at once where nothing learns: as many as have so many pixels together
BATCH, FEWEST, PIXELS = 256, 16, 2**22
HELD = 2**28  # bytes of activations


class _Reached(Exception):
    """It ends a forward pass where no more of it is needed."""


@dataclass(frozen=True)
class Entry:
    """Where a network can be entered behind its first layers: what crosses there, and the modules that are skipped."""

    place: Place
    skipped: tuple[str, ...]


class Network(nn.Module):
    """A torch module and its card, or several copies side by side (plain convnets alone).

    Its features are what the head takes, or, of a network that is read at a `layer`, what that layer gives; then it has
    a head of its own behind these, once weights with one are loaded, and no tensors of layers above. Features are
    pooled over positions: (n, d).
    """

    def __init__(self, module: nn.Module, card: Card, copies: int = 1, layer: int | None = None) -> None:
        super().__init__()
        self.module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card, self.copies, self.layer = card, copies, layer
        self.head: nn.Module | None = None if layer else module.get_submodule(card.head)
        self._weights = {weight.name for own in card.layers for weight in own.weights}
        self._trace: Trace | None = None
        self._fixed: frozenset[str] = frozenset()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (n, classes) of images (n, c, h, w); of copies those of one after those of another."""
        if self.layer is None:
            logits: Tensor = self.module(images)
            return logits
        assert self.head is not None
        found: Tensor = self.head(self.features(images))
        return found

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.module.parameters()).device

    def train(self, mode: bool = True) -> "Network":
        """Put it into training mode, but for what is frozen, or into evaluation mode."""
        super().train(mode)
        for name in self._fixed if mode else ():
            self.module.get_submodule(name).eval()
        return self

    def learning(self) -> dict[str, nn.Parameter]:
        """Return the parameters that learn, by name: all that aren't frozen."""
        return {name: each for name, each in self.module.named_parameters() if each.requires_grad}

    def is_decaying(self, name: str) -> bool:
        """Whether weight decay and penalties are about a parameter: weights are, biases, norms, embeddings aren't."""
        return name == f"{self.card.head}.weight" or name in self._weights

    # --- weights --------------------------------------------------------------------------------

    def weights(self, copy: int | None = None) -> Weights:
        """Return the weights and statistics, or those of one of the copies, as numpy arrays of their own."""
        state = self.module.state_dict()
        named = {name: state[name] for name in self.card.tensors(self.layer)}
        if self.head is not None:
            named |= {f"{self.card.head}.{name}": tensor for name, tensor in self.head.state_dict().items()}
        return {
            name: (tensor if copy is None else tensor.chunk(self.copies)[copy]).cpu().contiguous().numpy().copy()
            for name, tensor in named.items()
        }

    def load(self, weights: Weights) -> None:
        """Put numpy weights into the network. Raises ValueError unless every tensor is there, and no other."""
        head, wanted = f"{self.card.head}.", {*self.card.tensors(self.layer)}
        given = OrderedDict((name, torch.from_numpy(np.array(array))) for name, array in weights.items())
        own = {name.removeprefix(head): given[name] for name in weights if name.startswith(head)}
        if self.layer is None:
            wanted |= {f"{head}{name}" for name in self.module.get_submodule(self.card.head).state_dict()}
        elif own:
            classes, width = own["weight"].shape
            self.head = nn.Linear(width, classes).to(self.device)
            self.head.load_state_dict(own)
            for name in own:
                del given[f"{head}{name}"]
        for what, names in (("missing", wanted - given.keys()), ("unexpected", given.keys() - wanted)):
            if names:
                raise ValueError(f"the weights don't fit the network: {what} {sorted(names)[:5]}")
        # some networks look there for the version of their own state
        given._metadata = getattr(self.module.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
        try:
            self.module.load_state_dict(given, strict=False)
        except RuntimeError as error:
            raise ValueError(f"the weights don't fit the network: {error}") from None

    # --- what it gives on the way -----------------------------------------------------------------

    def traced(self, images: Tensor) -> Trace:
        """Return what one forward pass with one of some images shows; it is done once."""
        if self._trace is None:
            modes = [(each, each.training) for each in self.module.modules()]
            self.module.eval()
            self._trace = trace(self.module, images[:1])
            for each, training in modes:
                each.training = training
        return self._trace

    def read(self, places: Sequence[Place], images: Tensor) -> list[Tensor]:
        """Return what modules give, each at its call; what follows the last of them isn't computed."""
        found: dict[Place, Tensor] = {}
        calls = dict.fromkeys((place.module for place in places), 0)
        wanted = set(places)

        def note(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
            place, calls[name] = Place(name, calls[name]), calls[name] + 1
            if place in wanted:
                found[place] = output
                if len(found) == len(wanted):
                    raise _Reached
                found[place] = output.clone()  # what follows may change it in place

        self._run(
            images, [self.module.get_submodule(name).register_forward_hook(partial(note, name)) for name in calls]
        )
        return [found[place] for place in places]

    def until(self, place: Place, images: Tensor) -> Tensor:
        """Return what a module gives at a call; what follows isn't computed."""
        return self.read([place], images)[0]

    def _run(self, images: Tensor, hooks: Sequence[Any]) -> None:
        try:
            with suppress(_Reached):
                self.module(images)
        finally:
            for hook in hooks:
                hook.remove()

    def features(self, images: Tensor) -> Tensor:
        """Return the features (n, d) of images; those of several copies stand side by side in each row."""
        if self.layer is not None:
            place = self.traced(images).outputs[self.layer]
            return pooled(self.until(place, images), self.card.layer(self.layer).weight.shape[0])
        found: list[Tensor] = []

        def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found.append(inputs[0])
            raise _Reached

        self._run(images, [self.module.get_submodule(self.card.head).register_forward_pre_hook(stop)])
        return pooled(found[0], self.card.features)

    # --- a part of it -----------------------------------------------------------------------------

    def freeze(self, layers: int, traced: Trace) -> None:
        """Fix the first layers and all that is done before the next: no gradients, evaluation mode."""
        parameters = dict(self.module.named_parameters())
        for name in self.card.tensors(layers):
            if name in parameters:
                parameters[name].requires_grad_(False)
        self._fixed = traced.before(layers)

    def entry(self, layers: int, images: Tensor) -> Entry | None:
        """Return where the network can be entered behind its first layers; None where it must be run whole.

        It can where one tensor alone crosses there, and where what is skipped are modules that leave their input as it
        is when they are skipped: that is tried on some images.
        """
        traced = self.traced(images)
        if (place := traced.cuts.get(layers)) is None:
            return None
        done = [name for name, at in traced.done.items() if at <= traced.done[place.module]]
        highest = tuple(name for name in done if not any(name.startswith(f"{other}.") for other in done))
        entry = Entry(place, highest)
        with torch.no_grad():
            whole, inputs = self(images), self.until(place, images)
            try:
                with self.entered(entry):
                    alike = torch.allclose(self(inputs), whole, rtol=1e-4, atol=1e-5, equal_nan=True)
            except (RuntimeError, ValueError, AssertionError, IndexError):
                alike = False
        return entry if alike else None

    @contextmanager
    def entered(self, entry: Entry | None) -> Iterator[None]:
        """Run the network, within this, from an entry on: it takes what crosses there. From its images for None."""
        skipped = [self.module.get_submodule(name) for name in entry.skipped] if entry else []
        for module in skipped:
            module.forward = _as_it_is
        try:
            yield
        finally:
            for module in skipped:
                del module.forward

    @property
    def draws(self) -> bool:
        """Whether it draws at random when it learns, as dropout does."""
        return any(
            "drop" in type(each).__name__.lower() or "stochastic" in type(each).__name__.lower()
            for each in self.module.modules()
        )

    def norms(self) -> list[_BatchNorm]:
        """Return the norms that have running statistics."""
        return [each for each in self.module.modules() if isinstance(each, _BatchNorm) and each.track_running_stats]


def _as_it_is(taken: Tensor, *others: Any, **options: Any) -> Tensor:
    return taken


def pooled(activation: Tensor, width: int) -> Tensor:
    """Return activations averaged over positions, (n, d).

    Channels are the second axis of maps (n, c, h, w), and the last of tokens (n, t, c) and of maps that end with
    `width` channels, as those of transformers do.
    """
    last = activation.ndim == 3 or (activation.ndim == 4 and activation.shape[1] != width == activation.shape[3])
    axes = tuple(range(1, activation.ndim - 1)) if last else tuple(range(2, activation.ndim))
    return activation.mean(axes) if axes else activation


def batch_of(images: Tensor) -> int:
    """Return how many of some images are taken at once where nothing learns: of large ones fewer."""
    return min(BATCH, max(FEWEST, PIXELS // (images[0, 0].numel() or 1))) if images.ndim == 4 and len(images) else BATCH


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return a function's outputs for all inputs, computed batch by batch without gradients."""
    return torch.cat([function(batch) for batch in inputs.split(batch_of(inputs))])


@torch.no_grad()
def reestimate(norms: Sequence[_BatchNorm], run: Callable[[Tensor], object], images: Tensor) -> None:
    """Replace norms' running statistics by those of the images, in one cumulative pass of what `run` computes.

    As REPAIR resets them (Jordan et al. 2023): reset, average over batches, no gradients. Batches are
    drawn at random, always the same way, and as equal as can be: images come sorted by class, and a batch
    of one class has another spread than all of them.
    """
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    if norms:
        order = torch.from_numpy(np.random.default_rng(0).permutation(len(images))).to(images.device)
        for batch in order.tensor_split(-(-len(images) // batch_of(images))):
            run(images[batch])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def reestimate_statistics(network: Network, images: Tensor) -> None:
    """Put a network into evaluation mode, with the norms' running statistics of the images; see `reestimate`."""
    network.eval()
    reestimate(network.norms(), network.features, images)


@torch.no_grad()
def activations(network: Network, images: Tensor, places: Sequence[Place], held: int = HELD) -> Iterator[Tensor]:
    """Yield what modules give for all images (n, …), place after place, in evaluation mode.

    As many places are read at once as need no more than `held` bytes together, or one. The network is then in the mode
    that it was in.
    """
    shapes, was_training = network.traced(images).shapes, network.training
    network.eval()
    waiting = list(places)
    try:
        while waiting:
            sizes = np.cumsum([4 * len(images) * np.prod(shapes[place][1:], dtype=int) for place in waiting])
            count = max(1, int((sizes <= held).sum()))
            group, waiting = waiting[:count], waiting[count:]
            found = [network.read(group, batch) for batch in images.split(batch_of(images))]
            yield from map(torch.cat, zip(*found, strict=True))
    finally:
        network.train(was_training)


@torch.no_grad()
def pooled_layers(network: Network, images: Tensor) -> Tensor:
    """Return the pooled features of every layer side by side, (n, sum of channels), from the input on.

    Each layer's are what a probe on it takes. The network stays in its mode.
    """
    outputs, layers = network.traced(images).outputs, network.card.layers
    found = network.read([outputs[layer.number] for layer in layers], images)
    widths = [layer.weight.shape[0] for layer in layers]
    return torch.cat([pooled(each, width) for each, width in zip(found, widths, strict=True)], dim=1)
