"""What tests of networks share: cards of small plain convnets, and their activations layer by layer."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from whypretrain.networks.architecture import card_of
from whypretrain.networks.card import Card
from whypretrain.networks.convnet import Parameters
from whypretrain.networks.network import Network, activations


def plain(name: str = "tiny", **parameters: Any) -> Card:
    """Return the card of a plain convnet, as jobs have it."""
    return card_of(name, Parameters(**parameters))


def plain_of(weights: Mapping[str, np.ndarray]) -> Card:
    """Return the card of the plain convnet that has such weights."""
    shapes = [array.shape for name, array in weights.items() if name.startswith("layer") and array.ndim > 1]
    norm = "batch" if any(name.startswith("norm") for name in weights) else "none"
    widths, kernels = [shape[0] for shape in shapes], [shape[2] for shape in shapes]
    return plain(widths=widths, kernels=kernels, channels=shapes[0][1], norm=norm)


def layer_activations(network: Network, images: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield each layer's number and its activations, after the nonlinearity and before pooling."""
    places, layers = network.traced(images).activations, network.card.layers[: network.layer]
    found = activations(network, images, [places[layer.number] for layer in layers])
    yield from ((layer.number, each) for layer, each in zip(layers, found, strict=True))
