"""How alike two sets of kernels are: the thesis's cosine, with its nulls.

A kernel is one 2-D slice of a layer's weight (out, in, kh, kw); in a 1x1 layer, where a
slice is one number, it is the whole filter.
"""

import math
from collections.abc import Mapping

import numpy as np

from whypretrain.networks.card import Layer
from whypretrain.randomness import stream

SMALL = 1e-6  # kernels with a norm below this share of the layer's median are left out
QUANTILES = {"cosine_q05": 0.05, "cosine_q25": 0.25, "cosine_q50": 0.5, "cosine_q75": 0.75, "cosine_q95": 0.95}
MEANS = ("cosine_mean", "cosine_abs_mean", "cosine_weighted_mean")
NULLS = ("cosine_null", "cosine_abs_null", "cosine_abs_gaussian")


def as_kernels(weight: np.ndarray) -> np.ndarray:
    """Reshape (out, in, kh, kw) to one kernel a row; 1x1 layers to one filter a row."""
    rows = weight.shape[0] if weight.shape[2:] == (1, 1) else weight.shape[0] * weight.shape[1]
    return weight.reshape(rows, -1).astype(np.float64)


def kernel_cosine(start: np.ndarray, current: np.ndarray, pairing: np.ndarray) -> dict[str, float]:
    """Return the distribution of signed cosines of each kernel of `current` (out, in, kh, kw) with `start`'s, as a row.

    `cosine_weighted_mean` is weighted by the start's norms. Beside it is what chance would give: `cosine_null` and
    `cosine_abs_null` are the means of the cosine and of its absolute value with kernels paired by the permutation
    `pairing`, `cosine_abs_gaussian` is what independent Gaussian kernels of that size would have. All cosines are NaN
    where no kernel is left, or where the weights are not finite.
    """
    a, b = as_kernels(start), as_kernels(current)
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    kept = (norm_a > SMALL * np.median(norm_a)) & (norm_b > SMALL * np.median(norm_b))
    names = (*MEANS, *QUANTILES, *NULLS)
    if not kept.any() or not np.isfinite(norm_b).all():
        return dict.fromkeys(names, math.nan) | {"kernels": 0, "kernels_excluded": len(a)}
    unit_a, unit_b = a[kept] / norm_a[kept, None], b[kept] / norm_b[kept, None]
    cosine = np.einsum("ij,ij->i", unit_a, unit_b)
    order = pairing[kept[pairing]]  # the permutation restricted to the kernels kept
    rank = np.cumsum(kept) - 1
    null = np.einsum("ij,ij->i", unit_a[rank[order]], unit_b)
    means = cosine.mean(), np.abs(cosine).mean(), np.average(cosine, weights=norm_a[kept])
    nulls = null.mean(), np.abs(null).mean(), gaussian_abs_cosine(a.shape[1])
    found = map(float, (*means, *np.quantile(cosine, list(QUANTILES.values())), *nulls))
    counts = {"kernels": int(kept.sum()), "kernels_excluded": int((~kept).sum())}
    return dict(zip(names, found, strict=True)) | counts


def layer_cosine(
    layer: Layer, seed: int, start: Mapping[str, np.ndarray], current: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return `kernel_cosine` of a layer's trunk weight in two networks, with a seed's pairing."""
    a, b = start[layer.weight.name], current[layer.weight.name]
    return kernel_cosine(a, b, stream("null", seed, layer.number).permutation(len(as_kernels(b))))


def gaussian_abs_cosine(dimension: int) -> float:
    """Return E|cos| of two independent Gaussian vectors: Γ(d/2) / (√π Γ((d+1)/2)); 0.273 for 3x3."""
    return math.exp(math.lgamma(dimension / 2) - math.lgamma((dimension + 1) / 2)) / math.sqrt(math.pi)
