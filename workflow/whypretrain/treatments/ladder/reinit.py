"""Take the layer from the source `none` of the same architecture and seed.

Keeps nothing of the source: weight, bias, affine parameters and statistics all come from the architecture's own
initialisation, independent of every source. With `freeze-N` it makes the arms of Yosinski et al., "How transferable are
features in deep neural networks?" (2014); of all layers it is training from scratch.

Every kind of weight is taken whole, with what goes with it: grouped, depthwise, 1x1, linear, attention and
patch-embedding ones.
"""

from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import Stream, Weights, take_layers

REFERENCE = "none"


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with its layers from the untrained one, the `reference`."""
    return take_layers(weights, layers, reference)
