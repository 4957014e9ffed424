"""Fresh weights: of plain convnets and of heads in numpy, with the same bits under every version of torch."""

import numpy as np

from whypretrain.networks.card import Card
from whypretrain.networks.convnet import Parameters

Weights = dict[str, np.ndarray]


def initialise(card: Card, stream: np.random.Generator) -> Weights:
    """Return fresh weights of all layers, without a head, as the architecture's own initialisation draws them.

    Of plain convnets no torch is needed.
    """
    told = {key: value for key, value in card.architecture.items() if key != "name"}
    if told.get("network", "convnet") == "convnet":
        return initialise_layers(Parameters(**told), stream)
    from whypretrain.networks.building import initialise_module

    return initialise_module(card, stream)


def without_head(card: Card, weights: Weights, layers: int | None = None) -> Weights:
    """Return the arrays of the first layers and all that goes with them, without a head; of all layers for None."""
    return {name: weights[name] for name in card.tensors(layers) if name in weights}


def head_of(card: Card, weights: Weights) -> Weights:
    """Return the arrays of the head, none where there is none."""
    return {name: array for name, array in weights.items() if name.startswith(f"{card.head}.")}


def initialise_layers(parameters: Parameters, stream: np.random.Generator) -> Weights:
    """Return fresh weights of all layers of a plain convnet, without a head.

    Convolutions are Gaussian with variance 2 / (in * kh * kw) (He et al. 2015, eq. 10);
    biases, which only networks without norm have, are 0; norms are the identity.
    """
    weights: Weights = {}
    for number, shape in enumerate(parameters.shapes(), 1):
        outputs, inputs, kernel, _ = shape
        deviation = np.sqrt(2.0 / (inputs * kernel**2))
        weights[f"layer{number}.weight"] = (stream.standard_normal(shape) * deviation).astype(np.float32)
        zeros = np.zeros(outputs, np.float32)
        if parameters.norm == "batch":
            weights[f"norm{number}.weight"] = np.ones(outputs, np.float32)
            weights[f"norm{number}.bias"] = zeros
            weights[f"norm{number}.running_mean"] = zeros.copy()
            weights[f"norm{number}.running_var"] = np.ones(outputs, np.float32)
        else:
            weights[f"layer{number}.bias"] = zeros
    return weights


def initialise_head(card: Card, classes: int, stream: np.random.Generator) -> Weights:
    """Return a fresh head: weight (classes, features) uniform in ±1/√features, bias (classes,) zero.

    That of a 1x1 convolution has the shape (classes, features, 1, 1).
    """
    bound = 1.0 / np.sqrt(card.features)
    weight = stream.uniform(-bound, bound, (classes, card.features)).astype(np.float32)
    return as_head(card, weight, np.zeros(classes, np.float32))


def as_head(card: Card, weight: np.ndarray, bias: np.ndarray) -> Weights:
    """Return a linear classifier, weight (classes, features) and bias (classes,), as the head of a network."""
    shape = (*weight.shape, 1, 1) if card.head_convolves else weight.shape
    return {
        f"{card.head}.weight": weight.reshape(shape).astype(np.float32),
        f"{card.head}.bias": bias.astype(np.float32),
    }
