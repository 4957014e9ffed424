"""What each layer takes, reconstructed from what it gives, layer after layer; no labels."""

from whypretrain.autoencoding import pretrain

ANNEALED = False  # each layer ends at rate zero, so there are no branches

__all__ = ["ANNEALED", "pretrain"]
