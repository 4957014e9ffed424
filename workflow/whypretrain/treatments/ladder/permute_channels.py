"""Permute a layer's output channels, and undo it in what follows.

Filters, bias, affine parameters and running statistics move as in `shuffle-filters`, by
the same permutation, and so do the inputs of the next layer, or of the head behind the
last one. Keeps the function of a plain chain (layer, norm, ReLU, pooling, next layer),
with logits equal to rounding: a negative control. A span of layer L so changes the
input order of layer L + 1 too.
"""

from whypretrain.networks.kernels import Stream, Weights, permute_channels

REFERENCE: str | None = None


def treat(weights: Weights, layers: tuple[int, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with the channels of each layer in another order, and the same function."""
    for layer in layers:
        order = stream(layer).permutation(len(weights[f"layer{layer}.weight"]))
        weights = permute_channels(weights, layer, order)
    return dict(weights)
