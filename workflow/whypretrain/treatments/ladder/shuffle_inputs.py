"""Permute the slices inside each filter, independently for each filter.

Keeps each filter's set of slices, and all that belongs to an output channel (bias, affine parameters, statistics),
which stays in place; breaks which input channel a slice reads. With one input channel (layer 1 of grey images) it is
the identity.

In a grouped convolution slices stay in their group; a depthwise filter has one slice and stays as it is; in 1x1, linear
and attention weights the numbers of a row move; a patch embedding is a convolution.
"""

import numpy as np


def draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a weight with the slices of each filter in another order."""
    filters, inputs = weight.shape[:2]
    order = generator.permuted(np.tile(np.arange(inputs), (filters, 1)), axis=1)
    return weight[np.arange(filters)[:, None], order]
