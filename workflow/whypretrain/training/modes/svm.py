"""A linear support vector machine on the pooled features of one layer of the frozen start."""

from whypretrain.training.probes import fit_svm, run_on_features
from whypretrain.training.runs import Outcome, Request

PACKAGES = ("scikit-learn",)


def run(*requests: Request) -> list[Outcome]:
    """Fit one SVM a run and return what is read out of each."""
    return [run_on_features(request, fit_svm) for request in requests]
