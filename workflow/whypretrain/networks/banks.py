"""A bank of kernels: the slices of several trained networks of one architecture, layer by layer, without order.

A bank is a dict of arrays `layer{L}` of shape (n, k, k), the slices of layer L of all its
networks. Which filter, input channel and, within a layer, which network a slice was of is
lost on purpose: Atanov et al., "The Deep Weight Prior" (2019), whose prior is a distribution
of single slices.
"""

from collections.abc import Sequence

import numpy as np

from whypretrain.networks.kernels import Weights


def without_dead(kernels: np.ndarray, share: float) -> np.ndarray:
    """Return the kernels (n, k, k) whose norm is at least `share` of the largest norm among them, in their order.

    1x1 kernels are all kept: a scalar near zero is a value like another, no kernel without a shape.

    The paper prunes "kernels with norm almost equal to zero" without a number. Its published banks end
    sharply, that of 7x7 kernels (9 % of all that its 100 networks have) at 0.15 of the largest norm, that of
    5x5 at 0.23 (of the part that is published). The largest norm is the measure since it stays what it is
    where most kernels are dead, as they are there; a median wouldn't.
    """
    if kernels.shape[-1] == 1:
        return kernels
    norms = np.sqrt((kernels.astype(np.float64) ** 2).sum(axis=(1, 2)))
    return kernels[norms >= share * norms.max()]


def layer_kernels(weights: Weights) -> Weights:
    """Return the slices of each layer of a network, as a bank of this network alone has them."""
    found: Weights = {}
    while (name := f"layer{len(found) + 1}.weight") in weights:
        found[f"layer{len(found) + 1}"] = weights[name].reshape(-1, *weights[name].shape[2:])
    return found


def pool_kernels(networks: Sequence[Weights], share: float) -> Weights:
    """Return the bank of one or more networks: for each layer its slices, network after network.

    Dead kernels are dropped from each layer of each network by itself (`without_dead`). Raises
    ValueError where the networks aren't of one architecture.
    """
    split = [layer_kernels(weights) for weights in networks]
    shapes = [{layer: kernels.shape[1:] for layer, kernels in one.items()} for one in split]
    if any(other != shapes[0] for other in shapes):
        raise ValueError("the networks of a bank must be of one architecture: the same layers with the same kernels")
    return {layer: np.concatenate([without_dead(one[layer], share) for one in split]) for layer in split[0]}


def of_all_layers(bank: Weights | None, size: tuple[int, ...]) -> np.ndarray:
    """Return a bank's kernels of one size (kh, kw) from all its layers, layer 1 first, of shape (n, kh, kw).

    Raises ValueError where there is no bank or no such kernel.
    """
    layers = sorted(_given(bank).items(), key=lambda item: int(item[0].removeprefix("layer")))
    found = [kernels for _, kernels in layers if kernels.shape[1:] == size]
    if not found:
        raise ValueError(f"the bank has no kernels of {size[0]}x{size[1]}")
    return np.concatenate(found)


def of_layer(bank: Weights | None, layer: int, size: tuple[int, ...]) -> np.ndarray:
    """Return a bank's kernels (n, kh, kw) of one layer.

    Raises ValueError where there is no bank, or its layer has kernels of another size than (kh, kw).
    """
    found = _given(bank).get(f"layer{layer}")
    if found is None or found.shape[1:] != size:
        raise ValueError(f"the bank has no kernels of {size[0]}x{size[1]} of layer {layer}")
    return found


def _given(bank: Weights | None) -> Weights:
    if bank is None:
        raise ValueError("this treatment draws kernels from a bank, and none was given")
    return bank
