"""The labels of the source's own task."""

from whypretrain.learning.pretraining import branch as anneal
from whypretrain.learning.pretraining import learn as pretrain

ANNEALED = True  # its checkpoints have annealed branches

__all__ = ["ANNEALED", "anneal", "pretrain"]
