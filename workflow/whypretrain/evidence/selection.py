"""Which learning rate an arm has: the one that validation prefers, averaged over seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

Rate = TypeVar("Rate", float, float | None)


def preference(top1: float, loss: float, rate: float | None) -> tuple[float, float, float]:
    """Return what learning rates are ordered by, the best first: mean validation top-1, then loss, then the rate.

    Accuracies are counts of images: what differs by less than any count is a tie, and so is a loss but for rounding.
    Where there is no loss (an SVM) or no rate it counts as zero, so that any list can be sorted.
    """
    return (
        -round(top1, 9),
        0.0 if math.isnan(loss) else round(loss, 9),
        0.0 if rate is None or math.isnan(rate) else rate,
    )


def best_rate(scores: Mapping[Rate, Sequence[tuple[float, float]]]) -> Rate:
    """Return the selected rate from (validation top-1, validation loss) of all seeds at each rate."""
    means = {rate: np.mean(values, axis=0).tolist() for rate, values in scores.items()}
    return min(means, key=lambda rate: preference(means[rate][0], means[rate][1], rate))
