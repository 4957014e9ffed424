"""Linear classifiers from scikit-learn on the features of frozen weights: probes and support vector machines."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from whypretrain.data.tasks import FEW

STRENGTHS = tuple(float(c) for c in np.logspace(-4, 2, 7))  # C = 1 / L2 of the grid
ITERATIONS = 1000
SELECTING = ("validation", FEW)

Parts = dict[str, np.ndarray]


@dataclass(frozen=True)
class Probe:
    """A classifier's read-outs by part, the C that validation selected, whether the fit converged, and its weights.

    Losses are cross-entropies in nats, NaN for an SVM; predictions (n,) are of training and test images. `weight`
    (classes, d) and `bias` (classes,) act on features as they are, not standardised, and give logits, or an SVM's
    decision values.
    """

    top1: dict[str, float]
    loss: dict[str, float]
    predictions: Parts
    strength: float
    converged: bool
    weight: np.ndarray
    bias: np.ndarray


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
        weight = coefficients / scaler.scale_
        loss = dict.fromkeys(scaled, math.nan)
        if hasattr(model, "predict_proba"):
            loss = {
                part: float(log_loss(labels[part], model.predict_proba(values), labels=model.classes_))
                for part, values in scaled.items()
            }
        probe = Probe(
            top1={part: float(model.score(values, labels[part])) for part, values in scaled.items()},
            loss=loss,
            predictions={part: model.predict(scaled[part]) for part in ("train", "test")},
            strength=strength,
            converged=not any(issubclass(w.category, ConvergenceWarning) for w in caught),
            weight=weight,
            bias=intercepts - weight @ scaler.mean_,
        )
        found.append(probe)
    return {
        part: min(found, key=lambda probe: (-probe.top1[part], _known(probe.loss[part]), probe.strength))
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
