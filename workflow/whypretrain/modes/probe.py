"""The linear probe: a logistic regression on the penultimate features of the frozen start."""

import logging

import numpy as np

from whypretrain import runs
from whypretrain.models import in_batches, weights_of
from whypretrain.probes import fit_probe
from whypretrain.runs import Outcome, Request

log = logging.getLogger("whypretrain")


def run(request: Request) -> Outcome:
    """Fit one probe and return what is read out of it; there are no steps, so no history and no kernels.

    The final weights are the start's, with the statistics used, under the probe as the head.
    """
    data, network = request.data, runs.start_network(request)
    features = {part: in_batches(network.features, images).cpu().numpy() for part, images in data.images.items()}
    probe = fit_probe(features, {part: labels.cpu().numpy() for part, labels in data.labels.items()})
    row = runs.scores(data.classes, probe.top1, probe.loss, steps=0, converged=probe.converged, strength=probe.strength)
    log.info(
        "probe seed %d: C %g%s, train top-1 %.3f, validation top-1 %.3f",
        *(request.seed, probe.strength, "" if probe.converged else " (not converged)"),
        *(probe.top1["train"], probe.top1["validation"]),
    )
    head = {"head.weight": probe.weight.astype(np.float32), "head.bias": probe.bias.astype(np.float32)}
    return Outcome({}, {}, row, probe.predictions["test"].astype(np.uint8), weights_of(network) | head)
