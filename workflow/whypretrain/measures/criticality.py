"""What a network loses when one of its layers is put back to what it was."""

from collections.abc import Sequence

from torch import Tensor

from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import take_layers
from whypretrain.networks.network import Network, Weights, reestimate_statistics
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
    """Return each layer with the top-1 (fraction of 1) that `final` loses on images (n, c, h, w) and labels (n,).

    The layer alone, its weight, bias, affine parameters and statistics, is put back to that of `back`:
    re-initialisation robustness where those are a run's start (Zhang, Bengio & Singer 2022). With
    `statistics_images` the norms' statistics are re-estimated on those in every network, the whole one too.
    Negative where top-1 rises. Raises ValueError where `back` is of another architecture. The network's own weights are
    overwritten.
    """

    def top1(weights: Weights) -> float:
        network.load(weights)
        if statistics_images is not None:
            reestimate_statistics(network, statistics_images)
        return evaluate(network, images, labels).top1

    whole = top1(final)
    return [(layer.number, whole - top1(take_layers(final, (layer,), back))) for layer in layers]
