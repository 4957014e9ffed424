"""Freezing: the first layers keep the start's weights and statistics, all others and a new head learn.

Yosinski et al. 2014 call it AnB. Statistics are fixed once they are re-estimated, before training.
"""

from whypretrain.training.runs import Outcome, Request
from whypretrain.training.supervised import train_above


def run(*requests: Request) -> list[Outcome]:
    """Train runs together above their frozen layers and return what is read out of each."""
    return train_above(requests)
