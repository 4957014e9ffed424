"""Runs on the frozen start: a linear classifier on the features of one of its layers."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from whypretrain.data.tasks import FEW
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import as_head
from whypretrain.networks.network import Network, Weights, in_batches
from whypretrain.training import runs
from whypretrain.training.probes import Parts, Probe
from whypretrain.training.runs import Outcome, Request

log = logging.getLogger("whypretrain")

Fit = Callable[[Parts, Parts], dict[str, Probe]]


def classify(request: Request, network: Network, fit: Fit) -> dict[str, Probe]:
    """Fit a classifier on a network's penultimate features of the target's images; see `fit_probe`."""
    data = request.data
    features = {part: in_batches(network.features, images).cpu().numpy() for part, images in data.images.items()}
    return fit(features, {part: labels.cpu().numpy() for part, labels in data.labels.items()})


def head_of(probe: Probe, card: Card, *, layer: int | None = None) -> Weights:
    """Return a classifier as a network's head: a linear one on the features of a layer, where it is read at one."""
    return as_head(replace(card, head_convolves=False) if layer else card, probe.weight, probe.bias)


def run_on_features(request: Request, fit: Fit) -> Outcome:
    """Fit one classifier and return what is read out of it; there are no steps, so no history and no kernels.

    The final weights are the start's as far as the layer that is read, with the statistics used, and the
    classifier that all validation images select as the head. The row also has what the few select.
    """
    network = runs.start_network(request)
    found = classify(request, network, fit)
    probe, few = found["validation"], found[FEW]
    top1, loss = (
        of_all | {FEW: of_few[FEW], runs.TEST_FEW: of_few["test"]}
        for of_all, of_few in ((probe.top1, few.top1), (probe.loss, few.loss))
    )
    row = runs.scores(
        request.data,
        top1,
        loss,
        probe.predictions,
        steps=0,
        converged=probe.converged and few.converged,
        strength=(probe.strength, few.strength),
    )
    log.info(
        "%s on layer %d, seed %d: C %g%s, train top-1 %.3f, validation top-1 %.3f",
        *(request.mode.name, request.mode.layer or request.card.depth, request.seed),
        *(probe.strength, "" if probe.converged else " (not converged)"),
        *(probe.top1["train"], probe.top1["validation"]),
    )
    return Outcome(
        {},
        {},
        row,
        probe.predictions["test"].astype(np.uint8),
        network.weights() | head_of(probe, request.card, layer=request.mode.layer),
    )
