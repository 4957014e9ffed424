"""Permute the slices inside each filter, independently for each filter.

Keeps each filter's set of slices, and all that belongs to an output channel (bias,
affine parameters, statistics), which stays in place; breaks which input channel a
slice reads. With one input channel (layer 1 of grey images) it is the identity.
"""

import numpy as np

from whypretrain.networks.kernels import Stream, Weights, replace_weights

REFERENCE: str | None = None


def treat(weights: Weights, layers: tuple[int, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with the slices of each filter in another order."""
    return replace_weights(weights, layers, stream, _draw)


def _draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    filters, inputs = weight.shape[:2]
    order = generator.permuted(np.tile(np.arange(inputs), (filters, 1)), axis=1)
    return weight[np.arange(filters)[:, None], order]
