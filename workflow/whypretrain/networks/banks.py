"""A bank of kernels: the slices of several trained networks of one architecture, layer by layer, without order.

A bank is a dict of arrays of shape (n, kh, kw) by the names of weights: the slices of that weight of all its networks.
Which filter, input channel and network a slice was of is lost on purpose: Atanov et al., "The Deep Weight Prior"
(2019), whose prior is a distribution of single slices.
"""

import re
from collections.abc import Sequence

import numpy as np

from whypretrain.networks.card import Card, Weight
from whypretrain.networks.kernels import Weights


def without_dead(kernels: np.ndarray, share: float) -> np.ndarray:
    """Return the kernels (n, k, k) whose norm is at least `share` of the largest norm among them, in their order.

    1x1 kernels, and those of linear layers, are all kept: a scalar near zero is a value like another. The paper prunes
    "kernels with norm almost equal to zero" without a number; its published banks end sharply, that of 7x7 kernels at
    0.15 of the largest norm, that of 5x5 at 0.23. A median would be near zero where most kernels are dead.
    """
    if kernels.ndim == 1 or kernels.shape[-1] == 1:
        return kernels
    norms = np.sqrt((kernels.astype(np.float64) ** 2).sum(axis=(1, 2)))
    return kernels[norms >= share * norms.max()]


def layer_kernels(weights: Weights, card: Card) -> Weights:
    """Return the slices of each weight of a network, as a bank of this network alone has them."""
    names = (weight.name for layer in card.layers for weight in layer.weights)
    return {name: weights[name].reshape(-1, *weights[name].shape[2:]) for name in names}


def pool_kernels(networks: Sequence[Weights], card: Card, share: float) -> Weights:
    """Return the bank of one or more networks of an architecture: for each weight its slices, network after network.

    Dead kernels are dropped from each weight of each network by itself. Raises ValueError where the networks aren't of
    this architecture.
    """
    wanted = {weight.name: weight.shape for layer in card.layers for weight in layer.weights}
    if any(weights[name].shape != shape for weights in networks for name, shape in wanted.items()):
        raise ValueError("the networks of a bank must be of one architecture: the same layers with the same kernels")
    split = [layer_kernels(weights, card) for weights in networks]
    return {name: np.concatenate([without_dead(one[name], share) for one in split]) for name in split[0]}


def of_all_weights(bank: Weights | None, size: tuple[int, ...]) -> np.ndarray:
    """Return a bank's kernels of one size (kh, kw) from all its weights, in the order of their names' layers.

    Raises ValueError where there is no bank or no such kernel.
    """
    found = [kernels for _, kernels in sorted(_given(bank).items(), key=_place) if kernels.shape[1:] == size]
    if not found:
        raise ValueError(f"the bank has no kernels of {'x'.join(map(str, size)) or 'one number'}")
    return np.concatenate(found)


def _place(item: tuple[str, np.ndarray]) -> list[tuple[int, str]]:
    """Return a name in parts, its numbers as such, so that layer 2 comes before layer 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", item[0])]


def of_weight(bank: Weights | None, weight: Weight) -> np.ndarray:
    """Return a bank's kernels (n, kh, kw) of one weight.

    Raises ValueError where there is no bank, or the weight has kernels of another size there.
    """
    found = _given(bank).get(weight.name)
    if found is None or found.shape[1:] != weight.kernel:
        raise ValueError(f"the bank has no kernels of {'x'.join(map(str, weight.kernel))} of {weight.name}")
    return found


def _given(bank: Weights | None) -> Weights:
    if bank is None:
        raise ValueError("this treatment draws kernels from a bank, and none was given")
    return bank
