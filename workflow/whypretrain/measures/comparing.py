"""Two networks of one architecture, layer by layer: weights and activations."""

from collections.abc import Callable

import numpy as np
import torch

from whypretrain.measures.cka import linear_cka
from whypretrain.measures.distance import relative_l2
from whypretrain.networks.network import Network, activations
from whypretrain.randomness import stream
from whypretrain.training.cosine import as_kernels, kernel_cosine
from whypretrain.training.data import Columns, append

MOST_IMAGES = 500  # whose activations are compared
ROWS: dict[str, Callable[[torch.Tensor], np.ndarray]] = {
    "cka": lambda activation: activation.flatten(1).cpu().numpy(),
    "cka_positions": lambda activation: positions(activation).cpu().numpy(),
    "cka_pooled": lambda activation: activation.mean(axes_of(activation)).cpu().numpy(),
}  # how activations (n, c, h, w), or tokens (n, t, c), become rows of features


def axes_of(activation: torch.Tensor) -> tuple[int, ...]:
    """Return the axes of positions."""
    return (1,) if activation.ndim == 3 else tuple(range(2, activation.ndim))


def positions(activation: torch.Tensor) -> torch.Tensor:
    """Return activations with each position of each image as a row: (n * h * w, c)."""
    last = activation if activation.ndim < 4 else activation.permute(0, 2, 3, 1)
    return last.flatten(0, -2)


def compare_layers(first: Network, second: Network, images: torch.Tensor, seed: int) -> Columns:
    """Return a row for each layer: relative L2 and mean kernel cosine of the weights, debiased linear CKA.

    CKA is of the activations in evaluation mode, with images as rows and all channels and positions as features, as
    Kornblith et al. (2019), Nguyen et al. (2021) and Neyshabur et al. (2020) compare networks. Beside it stand
    two others, which may say something else: with each position of each image as a row, blind to where in an image
    something is told, and of the channels' means. NaN where it is undefined, as for a layer that answers nothing.
    """
    columns: Columns = {}
    a, b = first.weights(), second.weights()
    layers = first.card.layers[: first.layer]
    read = first.traced(images).activations
    places = [read[layer.number] for layer in layers]
    both = zip(layers, activations(first, images, places), activations(second, images, places), strict=True)
    for layer, here, there in both:
        name = layer.weight.name
        pairing = stream("null", seed, layer.number).permutation(len(as_kernels(a[name])))
        row = {
            "layer": layer.number,
            "relative_l2": relative_l2(a[name], b[name]),
            "cosine_mean": kernel_cosine(a[name], b[name], pairing).cosine_mean,
            **{name: linear_cka(as_rows(here), as_rows(there)) for name, as_rows in ROWS.items()},
        }
        append(columns, row)
    return columns
