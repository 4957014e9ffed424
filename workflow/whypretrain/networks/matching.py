"""Weight matching: the order of a network's channels that is most like another network's.

After Git Re-Basin (Ainsworth et al. 2023, algorithm 1), on the channels that torch-pruning finds to go together.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from whypretrain.networks.couplings import Coupling
from whypretrain.networks.kernels import Weights

SWEEPS = 100
LEAST_GAIN = 1e-12  # of the sum of products; less is rounding


def match(a: Weights, b: Weights, couplings: Sequence[Coupling], stream: np.random.Generator) -> Weights:
    """Return b, which keeps its function, with its channels permuted to be most like a's.

    Both are of one architecture. Coordinate descent: couplings are visited in an order that `stream` draws
    anew for each sweep, and each takes the order of channels that has the largest sum of products of a's
    and b's parameters, the others being as they are; it ends when a sweep moves nothing, or after
    100 sweeps, in an optimum that may be local. Channels in groups stay where they are. Statistics of norms follow but
    don't count. Raises ValueError where weights aren't finite.
    """
    free = [coupling for coupling in couplings if coupling.groups == 1]
    wanted = [_channels(a, coupling) for coupling in free]
    matched = dict(b)
    for _ in range(SWEEPS):
        moved = False
        for number in stream.permutation(len(free)).tolist():
            likeness = wanted[number] @ _channels(matched, free[number]).T
            _, order = linear_sum_assignment(likeness, maximize=True)
            if likeness[np.arange(len(order)), order].sum() > likeness.trace() + LEAST_GAIN:
                matched = free[number].permuted(matched, order)
                moved = True
        if not moved:
            break
    return matched


def _channels(weights: Weights, coupling: Coupling) -> np.ndarray:
    """Return all parameters that move with each channel, one channel a row."""
    rows = []
    for part in coupling.parts:
        if ".running_" in part.name or part.name not in weights:
            continue
        array = np.moveaxis(weights[part.name], part.axis, 0).reshape(weights[part.name].shape[part.axis], -1)
        rows += [array[places] for places in part.places]
    return np.concatenate(rows, axis=1, dtype=np.float64)
