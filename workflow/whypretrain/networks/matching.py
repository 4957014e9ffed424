"""Weight matching: the order of a network's channels that is most like another network's.

After Git Re-Basin (Ainsworth et al. 2023, algorithm 1), for plain chains: layer, norm, ReLU,
pooling, next layer, and a head behind the last one.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from whypretrain.networks.kernels import Weights, layer_names, permute_channels, reader_of

SWEEPS = 100
LEAST_GAIN = 1e-12  # of the sum of products; less is rounding


def match(a: Weights, b: Weights, layers: Sequence[int], stream: np.random.Generator) -> Weights:
    """Return b, which keeps its function, with the channels of the layers permuted to be most like a's.

    Both are of one architecture. Coordinate descent: layers are visited in an order that `stream` draws
    anew for each sweep, and each takes the order of channels that has the largest sum of products of a's
    and b's parameters, the other layers being as they are; it ends when a sweep moves nothing, or after
    100 sweeps, in an optimum that may be local. Statistics of norms follow but don't count. Raises
    ValueError where weights aren't finite.
    """
    wanted = {layer: _channels(a, layer) for layer in layers}
    matched = dict(b)
    for _ in range(SWEEPS):
        moved = False
        for layer in stream.permutation(list(layers)).tolist():
            likeness = wanted[layer] @ _channels(matched, layer).T
            _, order = linear_sum_assignment(likeness, maximize=True)
            if likeness[np.arange(len(order)), order].sum() > likeness.trace() + LEAST_GAIN:
                matched = permute_channels(matched, layer, order)
                moved = True
        if not moved:
            break
    return matched


def _channels(weights: Weights, layer: int) -> np.ndarray:
    """Return all parameters that move with each output channel of the layer, one channel a row."""
    names = (name for name in sorted(layer_names(weights, layer)) if ".running_" not in name)
    arrays = [weights[name] for name in names] + [np.moveaxis(weights[reader_of(weights, layer)], 1, 0)]
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1, dtype=np.float64)
