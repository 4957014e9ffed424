"""Draw each slice of a layer from a bank of kernels, those of all layers, with replacement.

Keeps nothing of the layer but the standard deviation of its weights, to which the draw is scaled; brings the shapes of
2-D kernels that other networks have learnt, wherever in them these stood. Slices of layers with larger weights stay
larger than others within the draw. Bias, affine parameters and statistics stay in place. Mostly of the source `none`: a
start that knows what kernels look like, and nothing else. In a 1x1 layer a kernel is one scalar.

Atanov et al., "The Deep Weight Prior" (2019), in their code `pretrained_init`: all slices of one network's
convolutions, drawn with replacement, divided by the draw's standard deviation and scaled to Xavier's. Here there may be
several networks, and the scale is that of the checkpoint, for the source `none` the one of He et al. (2015): the same
idea, the scale that an untrained network has.

In a grouped convolution there are as many slices as its groups have; a depthwise filter is one; in 1x1, linear and
attention weights a slice is one number; a patch embedding needs a bank with slices of its size.
"""

import numpy as np

from whypretrain.networks.banks import of_all_weights
from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import Stream, Weights, replace_weights

REFERENCE = "bank"


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with slices from all layers of the bank, the `reference`, in each layer."""

    def draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        pool = of_all_weights(reference, weight.shape[2:])
        filters, inputs = weight.shape[:2]
        drawn = pool[generator.integers(len(pool), size=filters * inputs)]
        deviation = drawn.std(dtype=np.float64)
        scale = weight.std(dtype=np.float64) / deviation if deviation else 1.0  # a draw of one value has no scale
        return (drawn * scale).astype(weight.dtype).reshape(weight.shape)

    return replace_weights(weights, layers, stream, draw)
