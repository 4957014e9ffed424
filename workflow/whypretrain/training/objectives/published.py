"""Nothing is learnt here: the weights are those that somebody else trained, the same with every seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from whypretrain.data.partition import PARTS
from whypretrain.files.snapshots import UNKEPT, Progress
from whypretrain.networks.building import loaded
from whypretrain.networks.initialisation import Weights, head_of
from whypretrain.networks.published import fitting
from whypretrain.training import loop as training
from whypretrain.training.pretraining import Learner, ReadOut, initial_weights, read_out

ALONE = True  # one source at a time
ANNEALED = False
UNBRANCHED = "its weights are published ones"


def pretrain(
    spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT
) -> Iterator[list[ReadOut]]:
    """Yield the source's own initialisation, and then what was published, checkpoint after checkpoint.

    What has no task, and no head for its classes, has no scores. Raises ValueError where the weights aren't those of
    the architecture.
    """
    (one,) = learners
    initial = initial_weights(replace(one, start=None), spec["source"])
    found = [initial, *(fitting(one.card, weights) for weights in one.published)]
    for epoch, weights in zip(spec["pretraining"]["checkpoints"], found, strict=True):
        yield [read_out(epoch, 0, _scores(one, weights), weights)]


def _scores(one: Learner, weights: Weights) -> dict[str, float]:
    data, head = one.data, head_of(one.card, weights)
    if not head or len(head[f"{one.card.head}.weight"]) != data.classes:
        return {}
    network = loaded(one.card, weights).to(data.images["train"].device)
    found = {part: training.evaluate(network, data.images[part], data.labels[part]) for part in PARTS}
    return {f"{what}_{part}": getattr(score, what) for part, score in found.items() for what in ("loss", "top1")}
