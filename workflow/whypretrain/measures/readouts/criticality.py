"""What the final network loses when one layer is put back to its start's, or to its initialisation's, weights.

Module criticality, or re-initialisation robustness (Zhang, Bengio & Singer 2022; Chatterji et al. 2020). The norms'
statistics are re-estimated on the target's training images in every network, the whole one too: stale ones alone would
cost accuracy.
"""

from collections.abc import Sequence

from torch import Tensor

from whypretrain.measures.measuring import Measured
from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import take_layers
from whypretrain.networks.network import Network, Weights, reestimate_statistics
from whypretrain.training.data import Rows
from whypretrain.training.loop import evaluate


def criticality(
    network: Network,
    final: Weights,
    back: Weights,
    layers: Sequence[Layer],
    images: Tensor,
    labels: Tensor,
    statistics_images: Tensor | None = None,
) -> list[tuple[int, float]]:
    """Return each layer with the top-1 that `final` loses on images (n, c, h, w) with it alone as in `back`.

    All that goes with the layer is put back; negative where top-1 rises. With `statistics_images` the norms' statistics
    are re-estimated on those. Raises ValueError where `back` is of another architecture. The network's own weights are
    overwritten.
    """

    def top1(weights: Weights) -> float:
        network.load(weights)
        if statistics_images is not None:
            reestimate_statistics(network, statistics_images)
        return evaluate(network, images, labels).top1

    whole = top1(final)
    return [(layer.number, whole - top1(take_layers(final, (layer,), back))) for layer in layers]


def read_out(measured: Measured) -> Rows:
    """Yield a row for each layer and what it is put back to, with the loss of top-1 on up to 1,000 test images."""
    data, layers, some = measured.target, measured.card.layers[: measured.mode.layer], measured.some("target", "test")
    network, images, labels = measured.network("final", "target"), data.images["test"][some], data.labels["test"][some]
    for put_back, weights in (("start", measured.start), ("initialisation", measured.initial)):
        for layer, lost in criticality(
            network, measured.final, weights, layers, images, labels, statistics_images=data.images["train"]
        ):
            yield {"layer": layer, "put_back": put_back, "top1_lost": lost}
