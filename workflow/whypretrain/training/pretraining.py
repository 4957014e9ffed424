"""Source training: warm-up and a constant rate, checkpoints on the way, annealed branches to zero.

What is learnt is an entry of `objectives`, named by `pretraining.objective`.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from whypretrain import registry
from whypretrain.files.snapshots import UNKEPT, Progress
from whypretrain.networks.building import loaded, side_by_side
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import initialise, initialise_head, without_head
from whypretrain.networks.network import Network, Weights
from whypretrain.randomness import stream
from whypretrain.training import loop as training
from whypretrain.training import schedules
from whypretrain.training.data import TargetData

log = logging.getLogger("whypretrain")

# one object, so that rows with the same gaps are equal
NOTHING = math.nan
OF_LABELS = ("loss_train", "top1_train", "loss_validation", "top1_validation", "loss_test", "top1_test")
OF_LAYERS = ("layer", "reconstruction_train", "reconstruction_validation", "reconstruction_test")
SCORES = dict.fromkeys((*OF_LABELS, *OF_LAYERS), NOTHING)


@dataclass(frozen=True)
class Learner:
    """A source with one seed: its images, its network's card, and the weights that it starts from.

    Those are of a parent or of a raw checkpoint. What is `published` may have no images of its own: they are `NO_DATA`.
    """

    seed: int
    data: TargetData
    card: Card
    start: Weights | None = None
    published: tuple[Weights, ...] = ()


NO_DATA = TargetData({}, {}, classes=0)


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


def initial_weights(learner: Learner, source: str) -> Weights:
    """Return a source's epoch 0: its parent's layers, or its own initialisation, under a head of its own.

    The head is drawn after the layers, so it is the same with and without a parent.
    """
    card, init = learner.card, stream("source-init", learner.seed, learner.card.name, source)
    own = initialise(card, init)
    head = initialise_head(card, learner.data.classes, init) if learner.data.classes else {}
    return {**(own if learner.start is None else without_head(card, learner.start)), **head}


def _read_out(
    network: Network,
    learners: Sequence[Learner],
    epoch: float,
    step: int,
    batches: tuple[Sequence[float], Sequence[float]],
    kept: bool,
) -> list[ReadOut]:
    rows: list[dict[str, float]] = [
        {"loss_train": loss, "top1_train": top1} for loss, top1 in zip(*batches, strict=True)
    ]
    # what tests is far more than what validates, and only checkpoints are judged by it
    for part in ("validation", "test") if kept else ("validation",):
        images, labels = _of_part(learners, part)
        for row, score in zip(rows, training.evaluate_copies(network, images, labels), strict=True):
            row |= {f"loss_{part}": score.loss, f"top1_{part}": score.top1}
    for learner, row in zip(learners, rows, strict=True):
        log.info(
            "seed %d epoch %g step %d: train loss %.3f top-1 %.3f, validation top-1 %.3f",
            *(learner.seed, epoch, step, row["loss_train"], row["top1_train"], row["top1_validation"]),
        )
    return [read_out(epoch, step, row, network.weights(copy) if kept else None) for copy, row in enumerate(rows)]


def _of_part(learners: Sequence[Learner], part: str) -> tuple[list[Tensor], list[Tensor]]:
    return [one.data.images[part] for one in learners], [one.data.labels[part] for one in learners]


def _a_pass(spec: Mapping[str, Any], learners: Sequence[Learner]) -> int:
    return schedules.steps_per_pass(len(learners[0].data.images["train"]), spec["pretraining"]["batch_size"])


def _raw_rate(settings: Mapping[str, Any], a_pass: int) -> Callable[[int], float]:
    return schedules.constant_after_warmup(settings["learning_rate"], round(settings["warmup_epochs"] * a_pass))


def _train(
    spec: Mapping[str, Any],
    learners: Sequence[Learner],
    weights: Sequence[Weights],
    marks: Mapping[int, float],
    rate: Callable[[int], float],
    progress: Progress,
    *branch: str,
) -> Iterator[list[ReadOut]]:
    """Train the learners from their weights, as copies of one network, to the last mark; or from where it was stopped.

    Yield read-outs with weights at each mark, and without at every whole pass; before the first step too, but for a
    `branch`, whose name its order of images has.
    """
    settings, source, a_pass = spec["pretraining"], spec["source"], _a_pass(spec, learners)
    images, labels = _of_part(learners, "train")
    networks = [loaded(one.card, own) for one, own in zip(learners, weights, strict=True)]
    network = side_by_side(networks).to(images[0].device)
    stopped = progress.state()
    if not (stopped or branch):
        nothing = [NOTHING] * len(learners)
        yield _read_out(network, learners, 0.0, 0, (nothing, nothing), kept=True)
    for step, loss, correct, since, seen in training.follow(
        network,
        images,
        labels,
        steps=max(marks),
        reads=lambda step: step in marks or step % a_pass == 0,
        progress=progress,
        stopped=stopped,
        rates=[rate] * len(learners),
        batch_size=settings["batch_size"],
        weight_decay=settings["weight_decay"],
        orders=[stream("source-order", one.seed, one.card.name, source, *branch) for one in learners],
        seed=int(stream("dropout", learners[0].seed, source).integers(2**63)),
    ):
        batches = (loss / since).tolist(), (correct / seen).tolist()
        yield _read_out(network, learners, marks.get(step, step / a_pass), step, batches, step in marks)


def learn(spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT) -> Iterator[list[ReadOut]]:
    """Yield the read-outs of sources that learn the labels of their training images, as `pretrain` does."""
    settings, images = spec["pretraining"], len(learners[0].data.images["train"])
    marks = schedules.checkpoint_steps(settings["checkpoints"], images, settings["batch_size"])
    weights = [initial_weights(one, spec["source"]) for one in learners]
    yield from _train(spec, learners, weights, marks, _raw_rate(settings, _a_pass(spec, learners)), progress)


def branch(spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT) -> list[ReadOut]:
    """Return the ends of the branches of sources that learn the labels of their training images, as `anneal` does."""
    settings, epoch, a_pass = spec["pretraining"], spec["epoch"], _a_pass(spec, learners)
    steps = max(1, round(settings["anneal_share"] * epoch * a_pass))
    reached = _raw_rate(settings, a_pass)(max(1, round(epoch * a_pass)))
    rate, starts = schedules.linear_to_zero(reached, steps), [one.start or {} for one in learners]
    *_, end = _train(spec, learners, starts, {steps: epoch}, rate, progress, f"anneal-{epoch!r}")
    return end


def pretrain(
    spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT
) -> Iterator[list[ReadOut]]:
    """Yield the read-outs of a source, those of all learners at once: at every epoch, with weights at its checkpoints.

    Learners train as copies of one network; they have as many images as each other, and of an objective that is `ALONE`
    there is one. The first read-outs are their initialisations, or the layers of their starts, the ends of the source
    that it starts from; of what was stopped, the first after that. Raises ValueError for a source that diverges, for a
    start of another architecture, and as `schedules.checkpoint_steps` does.
    """
    objective = registry.load("objectives", spec["pretraining"]["objective"])
    yield from objective.pretrain(spec, learners, progress)


def anneal(spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT) -> list[ReadOut]:
    """Return the ends of the annealed branches of raw checkpoints, the learners' starts.

    A branch takes `anneal_share` of the checkpoint's epochs, linearly to zero, from the rate it was reached with, with
    no momentum and an order of its own. Raises ValueError where one diverges.
    """
    objective = registry.load("objectives", spec["pretraining"]["objective"])
    found: list[ReadOut] = objective.anneal(spec, learners, progress)
    return found
