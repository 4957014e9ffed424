"""Initialise the layer anew, as Glorot and Bengio do.

Weights are Gaussian with mean 0 and variance 2 / (fan_in + fan_out), fan_in = in * kh * kw and fan_out = out * kh * kw:
the compromise between keeping the variance of activations and that of gradients. Biases are 0 and norms the identity
(scale 1, shift 0, mean 0, variance 1), as an untrained network has them. Keeps nothing.

The source `none` is initialised as He et al. (2015) do, with variance 2 / fan_in, made for ReLU; `glorot` of that
source is the other customary initialisation as a start of the same grid. Where a norm follows, the scale matters for
the effective learning rate alone. Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
networks" (2010), equation 12; theirs is uniform with the variance of equation 16, the same.

In grouped and depthwise convolutions fan_in and fan_out are those of a group; linear and attention weights have kernels
of one tap; a patch embedding is a convolution.
"""

import numpy as np

from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import Stream, Weights, with_streams

REFERENCE = None


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with fresh weights in each layer, its bias 0 and its norm the identity."""
    treated = dict(weights)
    for weight, generator in with_streams(layers, stream):
        ones = {f"{norm}.{name}" for norm in weight.norms for name in ("weight", "running_var")}
        for name in weight.along:
            treated[name] = (np.ones_like if name in ones else np.zeros_like)(weights[name])
        outputs, inputs, *kernel = weight.shape
        deviation = np.sqrt(2.0 / ((inputs + outputs / weight.groups) * np.prod(kernel, dtype=int)))
        drawn = generator.standard_normal(weight.shape) * deviation
        treated[weight.name] = drawn.astype(weights[weight.name].dtype)
    return treated
