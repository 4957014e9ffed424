"""Two networks of one architecture, layer by layer: weights and activations."""

import math
from collections.abc import Callable

import numpy as np
import torch

from whypretrain.measures.cka import linear_cka
from whypretrain.networks.network import Network, activations
from whypretrain.training.cosine import layer_cosine
from whypretrain.training.data import Rows

MOST_IMAGES = 500  # whose activations are compared
ROWS: dict[str, Callable[[torch.Tensor], np.ndarray]] = {
    "cka": lambda activation: activation.flatten(1).cpu().numpy(),
    "cka_positions": lambda activation: positions(activation).cpu().numpy(),
    "cka_pooled": lambda activation: (
        activation.mean(1 if activation.ndim == 3 else tuple(range(2, activation.ndim))).cpu().numpy()
    ),
}  # how activations (n, c, h, w), or tokens (n, t, c), become rows of features


def positions(activation: torch.Tensor) -> torch.Tensor:
    """Return activations with each position of each image as a row: (n * h * w, c)."""
    last = activation if activation.ndim < 4 else activation.permute(0, 2, 3, 1)
    return last.flatten(0, -2)


def relative_l2(start: np.ndarray, final: np.ndarray) -> float:
    """Return ‖final - start‖ / ‖start‖ of two arrays of one shape; NaN where the start is all zero."""
    before = start.astype(np.float64)
    norm = float(np.linalg.norm(before))
    return float(np.linalg.norm(final - before)) / norm if norm else math.nan


def compare_layers(first: Network, second: Network, images: torch.Tensor, seed: int) -> Rows:
    """Yield a row for each layer: relative L2 and mean kernel cosine of the weights, debiased linear CKA.

    CKA is of the activations in evaluation mode, with images as rows and all channels and positions as features, as
    Kornblith et al. (2019), Nguyen et al. (2021) and Neyshabur et al. (2020) compare networks. Beside it stand two
    others: with each position of each image as a row, and of the channels' means. NaN where it is undefined.
    """
    a, b, layers = first.weights(), second.weights(), first.card.layers[: first.layer]
    read = first.traced(images).activations
    both = (activations(network, images, [read[layer.number] for layer in layers]) for network in (first, second))
    for layer, here, there in zip(layers, *both, strict=True):
        name = layer.weight.name
        yield {
            "layer": layer.number,
            "relative_l2": relative_l2(a[name], b[name]),
            "cosine_mean": layer_cosine(layer, seed, a, b)["cosine_mean"],
            **{name: linear_cka(as_rows(here), as_rows(there)) for name, as_rows in ROWS.items()},
        }
