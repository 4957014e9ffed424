"""Initialise the layer anew, as Glorot and Bengio do.

Weights are Gaussian with mean 0 and variance 2 / (fan_in + fan_out), fan_in = in * kh * kw
and fan_out = out * kh * kw: the compromise between keeping the variance of activations and
that of gradients. Biases are 0 and norms the identity (scale 1, shift 0, mean 0, variance 1),
as an untrained network has them. Keeps nothing.

The source `none` is initialised as He et al. (2015) do, with variance 2 / fan_in, made for
ReLU; `glorot` of that source is the other customary initialisation as a start of the same grid.
Where a norm follows, the scale matters for the effective learning rate alone. Glorot and
Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010),
equation 12; theirs is uniform with the variance of equation 16, the same.
"""

import numpy as np

from whypretrain.networks.kernels import Stream, Weights, layer_names

REFERENCE: str | None = None


def treat(weights: Weights, layers: tuple[int, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with fresh weights in each layer, its bias 0 and its norm the identity."""
    treated = dict(weights)
    for layer in layers:
        for name in layer_names(weights, layer):
            ones = name in (f"norm{layer}.weight", f"norm{layer}.running_var")
            treated[name] = (np.ones_like if ones else np.zeros_like)(weights[name])
        name = f"layer{layer}.weight"
        outputs, inputs, height, width = weights[name].shape
        deviation = np.sqrt(2.0 / ((inputs + outputs) * height * width))
        drawn = stream(layer).standard_normal(weights[name].shape) * deviation
        treated[name] = drawn.astype(weights[name].dtype)
    return treated
