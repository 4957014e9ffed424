"""Permute whole 3-D filters of a layer, without undoing it in what follows.

Keeps each filter, with its bias, affine parameters and running statistics, which move with it, so that the layer
computes the same channels in another order; breaks which filter the next layer reads at which input. Of the top layer
alone it is a relabelling of features, a negative control under a new head: the head's inputs stay in place.

In a grouped convolution filters move across groups and so read other inputs; a depthwise filter is its one slice; in
linear and attention weights a filter is a row; a patch embedding is a convolution.
"""

import numpy as np

from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import Stream, Weights, with_streams

REFERENCE = None


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with the filters of each layer in another order."""
    for weight, generator in with_streams(layers, stream):
        order = generator.permutation(weight.shape[0])
        weights = weights | {name: np.take(weights[name], order, axis=0) for name in weight.of_filters(weights)}
    return weights
