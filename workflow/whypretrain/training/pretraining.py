"""Source training: warm-up and a constant rate, checkpoints on the way, annealed branches to zero.

What is learnt is an entry of `objectives`, named by `pretraining.objective`.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whypretrain import registry
from whypretrain.files.snapshots import UNKEPT, Progress, State
from whypretrain.networks.building import build, side_by_side
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

    Those are of a parent or of a raw checkpoint. What is `published` needs no images of its own: then there are none.
    """

    seed: int
    data: TargetData | None
    card: Card
    start: Weights | None = None
    published: tuple[Weights, ...] = ()

    @property
    def images(self) -> dict[str, Tensor]:
        """Its images by part."""
        assert self.data is not None  # what learns has some
        return self.data.images

    @property
    def labels(self) -> dict[str, Tensor]:
        """Their labels by part."""
        assert self.data is not None
        return self.data.labels

    @property
    def architecture(self) -> str:
        """The name of the architecture in config."""
        name: str = self.card.architecture["name"]
        return name


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
    card, init = learner.card, stream("source-init", learner.seed, learner.architecture, source)
    own = initialise(card, init)
    head = initialise_head(card, learner.data.classes, init) if learner.data else {}
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
        images, labels = ([getattr(one, of)[part] for one in learners] for of in ("images", "labels"))
        for row, score in zip(rows, training.evaluate_copies(network, images, labels), strict=True):
            row |= {f"loss_{part}": score.loss, f"top1_{part}": score.top1}
    for learner, row in zip(learners, rows, strict=True):
        log.info(
            "seed %d epoch %g step %d: train loss %.3f top-1 %.3f, validation top-1 %.3f",
            *(learner.seed, epoch, step, row["loss_train"], row["top1_train"], row["top1_validation"]),
        )
    return [read_out(epoch, step, row, network.weights(copy) if kept else None) for copy, row in enumerate(rows)]


def _train(
    network: Network,
    learners: Sequence[Learner],
    marks: Mapping[int, float],
    a_pass: int,
    progress: Progress,
    stopped: State | None,
    rate: Callable[[int], float],
    **options: Any,
) -> Iterator[list[ReadOut]]:
    """Train to the last mark, from where it was stopped if it was.

    Yield read-outs with weights at each mark, and without at every whole pass.
    """
    zero = [0.0] * len(learners)
    nothing: dict[str, Any] = {"loss": zero, "correct": zero, "since": 0, "seen": 0, "step": 0}
    values = stopped.values if stopped else nothing
    loss, correct = torch.tensor(values["loss"]), torch.tensor(values["correct"])
    since, seen, end = values["since"], values["seen"], max(marks)

    def state() -> State:
        sums = {"loss": loss.tolist(), "correct": correct.tolist(), "since": since, "seen": seen}
        return State(step.state(), {**sums, "step": step.number})

    images, labels = ([getattr(one, of)["train"] for one in learners] for of in ("images", "labels"))
    options |= {"done": values["step"], "state": stopped.arrays if stopped else None}
    for step in training.train(network, images, labels, rates=[rate] * len(learners), steps=end, **options):
        loss, correct, since, seen = loss + step.loss, correct + step.correct, since + 1, seen + step.images
        if step.number in marks or step.number % a_pass == 0:
            epoch = marks.get(step.number, step.number / a_pass)
            batches = (loss / since).tolist(), (correct / seen).tolist()
            yield _read_out(network, learners, epoch, step.number, batches, step.number in marks)
            loss, correct, since, seen = torch.zeros_like(loss), torch.zeros_like(correct), 0, 0
        if step.number < end:
            progress.offer(state)


def _network(weights: Sequence[Weights], learners: Sequence[Learner]) -> Network:
    """Return the learners' networks, one for each of the weights, as copies of one, on the device of their images."""
    networks = []
    for own, learner in zip(weights, learners, strict=True):
        networks.append(build(learner.card, len(own[f"{learner.card.head}.weight"])))
        networks[-1].load(own)
    return side_by_side(networks).to(learners[0].images["train"].device)


def learn(spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT) -> Iterator[list[ReadOut]]:
    """Yield the read-outs of sources that learn the labels of their training images, as `pretrain` does."""
    settings = spec["pretraining"]
    network = _network([initial_weights(one, spec["source"]) for one in learners], learners)
    images, size = len(learners[0].images["train"]), settings["batch_size"]
    a_pass = schedules.steps_per_pass(images, size)
    stopped = progress.state()
    if not stopped:
        nothing = [NOTHING] * len(learners)
        yield _read_out(network, learners, 0.0, 0, (nothing, nothing), kept=True)
    yield from _train(
        network,
        learners,
        schedules.checkpoint_steps(settings["checkpoints"], images, size),
        a_pass,
        progress,
        stopped,
        rate=schedules.constant_after_warmup(settings["learning_rate"], round(settings["warmup_epochs"] * a_pass)),
        batch_size=size,
        weight_decay=settings["weight_decay"],
        orders=[stream("source-order", one.seed, one.architecture, spec["source"]) for one in learners],
        seed=_drawn(learners, spec["source"]),
    )


def _drawn(learners: Sequence[Learner], source: str) -> int:
    """Return what torch's own stream begins with, for networks that draw when they learn."""
    return int(stream("dropout", learners[0].seed, source).integers(2**63))


def branch(spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT) -> list[ReadOut]:
    """Return the ends of the branches of sources that learn the labels of their training images, as `anneal` does."""
    settings, epoch = spec["pretraining"], spec["epoch"]
    network = _network([one.start or {} for one in learners], learners)
    a_pass = schedules.steps_per_pass(len(learners[0].images["train"]), settings["batch_size"])
    raw = schedules.constant_after_warmup(settings["learning_rate"], round(settings["warmup_epochs"] * a_pass))
    steps = max(1, round(settings["anneal_share"] * epoch * a_pass))
    *_, end = _train(
        network,
        learners,
        {steps: epoch},
        a_pass,
        progress,
        progress.state(),
        rate=schedules.linear_to_zero(raw(max(1, round(epoch * a_pass))), steps),
        batch_size=settings["batch_size"],
        weight_decay=settings["weight_decay"],
        orders=[
            stream("source-order", one.seed, one.architecture, spec["source"], f"anneal-{epoch!r}") for one in learners
        ],
        seed=_drawn(learners, spec["source"]),
    )
    return end


def pretrain(
    spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT
) -> Iterator[list[ReadOut]]:
    """Yield the read-outs of a source, those of all learners at once: at every epoch, with weights at its checkpoints.

    Learners train as copies of one network; they have as many images as each other, and of an objective that is
    `ALONE` there is one. The first read-outs are their initialisations, or the layers of their starts, the ends of the
    source that it starts from; of what was stopped, the first after that.
    Raises ValueError for a source that diverges, for a start of another architecture, and as
    `schedules.checkpoint_steps` does.
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
