"""Source training: warm-up and a constant rate, checkpoints on the way, annealed branches to zero."""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from whypretrain import schedules, training
from whypretrain.architectures.convnet import Layer, Parameters, layers
from whypretrain.data import TargetData, device_of
from whypretrain.initialisation import initialise_head, initialise_layers
from whypretrain.models import Network, load_weights, weights_of
from whypretrain.randomness import stream

log = logging.getLogger("whypretrain")


@dataclass(frozen=True)
class ReadOut:
    """A source at some step: what it scores on its own task and, at a checkpoint, its weights with the head."""

    row: dict[str, Any]
    weights: dict[str, np.ndarray] | None


def _setting(spec: Mapping[str, Any]) -> tuple[torch.device, tuple[Layer, ...], str]:
    architecture = dict(spec["architecture"])
    name = architecture.pop("name")
    return device_of(spec["device"]), layers(Parameters(**architecture)), name


def _read_out(network: Network, data: TargetData, epoch: float, step: int, loss: float, kept: bool) -> ReadOut:
    row: dict[str, Any] = {"epoch": epoch, "step": step, "loss_train": loss}
    for part in ("validation", "test"):
        score = training.evaluate(network, data.images[part], data.labels[part])
        row[f"loss_{part}"] = score.loss
        row[f"top1_{part}"] = score.top1
    log.info(
        "epoch %g step %d: train loss %.3f, validation top-1 %.3f, test top-1 %.3f",
        *(epoch, step, loss, row["top1_validation"], row["top1_test"]),
    )
    if step and not all(math.isfinite(row[name]) for name in ("loss_train", "loss_validation", "loss_test")):
        raise ValueError(f"the source diverged at step {step}; give its pretraining a lower learning_rate")
    return ReadOut(row, weights_of(network) if kept else None)


def _train(
    network: Network, data: TargetData, marks: Mapping[int, float], a_pass: int, **options: Any
) -> Iterator[ReadOut]:
    """Train to the last mark; yield a read-out with weights at each mark, and one without at every whole pass."""
    loss, since = torch.zeros(()), 0
    for step in training.train(network, data.images["train"], data.labels["train"], steps=max(marks), **options):
        loss, since = loss + step.loss, since + 1
        if step.number in marks or step.number % a_pass == 0:
            epoch = marks.get(step.number, step.number / a_pass)
            yield _read_out(network, data, epoch, step.number, float(loss) / since, step.number in marks)
            loss, since = torch.zeros(()), 0


def pretrain(spec: Mapping[str, Any], seed: int, data: TargetData) -> Iterator[ReadOut]:
    """Yield a source's read-outs in order: at every epoch, and with weights at its checkpoints.

    The first is its initialisation. Raises ValueError for a source that diverges, and as
    `schedules.checkpoint_steps` does.
    """
    device, described, name = _setting(spec)
    settings = spec["pretraining"]
    init = stream("source-init", seed, name, spec["source"])
    weights = initialise_layers(described, init)
    network = Network(described, data.classes)
    load_weights(network, {**weights, **initialise_head(described[-1].outputs, data.classes, init)})
    network.to(device)
    images, size = len(data.images["train"]), settings["batch_size"]
    a_pass = schedules.steps_per_pass(images, size)
    yield _read_out(network, data, 0.0, 0, float("nan"), kept=True)
    yield from _train(
        network,
        data,
        schedules.checkpoint_steps(settings["checkpoints"], images, size),
        a_pass,
        rate=schedules.constant_after_warmup(settings["learning_rate"], round(settings["warmup_epochs"] * a_pass)),
        batch_size=size,
        weight_decay=settings["weight_decay"],
        order=stream("source-order", seed, name, spec["source"]),
    )


def anneal(spec: Mapping[str, Any], seed: int, data: TargetData, checkpoint: dict[str, np.ndarray]) -> ReadOut:
    """Return the end of a raw checkpoint's annealed branch: `anneal_share` of its epochs, linearly to zero.

    The branch starts from the checkpoint's weights and the rate it was reached with, with no
    momentum and an order of its own. Raises ValueError where it diverges.
    """
    device, described, name = _setting(spec)
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
        rate=schedules.linear_to_zero(raw(max(1, round(epoch * a_pass))), steps),
        batch_size=settings["batch_size"],
        weight_decay=settings["weight_decay"],
        order=stream("source-order", seed, name, spec["source"], f"anneal-{epoch!r}"),
    )
    return end
