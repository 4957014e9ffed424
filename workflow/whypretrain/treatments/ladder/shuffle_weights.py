"""Permute all scalars of a layer's weight.

Keeps the layer's set of values; breaks all else. Bias, affine parameters and statistics stay in place. In a 1x1 layer
this is `shuffle-kernels`, to the bit.

All scalars of a grouped, depthwise, 1x1, linear, attention or patch-embedding weight are one set.
"""

import numpy as np


def draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a weight with all its numbers in another order."""
    values = weight.reshape(-1)
    return values[generator.permutation(len(values))].reshape(weight.shape)
