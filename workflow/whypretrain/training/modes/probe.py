"""The linear probe: a logistic regression on the penultimate features of the frozen start, or on those of a layer."""

from whypretrain.training.probes import fit_probe, run_on_features
from whypretrain.training.runs import Outcome, Request

PACKAGES = ("scikit-learn",)


def run(*requests: Request) -> list[Outcome]:
    """Fit one probe a run and return what is read out of each."""
    return [run_on_features(request, fit_probe) for request in requests]
