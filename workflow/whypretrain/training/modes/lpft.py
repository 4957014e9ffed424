"""Linear probing, then fine-tuning (Kumar et al. 2022): training starts with a probe on the frozen start as the head.

A random head sends noise into pre-trained layers at first; a probed one doesn't.
"""

from dataclasses import replace

from whypretrain.data.tasks import FEW
from whypretrain.training import runs
from whypretrain.training.probes import Probe, classify, fit_probe
from whypretrain.training.runs import Outcome, Request
from whypretrain.training.supervised import train_above

PACKAGES = ("scikit-learn",)


def run(*requests: Request) -> list[Outcome]:
    """Fit one probe a seed, train everything from it, and return what is read out; `strength` is the probe's C.

    The few validation images select it: two probes would be two trainings.
    """
    for request in requests:
        if "probe" not in request.shared:
            request.shared["probe"] = classify(request, runs.start_network(request), fit_probe)[FEW]
    probes: list[Probe] = [request.shared["probe"] for request in requests]
    heads = [probe.head(request.card) for request, probe in zip(requests, probes, strict=True)]
    outcomes = train_above(requests, heads)
    told = [dict.fromkeys(("strength", "strength_few"), probe.strength) for probe in probes]
    return [
        replace(outcome, scores=outcome.scores | strengths | {"converged": probe.converged})
        for probe, strengths, outcome in zip(probes, told, outcomes, strict=True)
    ]
