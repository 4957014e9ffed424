"""Permute the taps inside each slice, independently for each slice.

Keeps each slice's set of values, so its mean and norm; breaks its spatial pattern. Bias, affine parameters and
statistics stay in place. In a 1x1 layer it is the identity.

Grouped, depthwise and patch-embedding weights are convolutions like others; 1x1, linear and attention weights have one
tap a slice and stay as they are.
"""

import numpy as np

from whypretrain.networks.kernels import slices


def draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a weight with the taps of each slice in another order."""
    return generator.permuted(slices(weight), axis=1).reshape(weight.shape)
