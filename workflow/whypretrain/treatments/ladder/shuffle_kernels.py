"""Permute all out x in slices of a layer: the thesis's treatment.

Keeps the layer's set of 2-D kernels; breaks which filter and which input channel a kernel belongs to. Bias, affine
parameters and statistics stay in place. In a 1x1 layer a slice is one scalar, and this is `shuffle-weights`, to the
bit.

Golikov, "Why Does Pre-training Actually Work with Convolutional Neural Networks?" (2019).

In a grouped convolution slices move across groups; a depthwise filter is one slice; in 1x1, linear and attention
weights a slice is one number; a patch embedding is a convolution with large slices.
"""

import numpy as np

from whypretrain.networks.kernels import slices


def draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a weight with all its slices in another order."""
    rows = slices(weight)
    return rows[generator.permutation(len(rows))].reshape(weight.shape)
