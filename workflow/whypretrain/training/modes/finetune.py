"""Fine-tuning: every layer learns, from the start's weights and under a new head."""

from whypretrain.training.runs import Outcome, Request
from whypretrain.training.supervised import train_above


def run(*requests: Request) -> list[Outcome]:
    """Train runs together and return what is read out of each."""
    return train_above(requests)
