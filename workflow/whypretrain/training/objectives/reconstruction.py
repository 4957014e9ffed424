"""What each layer takes, reconstructed from what it gives, layer after layer; no labels."""

from whypretrain.training.autoencoding import pretrain

ALONE = True  # one source at a time
ANNEALED = False  # each layer ends at rate zero, so there are no branches
UNBRANCHED = "its layers learn one after another, each annealed in itself"

__all__ = ["ANNEALED", "UNBRANCHED", "pretrain"]
