"""Linear probing, then fine-tuning (Kumar et al. 2022): training starts with a probe on the frozen start as the head.

A random head sends noise into pre-trained layers at first; a probed one doesn't.
"""

from dataclasses import replace

from whypretrain.learning import runs
from whypretrain.learning.frozen import classify, head_of
from whypretrain.learning.probes import fit_probe
from whypretrain.learning.runs import Outcome, Request
from whypretrain.learning.supervised import train_above
from whypretrain.learning.tasks import FEW

PACKAGES = ("scikit-learn",)


def run(request: Request) -> Outcome:
    """Fit one probe, train everything from it, and return what is read out; `strength` is the probe's C.

    The few validation images select it: two probes would be two trainings.
    """
    if "probe" not in request.shared:
        request.shared["probe"] = classify(request, runs.start_network(request), fit_probe)[FEW]
    probe = request.shared["probe"]
    outcome = train_above(request, frozen=0, head=head_of(probe))
    told = {"strength": probe.strength, "strength_few": probe.strength, "converged": probe.converged}
    return replace(outcome, scores=outcome.scores | told)
