"""Fill a layer with slices of the same layer of other networks, from a bank of kernels, as they are.

A random selection without replacement where the bank has enough of them: of a bank of one network, from which no dead
kernel was dropped, it is that network's layer with its kernels shuffled. Where there are fewer, the bank is taken as
often as needed, so that no slice is drawn more often than that. Keeps nothing of the layer: the scale too is the
bank's. Bias, affine parameters and statistics stay in place.

Atanov et al., "The Deep Weight Prior" (2019), in their code the initialisation `filters`: a random permutation of a
layer's bank, the first of it put into the layer, not scaled. Their network for colour images takes each bank ten times,
whether or not it needs to.

Grouped, depthwise, 1x1, linear, attention and patch-embedding weights are filled with slices of the same weight.
"""

from whypretrain.networks.banks import of_weight
from whypretrain.networks.card import Layer
from whypretrain.networks.kernels import Stream, Weights, with_streams

REFERENCE = "bank"


def treat(weights: Weights, layers: tuple[Layer, ...], stream: Stream, reference: Weights | None) -> Weights:
    """Return the network with slices of the same layer of the bank, the `reference`, in each layer."""
    treated = dict(weights)
    for own, generator in with_streams(layers, stream):
        weight, pool = weights[own.name], of_weight(reference, own)
        needed = weight.shape[0] * weight.shape[1]
        often = -(-needed // len(pool))
        chosen = generator.permutation(often * len(pool))[:needed] % len(pool)
        treated[own.name] = pool[chosen].astype(weight.dtype).reshape(weight.shape)
    return treated
