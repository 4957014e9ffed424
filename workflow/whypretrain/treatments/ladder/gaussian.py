"""Draw each weight of a layer from one Gaussian with the mean and variance of its weights.

Keeps two numbers of a layer. Bias, affine parameters and statistics stay in place. In a
1x1 layer `gaussian-kernels` is this, to the bit. The "Mean Var" initialisation of
Raghu et al., "Transfusion: Understanding Transfer Learning for Medical Imaging" (2019).

Grouped, depthwise, 1x1, linear, attention and patch-embedding weights are each one set of numbers.
"""

import numpy as np

from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import Stream, Weights, replace_weights
from whypretrain.treatments.ladder.gaussian_kernels import draw_like

REFERENCE: str | None = None


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with independent Gaussian weights in each layer."""
    return replace_weights(weights, layers, stream, _draw)


def _draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return draw_like(weight.reshape(-1, 1), generator).astype(weight.dtype).reshape(weight.shape)
