"""The training loop that sources and targets share: SGD with Nesterov momentum, one schedule a run.

It trains one network, or several copies of it at once, each on its own set of images or some on one, with a learning
rate of its own. Copies are the faster way where a network is so small that a step costs more than its arithmetic.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from whypretrain.files.snapshots import Progress, State
from whypretrain.networks.network import Network, Weights, batch_of
from whypretrain.training.regularising import NONE, Regulariser
from whypretrain.training.schedules import steps_per_pass

MOMENTUM = 0.9
GRADIENT_CLIP = 1.0  # norm of all gradients, in networks without norm layers


@dataclass(frozen=True)
class Step:
    """One update: its number from 1, and what the batch, as it was trained on, gave before it.

    `loss` is the plain cross-entropy, without penalty or smoothing; it and the number of images that were `correct`
    are of each copy. `state` gives, until the next step, the arrays from which `train` goes on after it.
    """

    number: int
    learning_rates: list[float]
    loss: Tensor
    correct: Tensor
    images: int
    state: Callable[[], Weights]


@dataclass(frozen=True)
class Score:
    """Loss (cross-entropy, nats) and top-1 (fraction of 1) on a set of images, with its predictions (n,)."""

    loss: float
    top1: float
    predictions: np.ndarray


def standardise(
    images: np.ndarray, normalisation: Mapping[str, Any], device: torch.device, channels: int | None = None
) -> Tensor:
    """Scale uint8 images (n, c, h, w) to 0…1 and standardise them, by one constant or one for each channel.

    Grey images are repeated where a network takes more `channels`.
    """
    scaled = torch.from_numpy(np.ascontiguousarray(images)).to(device, torch.float32) / 255
    if channels is not None and scaled.shape[1] != channels:
        scaled = scaled.expand(-1, channels, -1, -1)
    mean, deviation = (
        torch.tensor(told, device=device)[:, None, None] if isinstance(told, Sequence) else told
        for told in (normalisation["mean"], normalisation["standard_deviation"])
    )
    return ((scaled - mean) / deviation).contiguous(memory_format=torch.channels_last)


def batches(images: int, batch_size: int, order: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield index batches for ever, each pass in an order of its own."""
    size = min(batch_size, images)
    while True:
        permutation = order.permutation(images)
        for number in range(steps_per_pass(images, batch_size)):
            yield permutation[number * size : (number + 1) * size]


