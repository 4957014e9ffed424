"""Runs on the frozen start: linear classifiers from scikit-learn, probes and SVMs, on the features of one layer."""

import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whypretrain.data.tasks import FEW
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import as_head
from whypretrain.networks.network import Network, Weights, in_batches
from whypretrain.training import runs
from whypretrain.training.loop import Score
from whypretrain.training.runs import Outcome, Request

log = logging.getLogger("whypretrain")

STRENGTHS = tuple(float(c) for c in np.logspace(-4, 2, 7))  # C = 1 / L2 of the grid
ITERATIONS = 1000
SELECTING = ("validation", FEW)

Parts = dict[str, np.ndarray]


@dataclass(frozen=True)
class Probe:
    """A classifier's scores by part, the C that validation selected, whether the fit converged, and its weights.

    An SVM has no cross-entropy: its losses are NaN. `weight` (classes, d) and `bias` (classes,) act on features as they
    are, not standardised, and give logits, or an SVM's decision values.
    """

    scores: dict[str, Score]
    strength: float
    converged: bool
    weight: np.ndarray
    bias: np.ndarray

    def head(self, card: Card, layer: int | None = None) -> Weights:
        """Return the classifier as a network's head; a linear one where the network is read at a layer."""
        return as_head(replace(card, head_convolves=False) if layer else card, self.weight, self.bias)


Fit = Callable[[Parts, Parts], dict[str, Probe]]


def _logits(coefficients: np.ndarray, intercepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one row a class; of two classes scikit-learn has one row, the difference of their logits."""
    if len(coefficients) > 1:
        return coefficients, intercepts
    halves = np.array([-0.5, 0.5])
    return halves[:, None] * coefficients, halves * intercepts


def _fit(features: Parts, labels: Parts, build: Callable[[float], Any]) -> dict[str, Probe]:
    """Fit a classifier for each C on standardised features and return those that each of `SELECTING` selects."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import log_loss
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features["train"])
    scaled = {part: scaler.transform(values) for part, values in features.items()}
    found = []
    for strength in STRENGTHS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model = build(strength).fit(scaled["train"], labels["train"])
        coefficients, intercepts = _logits(model.coef_.astype(np.float64), model.intercept_.astype(np.float64))
        weight, scores = coefficients / scaler.scale_, {}
        for part, values in scaled.items():
            loss, predicted = math.nan, model.predict(values)
            if hasattr(model, "predict_proba"):
                loss = float(log_loss(labels[part], model.predict_proba(values), labels=model.classes_))
            scores[part] = Score(loss, float((predicted == labels[part]).mean()), predicted)
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        found.append(Probe(scores, strength, converged, weight, intercepts - weight @ scaler.mean_))
    return {
        part: min(found, key=lambda each: (-each.scores[part].top1, _known(each.scores[part].loss), each.strength))
        for part in SELECTING
        if part in features
    }


def _known(loss: float) -> float:
    return 0.0 if math.isnan(loss) else loss


def fit_probe(features: Parts, labels: Parts) -> dict[str, Probe]:
    """Fit a multinomial logistic regression on features (n, d) of each part, standardised on the training images.

    C is selected from a log grid on the top-1 (ties: lower loss, then smaller C) of all validation images, and where
    they are given of the few: the two classifiers are returned by the part that selected them. Validation images
    are never trained on (as Kornblith et al. 2019, without their refit).
    """
    from sklearn.linear_model import LogisticRegression

    return _fit(features, labels, lambda strength: LogisticRegression(C=strength, max_iter=ITERATIONS))


def fit_svm(features: Parts, labels: Parts) -> dict[str, Probe]:
    """Fit a linear SVM, one against the rest with squared hinge loss, on features (n, d) as `fit_probe` does.

    Ties on validation go to the smaller C.
    """
    from sklearn.svm import LinearSVC

    return _fit(
        features, labels, lambda strength: LinearSVC(C=strength, dual="auto", max_iter=ITERATIONS, random_state=0)
    )


def classify(request: Request, network: Network, fit: Fit) -> dict[str, Probe]:
    """Fit a classifier on a network's penultimate features of the target's images; see `fit_probe`."""
    data = request.data
    features = {part: in_batches(network.features, images).cpu().numpy() for part, images in data.images.items()}
    return fit(features, {part: labels.cpu().numpy() for part, labels in data.labels.items()})


def run_on_features(request: Request, fit: Fit) -> Outcome:
    """Fit one classifier and return what is read out of it; there are no steps, so no history and no kernels.

    The final weights are the start's as far as the layer that is read, with the statistics used, and the
    classifier that all validation images select as the head. The row also has what the few select.
    """
    network, layer = runs.start_network(request), request.mode.layer
    found = classify(request, network, fit)
    probe, few = found["validation"], found[FEW]
    converged, strengths = probe.converged and few.converged, (probe.strength, few.strength)
    scored = probe.scores | {FEW: few.scores[FEW], runs.TEST_FEW: few.scores["test"]}
    row = runs.scores(request.data, scored, steps=0, converged=converged, strength=strengths)
    log.info(
        "%s on layer %d, seed %d: C %g%s, train top-1 %.3f, validation top-1 %.3f",
        *(request.mode.name, layer or request.card.depth, request.seed),
        *(probe.strength, "" if probe.converged else " (not converged)"),
        *(scored["train"].top1, scored["validation"].top1),
    )
    final = network.weights() | probe.head(request.card, layer)
    return Outcome({}, {}, row, scored["test"].predictions.astype(np.uint8), final)
