"""Permute a layer's output channels, and undo it in what follows.

Filters, bias, affine parameters and running statistics move as in `shuffle-filters`, and so do the inputs of all that
reads them, and of the head behind the last layer. Keeps the function of the network, with logits equal to rounding: a
negative control. A span of layer L so changes the input order of the layer behind it too. Channels that are added, as
in a residual stage, go together and are permuted once, those of grouped convolutions within their groups. Which go
together is found by torch-pruning; a network for which it can't be found, or whose logits move, is refused.
"""

import numpy as np

from whypretrain.networks.card import Card, Layer
from whypretrain.networks.kernels import Stream, Weights

REFERENCE = "card"
SIZE = 64  # of the images on which channels are found to go together, where the network takes it


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Card) -> Weights:
    """Return the network of a card, the `reference`, with the channels of each layer in another order.

    Raises ValueError where it can't be found which channels go together, and where the logits move.
    """
    from whypretrain.networks.couplings import check_kept, couplings
    from whypretrain.networks.initialisation import head_of, initialise_head

    card = reference
    size = card.size if card.fixed else max(card.least, min(card.size or SIZE, SIZE))
    whole = weights | (head_of(card, weights) or initialise_head(card, 2, np.random.default_rng(0)))
    treated = whole
    for coupling in couplings(card, size):
        own = [layer for layer in layers if layer.weight.name in coupling.weights]
        if own:  # once for all layers whose channels go together
            treated = coupling.permuted(treated, coupling.order(stream(own[0].number)))
    check_kept(card, whole, treated, size)
    return {name: treated[name] for name in weights}