class Descent:
    """SGD with Nesterov momentum on named parameters of one network or several copies; those of `decaying` decay.

    With `clip` the norm of all gradients of a copy is at most `GRADIENT_CLIP`, as in networks without norm layers.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        decaying: Callable[[str], bool],
        weight_decay: float,
        clip: bool,
        copies: int = 1,
    ) -> None:
        self.parameters = dict(parameters)
        self.decaying = [place for place, name in enumerate(parameters) if decaying(name)]
        self.momentum = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.weight_decay, self.clip, self.copies = weight_decay, clip, copies

    def _by_copy(self, tensors: Iterable[Tensor]) -> list[tuple[Tensor, ...]]:
        return list(zip(*(tensor.chunk(self.copies) for tensor in tensors), strict=True))

    def forget_gradients(self) -> None:
        """Drop the gradients of the step before."""
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, *rates: float) -> None:
        """Update the parameters by their gradients, those of each copy at its own rate."""
        parameters: list[Tensor] = list(self.parameters.values())
        gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
        momentum = list(self.momentum.values())
        for own in self._by_copy(gradients) if self.clip else ():
            norm = torch.nn.utils.get_total_norm(own)
            torch._foreach_mul_(own, torch.clamp(GRADIENT_CLIP / (norm + 1e-6), max=1.0))
        # one call for all tensors: of a small network a call costs more than its arithmetic
        torch._foreach_add_(
            [gradients[p] for p in self.decaying], [parameters[p] for p in self.decaying], alpha=self.weight_decay
        )
        torch._foreach_mul_(momentum, MOMENTUM)
        torch._foreach_add_(momentum, gradients)
        directions = self._by_copy(torch._foreach_add(gradients, momentum, alpha=MOMENTUM))
        for own, direction, rate in zip(self._by_copy(parameters), directions, rates, strict=True):
            torch._foreach_add_(own, direction, alpha=-rate)

    def state(self) -> Weights:
        """Return the momentum of every parameter."""
        return {f"momentum.{name}": found.cpu().numpy() for name, found in self.momentum.items()}

    def restore(self, arrays: Weights) -> None:
        """Put the momentum back, in each parameter's own order of memory: that is part of a sum's bits."""
        for name, momentum in self.momentum.items():
            if f"momentum.{name}" in arrays:
                momentum.copy_(torch.from_numpy(arrays[f"momentum.{name}"]))


def _restore(network: Network, descent: Descent, regulariser: Regulariser, arrays: Weights) -> None:
    network.load({name: arrays[f"network.{name}"] for name in network.weights()})
    descent.restore(arrays)
    if "random" in arrays:
        torch.set_rng_state(torch.from_numpy(arrays["random"]))
    if "random_cuda" in arrays:
        torch.cuda.set_rng_state(torch.from_numpy(arrays["random_cuda"]), network.device)
    for number, generator in enumerate(regulariser.generators):
        generator.set_state(torch.from_numpy(arrays[f"generator.{number}"]))


def train(
    network: Network,
    images: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    rates: Sequence[Callable[[int], float]],
    steps: int,
    batch_size: int,
    weight_decay: float,
    orders: Sequence[np.random.Generator],
    regulariser: Regulariser = NONE,
    precision: str = "float32",
    seed: int = 0,
    done: int = 0,
    state: Weights | None = None,
) -> Iterator[Step]:
    """Train on the given images for `steps` updates and yield each of them.

    Each copy of the network has its own of the `rates`. Images, labels and orders are by set: as many copies after one
    another as there are to a set share its batches. Weight decay leaves out biases and norms; networks without norm
    have their gradients clipped. What the network itself draws, as for dropout, it draws from torch's own stream, begun
    with `seed`. After `done` steps it goes on from the `state` of the last of them, in the bits of one that was never
    stopped.
    """
    copies, device = network.copies, images[0].device
    descent = Descent(network.learning(), network.is_decaying, weight_decay, not network.card.has_norm, copies)
    if draws := network.draws:
        torch.manual_seed(seed)
    if state is not None:
        _restore(network, descent, regulariser, state)

    def state_now() -> Weights:
        drawn = {f"generator.{number}": g.get_state().numpy() for number, g in enumerate(regulariser.generators)}
        drawn |= {"random": torch.get_rng_state().numpy()} if draws else {}
        drawn |= {"random_cuda": torch.cuda.get_rng_state(device).numpy()} if draws and device.type == "cuda" else {}
        own = {f"network.{name}": array for name, array in network.weights().items()}
        return {**own, **descent.state(), **drawn}

    network.train()
    hook = regulariser.on_features(network)
    drawn = zip(*(batches(len(own), batch_size, order) for own, order in zip(images, orders, strict=True)), strict=True)
    try:
        for number, batch in zip(range(done + 1, steps + 1), islice(drawn, done, None), strict=False):
            places = [torch.from_numpy(indices).to(device) for indices in batch]
            inputs = join(regulariser.on_images([own[at] for own, at in zip(images, places, strict=True)]))
            truth = torch.stack([own[at] for own, at in zip(labels, places, strict=True)])
            truth = truth.repeat_interleave(copies // len(images), 0)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = network(inputs)
            logits = logits.float().unflatten(0, truth.shape)
            loss = _cross_entropy(logits, truth)
            learnt = _cross_entropy(logits, truth, regulariser.smoothing) if regulariser.smoothing else loss
            descent.forget_gradients()
            learnt.sum().backward()
            regulariser.gradients(network, number, regulariser.generators)
            now = [rate(number) for rate in rates]
            descent.step(*now)
            correct = (logits.detach().argmax(2) == truth).sum(1)
            yield Step(number, now, loss.detach(), correct, truth.shape[1], state_now)
    finally:
        hook.remove()


def follow(
    network: Network,
    images: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    steps: int,
    reads: Callable[[int], bool],
    progress: Progress,
    stopped: State | None,
    by_image: bool = False,
    kept: Callable[[], Mapping[str, Any]] = dict,
    **options: Any,
) -> Iterator[tuple[int, Tensor, Tensor, int, int]]:
    """Train as `train` does, from where it was `stopped` if it was; stop at each step that `reads` picks.

    Yield its number and what the steps since the last one came to: losses and numbers of correct images of each copy,
    how many steps, how many images. Losses are summed over steps, or `by_image`. Between steps the state is offered to
    `progress`, with the plain values that `kept` gives.
    """
    zero = [0.0] * network.copies
    begun: Mapping[str, Any] = (
        stopped.values if stopped else {"loss": zero, "correct": zero, "since": 0, "seen": 0, "step": 0}
    )
    loss, correct = (torch.tensor(begun[name], device=images[0].device) for name in ("loss", "correct"))
    since, seen = begun["since"], begun["seen"]

    def state() -> State:
        sums = {"loss": loss.tolist(), "correct": correct.tolist(), "since": since, "seen": seen}
        return State(step.state(), {**kept(), **sums, "step": step.number})

    options |= {"done": begun["step"], "state": stopped.arrays if stopped else None}
    for step in train(network, images, labels, steps=steps, **options):
        loss = loss + step.loss * (step.images if by_image else 1)
        correct, since, seen = correct + step.correct, since + 1, seen + step.images
        if reads(step.number):
            yield step.number, loss, correct, since, seen
            loss, correct, since, seen = torch.zeros_like(loss), torch.zeros_like(correct), 0, 0
        if step.number < steps:
            progress.offer(state)


def _cross_entropy(logits: Tensor, truth: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean over the images (copies, n) of each copy."""
    pairs = zip(logits, truth, strict=True)
    return torch.stack([functional.cross_entropy(own, true, label_smoothing=smoothing) for own, true in pairs])


def join(sets: Sequence[Tensor]) -> Tensor:
    """Return sets of as many images as one tensor, their channels side by side; a single set as it is."""
    if len(sets) == 1:
        return sets[0]
    return torch.cat(list(sets), 1).contiguous(memory_format=torch.channels_last)


def evaluate(network: Network, images: Tensor, labels: Tensor) -> Score:
    """Score the network in evaluation mode, and leave it in its mode."""
    (score,) = evaluate_copies(network, [images], [labels])
    return score


@torch.no_grad()
def evaluate_copies(network: Network, images: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Score]:
    """Score each copy as `evaluate` does, on its own of the sets of images."""
    was_training = network.training
    network.eval()
    size = -(-batch_of(images[0]) // network.copies)  # what a processor's cache holds doesn't grow with the copies
    parts = [network(batch).unflatten(0, (network.copies, -1)) for batch in join(images).split(size)]
    network.train(was_training)
    truth = torch.stack(list(labels)).repeat_interleave(network.copies // len(labels), 0)
    return [
        Score(
            loss=float(functional.cross_entropy(own, true)),
            top1=float((own.argmax(1) == true).double().mean()),
            predictions=own.argmax(1).cpu().numpy(),
        )
        for own, true in zip(torch.cat(parts, 1), truth, strict=True)
    ]
