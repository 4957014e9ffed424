"""Linear probes: a classifier from scikit-learn on the features of frozen weights."""

import warnings
from dataclasses import dataclass

import numpy as np

STRENGTHS = tuple(float(c) for c in np.logspace(-4, 2, 7))  # C = 1 / L2 of the grid
ITERATIONS = 1000


@dataclass(frozen=True)
class Probe:
    """A probe's read-outs by part, the C that validation selected, whether the fit converged, and its classifier.

    Losses are cross-entropies in nats; predictions are (n,). `weight` (classes, d) and `bias`
    (classes,) act on features as they are, not standardised, and give logits.
    """

    top1: dict[str, float]
    loss: dict[str, float]
    predictions: dict[str, np.ndarray]
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


def fit_probe(features: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> Probe:
    """Fit a multinomial logistic regression on features (n, d), standardised on the training images.

    C is selected on validation top-1 from a log grid (ties: lower loss, then smaller C), and
    validation images are never trained on (as Kornblith et al. 2019, without their refit).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features["train"])
    scaled = {part: scaler.transform(values) for part, values in features.items()}
    found = []
    for strength in STRENGTHS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(scaled["train"], labels["train"])
        coefficients, intercepts = _logits(model.coef_.astype(np.float64), model.intercept_.astype(np.float64))
        weight = coefficients / scaler.scale_
        probe = Probe(
            top1={part: float(model.score(values, labels[part])) for part, values in scaled.items()},
            loss={
                part: float(log_loss(labels[part], model.predict_proba(values), labels=model.classes_))
                for part, values in scaled.items()
            },
            predictions={part: model.predict(values) for part, values in scaled.items()},
            strength=strength,
            converged=not any(issubclass(w.category, ConvergenceWarning) for w in caught),
            weight=weight,
            bias=intercepts - weight @ scaler.mean_,
        )
        found.append(probe)
    return min(found, key=lambda probe: (-probe.top1["validation"], probe.loss["validation"], probe.strength))
