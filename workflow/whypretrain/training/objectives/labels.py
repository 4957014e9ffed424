"""The labels of the source's own task."""

from whypretrain.training.pretraining import branch as anneal
from whypretrain.training.pretraining import learn as pretrain

ANNEALED = True  # its checkpoints have annealed branches

__all__ = ["ANNEALED", "anneal", "pretrain"]
