"""What the final network loses when one layer is put back to its start's, or to its initialisation's, weights.

Module criticality (Zhang, Bengio & Singer 2022; Chatterji et al. 2020). The norms' statistics are re-estimated on the
target's training images in every network, the whole one too: stale ones alone would cost accuracy.
"""

from whypretrain.measures.criticality import criticality
from whypretrain.measures.measuring import Measured
from whypretrain.training.data import Columns, append


def read_out(measured: Measured) -> Columns:
    """Return a row for each layer and what it is put back to, with the loss of top-1 on up to 1,000 test images."""
    columns: Columns = {}
    data, layers = measured.target, measured.card.layers[: measured.mode.layer]
    some = measured.some("target", "test")
    network = measured.network("final", "target")
    for put_back, weights in (("start", measured.start), ("initialisation", measured.initial)):
        lost = criticality(
            network,
            measured.final,
            weights,
            layers,
            data.images["test"][some],
            data.labels["test"][some],
            statistics_images=data.images["train"],
        )
        for layer, top1 in lost:
            append(columns, {"layer": layer, "put_back": put_back, "top1_lost": top1})
    return columns
