"""Source training: warm-up and a constant rate, checkpoints on the way, annealed branches to zero.

What is learnt is an entry of `objectives`, named by `pretraining.objective`.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from whypretrain import registry
from whypretrain.architectures.convnet import Layer, Parameters, layers
from whypretrain.files.snapshots import UNKEPT, Progress, State
from whypretrain.learning import schedules, training
from whypretrain.learning.data import TargetData, device_of
from whypretrain.learning.initialisation import initialise_head, initialise_layers
from whypretrain.learning.models import Network, Weights, first_layers, load_weights, weights_of
from whypretrain.randomness import stream

log = logging.getLogger("whypretrain")

# one object, so that rows with the same gaps are equal
NOTHING = math.nan
OF_LABELS = ("loss_train", "top1_train", "loss_validation", "top1_validation", "loss_test", "top1_test")
OF_LAYERS = ("layer", "reconstruction_train", "reconstruction_validation", "reconstruction_test")
SCORES = dict.fromkeys((*OF_LABELS, *OF_LAYERS), NOTHING)


@dataclass(frozen=True)
class ReadOut:
    """A source at some step: what it scores on its own task and, at a checkpoint, its weights with any head.

    The row has all columns of a source's history, NaN where the objective has no such score.
    """

    row: dict[str, Any]
    weights: dict[str, np.ndarray] | None


def read_out(epoch: float, step: int, scores: Mapping[str, float], weights: Weights | None) -> ReadOut:
    """Return the read-out of some scores.

    Raises ValueError where one of them isn't finite after the first step: the source diverged.
    """
    if step and not all(math.isfinite(value) for value in scores.values()):
        raise ValueError(f"the source diverged at step {step}; give its pretraining a lower learning_rate")
    return ReadOut({"epoch": epoch, "step": step, **SCORES, **scores}, weights)


def setting(spec: Mapping[str, Any]) -> tuple[torch.device, tuple[Layer, ...], str]:
    """Return the device, the layers and the name of the architecture that a source is told."""
    architecture = dict(spec["architecture"])
    name = architecture.pop("name")
    return device_of(spec["device"]), layers(Parameters(**architecture)), name


def initial_weights(spec: Mapping[str, Any], seed: int, classes: int, parent: Weights | None) -> Weights:
    """Return a source's epoch 0: its parent's layers, or its own initialisation, under a head of its own.

    The head is drawn after the layers, so it is the same with and without a parent.
    """
    _, described, name = setting(spec)
    init = stream("source-init", seed, name, spec["source"])
    own = initialise_layers(described, init)
    head = initialise_head(described[-1].outputs, classes, init)
    return {**(own if parent is None else first_layers(parent, None)), **head}


def _scores(network: Network, data: TargetData, loss: float, top1: float) -> dict[str, float]:
    row = {"loss_train": loss, "top1_train": top1}
    for part in ("validation", "test"):
        score = training.evaluate(network, data.images[part], data.labels[part])
        row |= {f"loss_{part}": score.loss, f"top1_{part}": score.top1}
    return row


def _read_out(
    network: Network, data: TargetData, epoch: float, step: int, batches: tuple[float, float], kept: bool
) -> ReadOut:
    row = _scores(network, data, *batches)
    log.info(
        "epoch %g step %d: train loss %.3f top-1 %.3f, validation top-1 %.3f, test top-1 %.3f",
        *(epoch, step, *batches, row["top1_validation"], row["top1_test"]),
    )
    return read_out(epoch, step, row, weights_of(network) if kept else None)


def _train(
    network: Network,
    data: TargetData,
    marks: Mapping[int, float],
    a_pass: int,
    progress: Progress,
    stopped: State | None,
    **options: Any,
) -> Iterator[ReadOut]:
    """Train to the last mark, from where it was stopped if it was.

    Yield a read-out with weights at each mark, and one without at every whole pass.
    """
    nothing: dict[str, Any] = {"loss": 0.0, "correct": 0.0, "since": 0, "seen": 0, "step": 0}
    values = stopped.values if stopped else nothing
    loss, correct = torch.tensor(values["loss"]), torch.tensor(values["correct"])
    since, seen, end = values["since"], values["seen"], max(marks)

    def state() -> State:
        sums = {"loss": float(loss), "correct": float(correct), "since": since, "seen": seen}
        return State(step.state(), {**sums, "step": step.number})

    options |= {"done": values["step"], "state": stopped.arrays if stopped else None}
    for step in training.train(network, [data.images["train"]], [data.labels["train"]], steps=end, **options):
        loss, correct, since, seen = loss + step.loss[0], correct + step.correct[0], since + 1, seen + step.images
        if step.number in marks or step.number % a_pass == 0:
            epoch = marks.get(step.number, step.number / a_pass)
            batches = float(loss) / since, float(correct) / seen
            yield _read_out(network, data, epoch, step.number, batches, step.number in marks)
            loss, correct, since, seen = torch.zeros(()), torch.zeros(()), 0, 0
        if step.number < end:
            progress.offer(state)


def learn(
    spec: Mapping[str, Any], seed: int, data: TargetData, parent: Weights | None, progress: Progress = UNKEPT
) -> Iterator[ReadOut]:
    """Yield the read-outs of a source that learns the labels of `data`'s training images, as `pretrain` does."""
    device, described, name = setting(spec)
    settings = spec["pretraining"]
    network = Network(described, data.classes)
    load_weights(network, initial_weights(spec, seed, data.classes, parent))
    network.to(device)
    images, size = len(data.images["train"]), settings["batch_size"]
    a_pass = schedules.steps_per_pass(images, size)
    stopped = progress.state()
    if not stopped:
        yield _read_out(network, data, 0.0, 0, (NOTHING, NOTHING), kept=True)
    yield from _train(
        network,
        data,
        schedules.checkpoint_steps(settings["checkpoints"], images, size),
        a_pass,
        progress,
        stopped,
        rates=[schedules.constant_after_warmup(settings["learning_rate"], round(settings["warmup_epochs"] * a_pass))],
        batch_size=size,
        weight_decay=settings["weight_decay"],
        orders=[stream("source-order", seed, name, spec["source"])],
    )


