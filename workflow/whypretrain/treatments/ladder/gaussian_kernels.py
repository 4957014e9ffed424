"""Draw each slice of a layer from one Gaussian with the mean and covariance of its slices.

Keeps the first two moments of the 2-D kernels, over the layer's out * in slices: a mean of kh * kw taps and their (kh *
kw, kh * kw) covariance, which may be singular. Bias, affine parameters and statistics stay in place. In a 1x1 layer
this is `gaussian`, to the bit. Cf. Trockman et al., "Understanding the Covariance Structure of Convolutional Filters"
(2022).

In a grouped convolution slices of all groups make one Gaussian, in a depthwise one all filters; in 1x1, linear and
attention weights this is `gaussian`; a patch embedding is a convolution with a large covariance.
"""

import numpy as np

from whypretrain.networks.kernels import slices


def draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return Gaussian slices, with the mean and the population covariance of a weight's, in the place of it.

    The covariance's root is the symmetric one, so the signs of eigenvectors, which LAPACK may choose either way, don't
    matter; `einsum` sums without BLAS, so the number of threads doesn't either.
    """
    rows = slices(weight).astype(np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    variances, axes = np.linalg.eigh(np.einsum("nt,nu->tu", centred, centred) / len(rows))
    root = (axes * np.sqrt(np.clip(variances, 0, None))) @ axes.T
    drawn = mean + np.einsum("nt,tu->nu", generator.standard_normal(rows.shape), root)
    return drawn.astype(weight.dtype).reshape(weight.shape)
