"""What each layer of a network answers to images, as CKA compares it."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from whypretrain.networks.models import Network


@torch.no_grad()
def layer_activations(network: Network, images: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield each layer's number, from the input on, and its activations (n, c, h, w) after ReLU and before pooling.

    All images go through at once, one layer at a time. The network is in evaluation mode until the
    iterator ends, and then again in the mode it was in. Activations must not be changed in place.
    """
    was_training = network.training
    network.eval()
    try:
        x = images
        for layer in network.layers:
            x = network.get_submodule(f"layer{layer.number}")(x)
            if layer.norm:
                x = network.get_submodule(f"norm{layer.number}")(x)
            x = functional.relu(x, inplace=True)
            yield layer.number, x
            if layer.pool:
                x = functional.max_pool2d(x, 2)
    finally:
        network.train(was_training)


def pooled_layers(network: Network, images: Tensor) -> Tensor:
    """Return the pooled features of every layer side by side, (n, sum of outputs), from the input on.

    Each layer's are what a probe on it takes: its outputs after pooling and ReLU, averaged over positions. The
    network stays in its mode.
    """
    pooled = []
    for layer in network.layers:
        images = network.outputs(images, layer.number, layer.number)
        pooled.append(images.mean((2, 3)))
    return torch.cat(pooled, dim=1)


def positions(activation: Tensor) -> np.ndarray:
    """Return activations (n, c, h, w) with each position of each image as a row: (n * h * w, c)."""
    return activation.permute(0, 2, 3, 1).flatten(0, 2).cpu().numpy()
