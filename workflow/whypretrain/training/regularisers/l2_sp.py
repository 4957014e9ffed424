"""L2-SP: adds strength / 2 · Σ (w - w⁰)² to the loss, over the weights copied from the start w⁰ (Li et al. 2018).

The start is as treatments leave it; for an untrained one it is the initialisation. The head, which has no start, keeps
the recipe's weight decay alone: the paper's second term. In the paper the pull stands for weight decay on copied
layers; here it is added to the recipe's, so that strength 0 is no regulariser and an arm differs from its control by
the pull alone. With the recipe's `weight_decay` 0 the copied layers are penalised as in the paper.
"""

from collections.abc import Mapping

from torch import Tensor

from whypretrain.training.regularising import Regulariser, pulling

STRENGTH = "the factor of half the squared distance to the start's weights"


def regularise(strength: float, start: Mapping[str, Tensor]) -> Regulariser:
    """Return the hook that adds strength · (w - w⁰) to the gradients of all weights that the start has."""
    return pulling(strength, lambda name, weight: weight - start[name] if name in start else None)
