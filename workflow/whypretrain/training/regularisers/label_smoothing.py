"""Label smoothing (Szegedy et al. 2016): the target is (1 - strength) · label + strength / classes."""

from collections.abc import Mapping

from torch import Tensor

from whypretrain.training.regularising import Regulariser

STRENGTH = "the share of a label that is spread over all classes"
LIMIT = ("below", 1.0)


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the smoothing of the loss."""
    return Regulariser(smoothing=strength)
