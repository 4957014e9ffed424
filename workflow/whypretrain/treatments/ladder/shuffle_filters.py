"""Permute whole 3-D filters of a layer, without undoing it in what follows.

Keeps each filter, with its bias, affine parameters and running statistics, which move
with it, so that the layer computes the same channels in another order; breaks which
filter the next layer reads at which input. Of the top layer alone it is a relabelling of
features, a negative control under a new head: the head's inputs stay in place.
"""

from whypretrain.networks.kernels import Stream, Weights, permute_filters

REFERENCE: str | None = None


def treat(weights: Weights, layers: tuple[int, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with the filters of each layer in another order."""
    for layer in layers:
        weights = permute_filters(weights, layer, stream(layer).permutation(len(weights[f"layer{layer}.weight"])))
    return dict(weights)
