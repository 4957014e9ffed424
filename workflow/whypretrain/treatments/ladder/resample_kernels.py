"""Draw each slice of a layer from its slices, with replacement.

Keeps the distribution of 2-D kernels, but not the set: about 1/e of the slices of a large layer are not drawn. Bias,
affine parameters and statistics stay in place. The empirical form of the deep weight prior: Atanov et al., "The Deep
Weight Prior" (2019), who fit a generative model to the slices instead.

In a grouped convolution slices of all groups are one pool; a depthwise filter is one slice; in 1x1, linear and
attention weights a slice is one number; a patch embedding is a convolution.
"""

import numpy as np

from whypretrain.networks.kernels import slices


def draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a weight's slices drawn anew from them."""
    rows = slices(weight)
    return rows[generator.integers(len(rows), size=len(rows))].reshape(weight.shape)
