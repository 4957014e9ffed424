"""Two networks of one architecture, layer by layer: weights and activations."""

from collections.abc import Callable

import numpy as np
import torch

from whypretrain.measures.cka import linear_cka
from whypretrain.measures.distance import relative_l2
from whypretrain.networks.activations import layer_activations, positions
from whypretrain.networks.models import Network, weights_of
from whypretrain.randomness import stream
from whypretrain.training.cosine import as_kernels, kernel_cosine
from whypretrain.training.data import Columns, append

MOST_IMAGES = 500  # whose activations are compared
ROWS: dict[str, Callable[[torch.Tensor], np.ndarray]] = {
    "cka": lambda activation: activation.flatten(1).cpu().numpy(),
    "cka_positions": positions,
    "cka_pooled": lambda activation: activation.mean((2, 3)).cpu().numpy(),
}  # how activations (n, c, h, w) become rows of features


def compare_layers(first: Network, second: Network, images: torch.Tensor, seed: int) -> Columns:
    """Return a row for each layer: relative L2 and mean kernel cosine of the weights, debiased linear CKA.

    CKA is of the activations in evaluation mode, with images as rows and all channels and positions as features, as
    Kornblith et al. (2019), Nguyen et al. (2021) and Neyshabur et al. (2020) compare networks. Beside it stand
    two others, which may say something else: with each position of each image as a row, blind to where in an image
    something is told, and of the channels' means. NaN where it is undefined, as for a layer that answers nothing.
    """
    columns: Columns = {}
    a, b = weights_of(first), weights_of(second)
    activations = zip(layer_activations(first, images), layer_activations(second, images), strict=True)
    for (layer, here), (_, there) in activations:
        name = f"layer{layer}.weight"
        pairing = stream("null", seed, layer).permutation(len(as_kernels(a[name])))
        row = {
            "layer": layer,
            "relative_l2": relative_l2(a[name], b[name]),
            "cosine_mean": kernel_cosine(a[name], b[name], pairing).cosine_mean,
            **{name: linear_cka(as_rows(here), as_rows(there)) for name, as_rows in ROWS.items()},
        }
        append(columns, row)
    return columns
