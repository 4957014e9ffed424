"""The parts of a network's weights: layers, filters and slices.

A network's weights are a dict of float32 arrays by the names of its state dict; a layer of its card says which of them
are its own. A filter is one `weight[o]`, a slice (a 2-D kernel) one `weight[o, i]`: a number where the layer is linear
or its kernels are 1x1. In a grouped convolution a filter has the slices of its own group; in a depthwise one it is one.
"""

from collections.abc import Callable, Iterator

import numpy as np

from whypretrain.networks.card import TRUNK, Layer, Weight

Weights = dict[str, np.ndarray]
Stream = Callable[..., np.random.Generator]  # of a layer's number and, but for the trunk weight, of the weight's name


def slices(weight: np.ndarray) -> np.ndarray:
    """Return the slices of a weight as rows, of shape (out * in, kh * kw)."""
    return weight.reshape(weight.shape[0] * weight.shape[1], -1)


def with_streams(layers: tuple[Layer, ...], stream: Stream) -> Iterator[tuple[Weight, np.random.Generator]]:
    """Yield each weight with its stream: the layer's for the trunk weight, one of its own for shortcuts and gates."""
    for layer in layers:
        for weight in layer.weights:
            yield weight, stream(layer.number, *(() if weight.role == TRUNK else (weight.name,)))


def replace_weights(
    weights: Weights,
    layers: tuple[Layer, ...],
    stream: Stream,
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray],
) -> Weights:
    """Return the network with `draw(weight, generator)` for each weight of the layers.

    Bias, affine parameters and statistics stay in place.
    """
    drawn = {own.name: draw(weights[own.name], generator) for own, generator in with_streams(layers, stream)}
    return weights | drawn


def take_layers(weights: Weights, layers: tuple[Layer, ...], reference: Weights | None) -> Weights:
    """Return the network with all arrays of the layers, and what goes with them, from the reference.

    Raises ValueError where there is no reference, or one of another architecture.
    """
    if reference is None:
        raise ValueError("this treatment takes layers from another checkpoint, and none was given")
    treated = dict(weights)
    for name in (name for layer in layers for name in layer.tensors):
        if name not in reference or reference[name].shape != weights[name].shape:
            raise ValueError(
                f"'{name}' of shape {weights[name].shape} isn't in the checkpoint that layers are taken "
                "from: it must be of the same architecture"
            )
        treated[name] = reference[name].copy()
    return treated
