"""Source training: warm-up and a constant rate, checkpoints on the way, annealed branches to zero."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from whypretrain import training
from whypretrain.architectures.convnet import Layer, Parameters, layers
from whypretrain.initialisation import initialise_head, initialise_layers
from whypretrain.models import Network, load_weights, weights_of
from whypretrain.randomness import stream
from whypretrain.runs import TargetData, device_of

log = logging.getLogger("whypretrain")


@dataclass(frozen=True)
class Checkpoint:
    """A source at one epoch: its weights with the head, and what it scores on its own task."""

    epoch: float
    weights: dict[str, np.ndarray]
    row: dict[str, Any]


def _setting(spec: Mapping[str, Any]) -> tuple[torch.device, tuple[Layer, ...], tuple[str, int]]:
    architecture = dict(spec["architecture"])
    name = architecture.pop("name")
    return device_of(spec["device"]), layers(Parameters(**architecture)), (name, spec["seed"])


def _checkpoint(network: Network, data: TargetData, epoch: float, step: int, loss: float) -> Checkpoint:
    row: dict[str, Any] = {"epoch": epoch, "step": step, "loss_train": loss}
    for part in ("validation", "test"):
        score = training.evaluate(network, data.images[part], data.labels[part])
        row[f"loss_{part}"] = score.loss
        row[f"top1_{part}"] = score.top1
    log.info(
        "epoch %g step %d: train loss %.3f, validation top-1 %.3f, test top-1 %.3f",
        *(epoch, step, loss, row["top1_validation"], row["top1_test"]),
    )
    return Checkpoint(epoch, weights_of(network), row)


def _passes(network: Network, data: TargetData, marks: Mapping[int, float], **options: Any) -> Iterator[Checkpoint]:
    """Train and yield a checkpoint at each marked step; other read-outs of a step are not taken."""
    loss, since = torch.zeros(()), 0
    for step in training.train(network, data.images["train"], data.labels["train"], steps=max(marks), **options):
        loss, since = loss + step.loss, since + 1
        if step.number in marks:
            yield _checkpoint(network, data, marks[step.number], step.number, float(loss) / since)
            loss, since = torch.zeros(()), 0


def pretrain(spec: Mapping[str, Any], data: TargetData) -> Iterator[Checkpoint]:
    """Yield a source's raw checkpoints in order, the first being its initialisation.

    Epochs are passes over the source's training images; fractions fall on the nearest step,
    at least the first, and two that fall on one step are refused with ValueError.
    """
    device, described, (name, seed) = _setting(spec)
    settings = spec["pretraining"]
    init = stream("source-init", seed, name, spec["source"])
    weights = initialise_layers(described, init)
    network = Network(described, data.classes)
    load_weights(network, {**weights, **initialise_head(described[-1].outputs, data.classes, init)})
    network.to(device)
    a_pass = training.steps_per_pass(len(data.images["train"]), settings["batch_size"])
    marks = {max(1, round(epoch * a_pass)): epoch for epoch in settings["checkpoints"][1:]}
    if len(marks) < len(settings["checkpoints"]) - 1:
        raise ValueError(f"two checkpoints of {settings['checkpoints']} fall on one of {a_pass} steps a pass")
    yield _checkpoint(network, data, 0, 0, float("nan"))
    yield from _passes(
        network,
        data,
        marks,
        rate=training.constant_after_warmup(settings["learning_rate"], round(settings["warmup_epochs"] * a_pass)),
        batch_size=settings["batch_size"],
        weight_decay=settings["weight_decay"],
        order=stream("source-order", seed, name, spec["source"]),
    )


def anneal(spec: Mapping[str, Any], data: TargetData, checkpoint: dict[str, np.ndarray]) -> Checkpoint:
    """Return the annealed branch of a raw checkpoint: `anneal_share` of its epochs, linearly to zero.

    The branch starts from the checkpoint's weights with no momentum and has an order of its own.
    """
    device, described, (name, seed) = _setting(spec)
    settings, epoch = spec["pretraining"], spec["epoch"]
    network = Network(described, data.classes)
    load_weights(network, checkpoint)
    network.to(device)
    a_pass = training.steps_per_pass(len(data.images["train"]), settings["batch_size"])
    steps = max(1, round(settings["anneal_share"] * epoch * a_pass))
    (end,) = _passes(
        network,
        data,
        {steps: epoch},
        rate=training.linear_to_zero(settings["learning_rate"], steps),
        batch_size=settings["batch_size"],
        weight_decay=settings["weight_decay"],
        order=stream("source-order", seed, name, spec["source"], f"anneal-{epoch!r}"),
    )
    return end
