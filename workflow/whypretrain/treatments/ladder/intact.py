"""Leave the checkpoint as it is: the control.

Every kind of weight is left as it is: grouped, depthwise, 1x1, linear, attention and patch-embedding ones.
"""

from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import Stream, Weights

REFERENCE: str | None = None


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the same network."""
    return dict(weights)
