"""Kaiming initialisation of a network, in numpy: the same bits under every version of torch."""

from collections.abc import Sequence

import numpy as np

from whypretrain.networks.convnet import Layer

Weights = dict[str, np.ndarray]


def initialise_layers(layers: Sequence[Layer], stream: np.random.Generator) -> Weights:
    """Return fresh weights of all layers, without a head.

    Convolutions are Gaussian with variance 2 / (in * kh * kw) (He et al. 2015, eq. 10);
    biases, which only networks without norm have, are 0; norms are the identity.
    """
    weights: Weights = {}
    for layer in layers:
        shape = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        deviation = np.sqrt(2.0 / (layer.inputs * layer.kernel**2))
        weights[f"layer{layer.number}.weight"] = (stream.standard_normal(shape) * deviation).astype(np.float32)
        zeros = np.zeros(layer.outputs, np.float32)
        if layer.norm:
            weights[f"norm{layer.number}.weight"] = np.ones(layer.outputs, np.float32)
            weights[f"norm{layer.number}.bias"] = zeros
            weights[f"norm{layer.number}.running_mean"] = zeros.copy()
            weights[f"norm{layer.number}.running_var"] = np.ones(layer.outputs, np.float32)
        else:
            weights[f"layer{layer.number}.bias"] = zeros
    return weights


def initialise_head(features: int, classes: int, stream: np.random.Generator) -> Weights:
    """Return a fresh head: weight (classes, features) uniform in ±1/√features, bias (classes,) zero."""
    bound = 1.0 / np.sqrt(features)
    weight = stream.uniform(-bound, bound, (classes, features)).astype(np.float32)
    return {"head.weight": weight, "head.bias": np.zeros(classes, np.float32)}
