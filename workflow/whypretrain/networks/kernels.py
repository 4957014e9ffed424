"""The parts of a network's weights: layers, filters and 2-D slices.

A network's weights are a dict of float32 arrays. Layer L has `layer{L}.weight` of
shape (out, in, kh, kw), `layer{L}.bias` where there is no norm, and the norm's
`norm{L}.weight`, `.bias`, `.running_mean` and `.running_var`; all of them have the
output channels as their first axis. A filter is one `weight[o]`, a slice (a 2-D
kernel) one `weight[o, i]`.
"""

from collections.abc import Callable

import numpy as np

Weights = dict[str, np.ndarray]
Stream = Callable[[int], np.random.Generator]


def slices(weight: np.ndarray) -> np.ndarray:
    """Return the slices of a layer as rows, of shape (out * in, kh * kw)."""
    return weight.reshape(weight.shape[0] * weight.shape[1], -1)


def layer_names(weights: Weights, layer: int) -> tuple[str, ...]:
    """Return the names of all arrays of a layer and of the norm behind it."""
    return tuple(name for name in weights if name.startswith((f"layer{layer}.", f"norm{layer}.")))


def replace_weights(
    weights: Weights,
    layers: tuple[int, ...],
    stream: Stream,
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray],
) -> Weights:
    """Return the network with `draw(weight, generator)` as the weight of each of the layers.

    Bias, affine parameters and statistics stay in place.
    """
    treated = dict(weights)
    for layer in layers:
        name = f"layer{layer}.weight"
        treated[name] = draw(weights[name], stream(layer))
    return treated


def permute_filters(weights: Weights, layer: int, order: np.ndarray) -> Weights:
    """Return the network with filter `order[o]` of the layer, and all that goes with it, at place o."""
    return weights | {name: np.take(weights[name], order, axis=0) for name in layer_names(weights, layer)}


def reader_of(weights: Weights, layer: int) -> str:
    """Return the name of the weight whose inputs are the layer's channels: the next layer's, or the head's."""
    following = f"layer{layer + 1}.weight"
    return following if following in weights else "head.weight"


def permute_channels(weights: Weights, layer: int, order: np.ndarray) -> Weights:
    """Return the network with the layer's channels in another order, also in what reads them: the same function.

    The source `none` has no head; its last layer has no reader.
    """
    permuted, reader = permute_filters(weights, layer, order), reader_of(weights, layer)
    return permuted | {reader: np.take(weights[reader], order, axis=1)} if reader in weights else permuted


def take_layers(weights: Weights, layers: tuple[int, ...], reference: Weights | None) -> Weights:
    """Return the network with all arrays of the layers and their norms from the reference.

    Raises ValueError where there is no reference, or one of another architecture.
    """
    if reference is None:
        raise ValueError("this treatment takes layers from another checkpoint, and none was given")
    treated = dict(weights)
    for layer in layers:
        for name in layer_names(weights, layer):
            if name not in reference or reference[name].shape != weights[name].shape:
                raise ValueError(
                    f"'{name}' of shape {weights[name].shape} isn't in the checkpoint that layers are taken "
                    "from: it must be of the same architecture"
                )
            treated[name] = reference[name].copy()
    return treated
