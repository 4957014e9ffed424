"""The loss barrier on the line between two networks."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from whypretrain.networks.network import Network, Weights, reestimate_statistics
from whypretrain.training.loop import evaluate


class Barrier(NamedTuple):
    """The largest rise of the loss (nats) over the chord between the ends, and where: 0 at `a`, 1 at `b`.

    The ends count, so that the height is never negative; it is then 0 at position 0.
    """

    height: float
    position: float


def barrier(
    network: Network,
    a: Weights,
    b: Weights,
    images: Tensor,
    labels: Tensor,
    statistics_images: Tensor | None = None,
    points: int = 11,
) -> Barrier:
    """Return the barrier of the cross-entropy of images (n, c, h, w) with labels (n,) between weights a and b.

    It is sought at equally spaced points of the line, on which all arrays lie, head and running statistics too; with
    `statistics_images` the norms' statistics are re-estimated on those at every point. NaN where a loss isn't finite.
    The network's own weights are overwritten.
    """
    along = np.arange(points) / (points - 1)
    losses = []
    for position in along:
        network.load(interpolate(a, b, position))
        if statistics_images is not None:
            reestimate_statistics(network, statistics_images)
        losses.append(evaluate(network, images, labels).loss)
    # both exact at the ends and between equal networks, so that nothing but a rise is above 0
    rise = np.array(losses) - np.linspace(losses[0], losses[-1], points)
    highest = int(rise.argmax())
    return Barrier(float(rise[highest]), float(along[highest]))


def interpolate(a: Weights, b: Weights, position: float) -> Weights:
    """Return the weights at a position of the line from a (0) to b (1); exactly a where both are equal."""
    return {
        name: (array + position * (b[name] - array.astype(np.float64))).astype(array.dtype) for name, array in a.items()
    }
