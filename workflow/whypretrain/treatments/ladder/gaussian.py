"""Draw each weight of a layer from one Gaussian with the mean and variance of its weights.

Keeps two numbers of a layer. Bias, affine parameters and statistics stay in place. In a 1x1 layer `gaussian-kernels` is
this, to the bit. The "Mean Var" initialisation of Raghu et al., "Transfusion: Understanding Transfer Learning for
Medical Imaging" (2019).

Grouped, depthwise, 1x1, linear, attention and patch-embedding weights are each one set of numbers.
"""

import numpy as np

from whypretrain.treatments.ladder import gaussian_kernels


def draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return independent Gaussian numbers in the place of a weight."""
    return gaussian_kernels.draw(weight.reshape(-1, 1), generator).reshape(weight.shape)
