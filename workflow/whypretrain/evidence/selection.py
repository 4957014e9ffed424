"""Which learning rate an arm has: the one that validation prefers, averaged over seeds."""

import math


def preference(top1: float, loss: float, rate: float | None, criterion: str = "top1") -> tuple[float, float, float]:
    """Return what learning rates are ordered by, the best first: mean validation top-1, then loss, then the rate.

    With the criterion `loss` the loss comes first. Accuracies are counts of images: what differs by less than any count
    is a tie, and so is a loss but for rounding. Where there is no loss (an SVM) or no rate it counts as zero, so that
    any list can be sorted.
    """
    wrong, nats = -round(top1, 9), 0.0 if math.isnan(loss) else round(loss, 9)
    first, second = (nats, wrong) if criterion == "loss" else (wrong, nats)
    return first, second, 0.0 if rate is None or math.isnan(rate) else rate
