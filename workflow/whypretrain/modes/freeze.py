"""Freezing: the first layers keep the start's weights and statistics, all others and a new head learn.

Yosinski et al. 2014 call it AnB. Statistics are fixed once they are re-estimated, before training.
"""

from whypretrain.learning.runs import Outcome, Request
from whypretrain.learning.supervised import train_above


def run(request: Request) -> Outcome:
    """Train one run above its frozen layers and return what is read out of it."""
    return train_above(request, request.mode.frozen)
