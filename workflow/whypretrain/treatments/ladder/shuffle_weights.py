"""Permute all scalars of a layer's weight.

Keeps the layer's set of values; breaks all else. Bias, affine parameters and statistics
stay in place. In a 1x1 layer this is `shuffle-kernels`, to the bit.

All scalars of a grouped, depthwise, 1x1, linear, attention or patch-embedding weight are one set.
"""

import numpy as np

from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import Stream, Weights, replace_weights

REFERENCE: str | None = None


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with all weights of each layer in another order."""
    return replace_weights(weights, layers, stream, _draw)


def _draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    values = weight.reshape(-1)
    return values[generator.permutation(len(values))].reshape(weight.shape)
