"""The training loop that sources and targets share: SGD with Nesterov momentum, one schedule a run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from whypretrain.learning.models import Network, Weights, in_batches, load_weights, weights_of
from whypretrain.learning.regularising import NONE, Regulariser
from whypretrain.learning.schedules import steps_per_pass

MOMENTUM = 0.9
GRADIENT_CLIP = 1.0  # norm of all gradients, in networks without norm layers


@dataclass(frozen=True)
class Step:
    """One update: its number from 1, and what the batch, as it was trained on, gave before it.

    `loss` is the plain cross-entropy, without penalty or smoothing. `state` gives, until the next step, the
    arrays from which `train` goes on after it.
    """

    number: int
    learning_rate: float
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


def standardise(images: np.ndarray, normalisation: dict[str, float], device: torch.device) -> Tensor:
    """Scale uint8 images (n, c, h, w) to 0…1 and standardise them by the study's constants."""
    scaled = torch.from_numpy(np.ascontiguousarray(images)).to(device, torch.float32) / 255
    standardised = (scaled - normalisation["mean"]) / normalisation["standard_deviation"]
    return standardised.contiguous(memory_format=torch.channels_last)


def batches(images: int, batch_size: int, order: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield index batches for ever, each pass in an order of its own."""
    size = min(batch_size, images)
    while True:
        permutation = order.permutation(images)
        for number in range(steps_per_pass(images, batch_size)):
            yield permutation[number * size : (number + 1) * size]


class Descent:
    """SGD with Nesterov momentum on named parameters; weight decay leaves out biases and norms.

    With `clip` the norm of all gradients is at most `GRADIENT_CLIP`, as in networks without norm layers.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], weight_decay: float, clip: bool) -> None:
        self.parameters = dict(parameters)
        self.clip = clip
        learning = list(self.parameters.values())
        groups = [
            {"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimiser = torch.optim.SGD(groups, lr=0.0, momentum=MOMENTUM, nesterov=True)

    def forget_gradients(self) -> None:
        """Drop the gradients of the step before."""
        self._optimiser.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Update the parameters by their gradients."""
        if self.clip:
            torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), GRADIENT_CLIP)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()

    def state(self) -> Weights:
        """Return the momentum of every parameter that has any."""
        momentum = {name: self._optimiser.state[p].get("momentum_buffer") for name, p in self.parameters.items()}
        return {f"momentum.{name}": found.cpu().numpy() for name, found in momentum.items() if found is not None}

    def restore(self, arrays: Weights) -> None:
        """Put the momentum back, in each parameter's own order of memory: that is part of a sum's bits."""
        for name, parameter in self.parameters.items():
            if f"momentum.{name}" in arrays:
                buffer = torch.empty_like(parameter).copy_(torch.from_numpy(arrays[f"momentum.{name}"]))
                self._optimiser.state[parameter]["momentum_buffer"] = buffer.detach()


def _restore(network: Network, descent: Descent, regulariser: Regulariser, arrays: Weights) -> None:
    load_weights(network, {name: arrays[f"network.{name}"] for name in weights_of(network)})
    descent.restore(arrays)
    if regulariser.generator:
        regulariser.generator.set_state(torch.from_numpy(arrays["generator"]))


def train(
    network: Network,
    images: Tensor,
    labels: Tensor,
    *,
    rate: Callable[[int], float],
    steps: int,
    batch_size: int,
    weight_decay: float,
    order: np.random.Generator,
    first: int = 1,
    regulariser: Regulariser = NONE,
    done: int = 0,
    state: Weights | None = None,
) -> Iterator[Step]:
    """Train on the given images for `steps` updates and yield each of them.

    Weight decay leaves out biases and norms; networks without norm have their gradients clipped.
    Layers before `first` are neither run nor changed: `images` are then what layer `first` takes.
    Without a regulariser a step takes the gradient of the cross-entropy alone.
    After `done` steps it goes on from the `state` of the last of them, in the bits of one that was never stopped.
    """
    names = {parameter: name for name, parameter in network.named_parameters()}
    learning = {names[parameter]: parameter for parameter in network.parameters_from(first)}
    descent = Descent(learning, weight_decay, clip=not any(layer.norm for layer in network.layers))
    if state is not None:
        _restore(network, descent, regulariser, state)

    def state_now() -> Weights:
        drawn = {"generator": regulariser.generator.get_state().numpy()} if regulariser.generator else {}
        own = {f"network.{name}": array for name, array in weights_of(network).items()}
        return {**own, **descent.state(), **drawn}

    network.train()
    for number, batch in zip(
        range(done + 1, steps + 1), islice(batches(len(images), batch_size, order), done, None), strict=False
    ):
        indices = torch.from_numpy(batch).to(images.device)
        inputs, truth = regulariser.images(images[indices]), labels[indices]
        logits = network.head(regulariser.features(network.features(inputs, first)))
        loss = functional.cross_entropy(logits, truth)
        smoothing = regulariser.smoothing
        learnt = functional.cross_entropy(logits, truth, label_smoothing=smoothing) if smoothing else loss
        descent.forget_gradients()
        learnt.backward()
        regulariser.gradients(network, number)
        descent.step(rate(number))
        correct = (logits.detach().argmax(1) == truth).sum()
        yield Step(number, rate(number), loss.detach(), correct, len(batch), state_now)


@torch.no_grad()
def evaluate(network: Network, images: Tensor, labels: Tensor, batch_size: int = 256, first: int = 1) -> Score:
    """Score the network in evaluation mode, on images or on what layer `first` takes, and leave it in its mode."""
    was_training = network.training
    network.eval()
    logits = in_batches(lambda batch: network(batch, first), images, batch_size)
    network.train(was_training)
    predictions = logits.argmax(1)
    return Score(
        loss=float(functional.cross_entropy(logits, labels)),
        top1=float((predictions == labels).double().mean()),
        predictions=predictions.cpu().numpy(),
    )
