"""Permute all out x in slices of a layer: the thesis's treatment.

Keeps the layer's set of 2-D kernels; breaks which filter and which input channel a
kernel belongs to. Bias, affine parameters and statistics stay in place. In a 1x1
layer a slice is one scalar, and this is `shuffle-weights`, to the bit.

Golikov, "Why Does Pre-training Actually Work with Convolutional Neural Networks?" (2019).
"""

import numpy as np

from whypretrain.networks.kernels import Stream, Weights, replace_weights, slices

REFERENCE: str | None = None


def treat(weights: Weights, layers: tuple[int, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with all slices of each layer in another order."""
    return replace_weights(weights, layers, stream, _draw)


def _draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    rows = slices(weight)
    return rows[generator.permutation(len(rows))].reshape(weight.shape)
