"""What every mode of target training shares: what it is asked, the start, and what a run leaves behind."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from whypretrain.files.snapshots import UNKEPT, Progress
from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import initialise_head, without_head
from whypretrain.networks.network import Network, reestimate_statistics
from whypretrain.randomness import stream
from whypretrain.training.data import Columns, TargetData
from whypretrain.training.loop import Score
from whypretrain.training.moding import Mode

Weights = dict[str, np.ndarray]

FINETUNE = Mode("finetune")
TEST_FEW = "test_few"  # the test images, of what the few validation images select
COLLAPSE = 0.05  # a run that ends with balanced accuracy on train below chance plus this is called collapsed


@dataclass(frozen=True)
class Request:
    """One run: the start's weights, the network's card, the data, the recipe, a learning rate, a seed and the mode.

    Modes that don't learn by gradient steps have neither recipe nor learning rate. In `shared` a mode keeps what is the
    same at every learning rate of a seed; `progress` keeps where the training is, of all runs that train together.
    `precision` is what steps are computed in; weights and scores are float32 ones.
    """

    start: Weights
    card: Card
    data: TargetData
    task: str
    recipe: Mapping[str, Any] | None
    learning_rate: float | None
    seed: int
    device: torch.device
    mode: Mode = FINETUNE
    shared: dict[str, Any] = field(default_factory=dict)
    progress: Progress = UNKEPT
    precision: str = "float32"


@dataclass(frozen=True)
class Outcome:
    """One run's read-outs as columns, its predictions (uint8) on the test images, and its final weights."""

    history: Columns
    kernels: Columns
    scores: dict[str, Any]
    predictions: np.ndarray
    final: Weights


def start_network(request: Request) -> Network:
    """Return the network of a run before it learns, on the device and in evaluation mode.

    It has the start's weights under a new head; one that is read at a layer has no head yet. The norms' statistics are
    re-estimated on the target's training images, unless the mode keeps the start's.
    """
    card, layer = request.card, request.mode.layer
    network = build(card, request.data.classes, layer=layer)
    new = {} if layer else initialise_head(card, request.data.classes, stream("head", request.seed, request.task))
    network.load(without_head(card, request.start, layer) | new)
    network.to(request.device)
    if not request.mode.source_norm:
        reestimate_statistics(network, request.data.images["train"])
    return network.eval()


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean over classes of the share of a class's images that is right: guessing gives 1 / classes."""
    right = labels == predictions
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def scores(
    data: TargetData,
    scored: Mapping[str, Score],
    *,
    steps: int,
    diverged: bool = False,
    converged: bool = True,
    strength: tuple[float, float] = (math.nan, math.nan),
) -> dict[str, Any]:
    """Return a run's scores by part as a row: top-1 and loss, balanced accuracy on test, and how the run ended.

    One that diverged has the score of guessing all classes alike; one whose balanced accuracy is near that on its own
    training images, however uneven these are, is `collapsed`. `strength` is the C of a probe or SVM, as all validation
    images and as the few select it. Where the few select another classifier, `test_few` are its scores.
    """
    chance = 1.0 / data.classes
    train, test = (
        balanced_accuracy(data.labels[part].cpu().numpy(), scored[part].predictions) for part in ("train", "test")
    )
    row: dict[str, Any] = {"diverged": diverged, "collapsed": not diverged and train < chance + COLLAPSE}
    for part, score in {**scored, TEST_FEW: scored.get(TEST_FEW, scored["test"])}.items():
        row[f"top1_{part}"] = chance if diverged else score.top1
        row[f"loss_{part}"] = math.log(data.classes) if diverged else score.loss
    row["balanced_test"] = chance if diverged else test
    return row | {"steps": steps, "converged": converged, "strength": strength[0], "strength_few": strength[1]}
