"""The training loop that sources and targets share: SGD with Nesterov momentum, one schedule a run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from whypretrain.models import Network, in_batches
from whypretrain.regularising import NONE, Regulariser
from whypretrain.schedules import steps_per_pass

MOMENTUM = 0.9
GRADIENT_CLIP = 1.0  # norm of all gradients, in networks without norm layers


@dataclass(frozen=True)
class Step:
    """One update: its number from 1, and what the batch, as it was trained on, gave before it.

    `loss` is the plain cross-entropy, without penalty or smoothing.
    """

    number: int
    learning_rate: float
    loss: Tensor
    correct: Tensor
    images: int


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
) -> Iterator[Step]:
    """Train on the given images for `steps` updates and yield each of them.

    Weight decay leaves out biases and norms; networks without norm have their gradients clipped.
    Layers before `first` are neither run nor changed: `images` are then what layer `first` takes.
    Without a regulariser a step takes the gradient of the cross-entropy alone.
    """
    clip = not any(layer.norm for layer in network.layers)
    learning = list(network.parameters_from(first))
    decayed = [p for p in learning if p.ndim > 1]
    free = [p for p in learning if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.0, momentum=MOMENTUM, nesterov=True)
    network.train()
    for number, batch in zip(range(1, steps + 1), batches(len(images), batch_size, order), strict=False):
        indices = torch.from_numpy(batch).to(images.device)
        inputs, truth = regulariser.images(images[indices]), labels[indices]
        logits = network.head(regulariser.features(network.features(inputs, first)))
        loss = functional.cross_entropy(logits, truth)
        smoothing = regulariser.smoothing
        learnt = functional.cross_entropy(logits, truth, label_smoothing=smoothing) if smoothing else loss
        optimiser.zero_grad(set_to_none=True)
        learnt.backward()
        regulariser.gradients(network, number)
        if clip:
            torch.nn.utils.clip_grad_norm_(learning, GRADIENT_CLIP)
        for group in optimiser.param_groups:
            group["lr"] = rate(number)
        optimiser.step()
        yield Step(number, rate(number), loss.detach(), (logits.detach().argmax(1) == truth).sum(), len(batch))


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
