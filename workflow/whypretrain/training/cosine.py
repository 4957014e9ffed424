"""How alike two sets of kernels are: the thesis's cosine, with its nulls (numpy only).

A kernel is one 2-D slice of a layer's weight (out, in, kh, kw); in a 1x1 layer, where a
slice is one number, it is the whole filter.
"""

import math
from dataclasses import asdict, dataclass, fields

import numpy as np

SMALL = 1e-6  # kernels with a norm below this share of the layer's median are left out


@dataclass(frozen=True)
class KernelCosine:
    """The distribution of signed cosines over a layer's kernels, and what chance would give.

    `cosine_null` and `cosine_abs_null` are the means of the cosine and of its absolute value
    with start and current kernels paired at random within the layer; `cosine_abs_gaussian` is what
    independent Gaussian kernels of that size would have.
    """

    cosine_mean: float
    cosine_abs_mean: float
    cosine_weighted_mean: float
    cosine_q05: float
    cosine_q25: float
    cosine_q50: float
    cosine_q75: float
    cosine_q95: float
    cosine_null: float
    cosine_abs_null: float
    cosine_abs_gaussian: float
    kernels: int
    kernels_excluded: int

    def columns(self) -> dict[str, float]:
        """Return the read-out as named columns."""
        return asdict(self)


def as_kernels(weight: np.ndarray) -> np.ndarray:
    """Reshape (out, in, kh, kw) to one kernel a row; 1x1 layers to one filter a row."""
    rows = weight.shape[0] if weight.shape[2:] == (1, 1) else weight.shape[0] * weight.shape[1]
    return weight.reshape(rows, -1).astype(np.float64)


def kernel_cosine(start: np.ndarray, current: np.ndarray, pairing: np.ndarray) -> KernelCosine:
    """Compare each kernel of `current` (out, in, kh, kw) with the one of `start` in its place.

    `pairing` is a permutation of the layer's kernels, for the null. All cosines are NaN
    where no kernel is left, or where the weights are not finite.
    """
    a, b = as_kernels(start), as_kernels(current)
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    kept = (norm_a > SMALL * np.median(norm_a)) & (norm_b > SMALL * np.median(norm_b))
    if not kept.any() or not np.isfinite(norm_b).all():
        undefined = {field.name: float("nan") for field in fields(KernelCosine) if field.type is float}
        return KernelCosine(**undefined, kernels=0, kernels_excluded=len(a))
    unit_a, unit_b = a[kept] / norm_a[kept, None], b[kept] / norm_b[kept, None]
    cosine = np.einsum("ij,ij->i", unit_a, unit_b)
    order = pairing[kept[pairing]]  # the permutation restricted to the kernels kept
    rank = np.cumsum(kept) - 1
    null = np.einsum("ij,ij->i", unit_a[rank[order]], unit_b)
    q05, q25, q50, q75, q95 = np.quantile(cosine, [0.05, 0.25, 0.5, 0.75, 0.95])
    return KernelCosine(
        cosine_mean=float(cosine.mean()),
        cosine_abs_mean=float(np.abs(cosine).mean()),
        cosine_weighted_mean=float(np.average(cosine, weights=norm_a[kept])),
        cosine_q05=float(q05),
        cosine_q25=float(q25),
        cosine_q50=float(q50),
        cosine_q75=float(q75),
        cosine_q95=float(q95),
        cosine_null=float(null.mean()),
        cosine_abs_null=float(np.abs(null).mean()),
        cosine_abs_gaussian=gaussian_abs_cosine(a.shape[1]),
        kernels=int(kept.sum()),
        kernels_excluded=int((~kept).sum()),
    )


def gaussian_abs_cosine(dimension: int) -> float:
    """Return E|cos| of two independent Gaussian vectors: Γ(d/2) / (√π Γ((d+1)/2)); 0.273 for 3x3."""
    return math.exp(math.lgamma(dimension / 2) - math.lgamma((dimension + 1) / 2)) / math.sqrt(math.pi)
