"""Fine-tuning: every layer learns, from the start's weights and under a new head."""

from whypretrain.learning.runs import Outcome, Request
from whypretrain.learning.supervised import train_above


def run(request: Request) -> Outcome:
    """Train one run and return what is read out of it."""
    return train_above(request, frozen=0)