def branch(
    spec: Mapping[str, Any], seed: int, data: TargetData, checkpoint: Weights, progress: Progress = UNKEPT
) -> ReadOut:
    """Return the end of the branch of a source that learns the labels of `data`'s training images, as `anneal` does."""
    device, described, name = setting(spec)
    settings, epoch = spec["pretraining"], spec["epoch"]
    network = Network(described, data.classes)
    load_weights(network, checkpoint)
    network.to(device)
    a_pass = schedules.steps_per_pass(len(data.images["train"]), settings["batch_size"])
    raw = schedules.constant_after_warmup(settings["learning_rate"], round(settings["warmup_epochs"] * a_pass))
    steps = max(1, round(settings["anneal_share"] * epoch * a_pass))
    *_, end = _train(
        network,
        data,
        {steps: epoch},
        a_pass,
        progress,
        progress.state(),
        rates=[schedules.linear_to_zero(raw(max(1, round(epoch * a_pass))), steps)],
        batch_size=settings["batch_size"],
        weight_decay=settings["weight_decay"],
        orders=[stream("source-order", seed, name, spec["source"], f"anneal-{epoch!r}")],
    )
    return end


def pretrain(
    spec: Mapping[str, Any],
    seed: int,
    data: TargetData,
    parent: Weights | None = None,
    progress: Progress = UNKEPT,
) -> Iterator[ReadOut]:
    """Yield a source's read-outs in order: at every epoch, and with weights at its checkpoints.

    The first is its initialisation, or the layers of `parent`, the end of the source that it starts from; of one that
    was stopped, the first after that.
    Raises ValueError for a source that diverges, for a parent of another architecture, and as
    `schedules.checkpoint_steps` does.
    """
    objective = registry.load("objectives", spec["pretraining"]["objective"])
    yield from objective.pretrain(spec, seed, data, parent, progress)


def anneal(
    spec: Mapping[str, Any], seed: int, data: TargetData, checkpoint: Weights, progress: Progress = UNKEPT
) -> ReadOut:
    """Return the end of a raw checkpoint's annealed branch: `anneal_share` of its epochs, linearly to zero.

    The branch starts from the checkpoint's weights and the rate it was reached with, with no
    momentum and an order of its own. Raises ValueError where it diverges.
    """
    objective = registry.load("objectives", spec["pretraining"]["objective"])
    found: ReadOut = objective.anneal(spec, seed, data, checkpoint, progress)
    return found
