"""Two networks of one architecture, layer by layer: weights and activations."""

import torch

from whypretrain.learning.data import Columns, append
from whypretrain.learning.models import Network, weights_of
from whypretrain.randomness import stream
from whypretrain.readouts.activations import layer_activations, rows
from whypretrain.readouts.cka import linear_cka
from whypretrain.readouts.distance import relative_l2
from whypretrain.readouts.similarity import as_kernels, kernel_cosine

MOST_IMAGES = 500  # whose activations are compared, at all positions


def compare_layers(first: Network, second: Network, images: torch.Tensor, seed: int) -> Columns:
    """Return a row for each layer: relative L2 and mean kernel cosine of the weights, debiased linear CKA.

    CKA is of the activations (positions of all images as rows) in evaluation mode; NaN where it is undefined, as for
    a layer that answers nothing.
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
            "cka": linear_cka(rows(here), rows(there)),
        }
        append(columns, row)
    return columns
