"""Take the layer from the source's own epoch 0.

Keeps the source's initialisation, that is what the layer was before it learnt: weight, bias, affine parameters and
statistics all come from there. Cf. weight rewinding in Frankle et al., "Linear Mode Connectivity and the Lottery Ticket
Hypothesis" (2020), there for pruned networks; re-initialisation of single layers in Zhang et al., "Are All Layers
Created Equal?" (2019).

Every kind of weight is taken whole, with what goes with it: grouped, depthwise, 1x1, linear, attention and
patch-embedding ones.
"""

from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import Stream, Weights, take_layers

REFERENCE = "epoch-0"


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with its layers as they were at epoch 0, the `reference`."""
    return take_layers(weights, layers, reference)
