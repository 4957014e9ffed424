"""Linear probes: a classifier from scikit-learn on the features of frozen weights."""

import warnings
from dataclasses import dataclass

import numpy as np

STRENGTHS = tuple(float(c) for c in np.logspace(-4, 2, 7))  # C = 1 / L2 of the grid
ITERATIONS = 1000


@dataclass(frozen=True)
class Probe:
    """A probe's top-1 by part, the C that validation selected, and whether the fit converged."""

    top1: dict[str, float]
    loss_validation: float
    strength: float
    converged: bool


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
        top1 = {part: float(model.score(values, labels[part])) for part, values in scaled.items()}
        loss = float(log_loss(labels["validation"], model.predict_proba(scaled["validation"]), labels=model.classes_))
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        found.append(Probe(top1, loss, strength, converged))
    return min(found, key=lambda probe: (-probe.top1["validation"], probe.loss_validation, probe.strength))
