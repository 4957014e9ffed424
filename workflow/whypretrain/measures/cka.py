"""How alike two layers answer the same images: debiased linear CKA (numpy only)."""

import math

import numpy as np

FEWEST = 4  # rows below which the unbiased estimate is undefined
ROUNDING = 1e-12  # share of the squared variance below which an HSIC is nothing but rounding


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Return the debiased linear CKA of features a (n, p) and b (n, q), whose rows belong together.

    The index is Kornblith et al. 2019's, each HSIC in it estimated without bias (Song et al. 2012, eq. 5, as Nguyen et
    al. 2021 use it), from centred features, without a matrix of n x n where rows are many. At most 1, near 0 by chance,
    and negative values are kept. NaN where a side is constant, isn't finite, or has no HSIC with itself. Raises
    ValueError for fewer than four rows, and where the sides have different numbers of them.
    """
    if len(a) != len(b):
        raise ValueError(f"CKA compares rows that belong together, but one side has {len(a)} and the other {len(b)}")
    if len(a) < FEWEST:
        raise ValueError(f"CKA without bias needs at least {FEWEST} rows, and there are {len(a)}")
    if (a == a[0]).all() or (b == b[0]).all():  # centring leaves rounding, not zeros
        return math.nan
    x, y = _centred(a), _centred(b)
    squares_x, squares_y = _squares(x), _squares(y)
    return _hsic(x, y, squares_x, squares_y) / math.sqrt(_own_hsic(x, squares_x) * _own_hsic(y, squares_y))


def _centred(features: np.ndarray) -> np.ndarray:
    values = features.astype(np.float64)
    values -= np.ones(len(values)) @ values / len(values)  # several times faster than mean
    return values


def _squares(features: np.ndarray) -> np.ndarray:
    """Return each row's squared norm, the diagonal of the Gram matrix."""
    return np.einsum("ij,ij->i", features, features)


def _hsic(x: np.ndarray, y: np.ndarray, squares_x: np.ndarray, squares_y: np.ndarray) -> float:
    """Return n(n - 3) times the unbiased HSIC of centred features.

    Rows of a centred Gram matrix sum to 0, so with its diagonal d set to 0 they sum to -d,
    and Song's three terms become sums over features and over d.
    """
    n = len(x)
    alike = np.vdot(x @ x.T, y @ y.T) if n < min(x.shape[1], y.shape[1]) else np.linalg.norm(x.T @ y) ** 2
    diagonal = squares_x @ squares_y * n / (n - 2)
    total = squares_x.sum() * squares_y.sum() / ((n - 1) * (n - 2))
    return float(alike - diagonal + total)


def _own_hsic(x: np.ndarray, squares: np.ndarray) -> float:
    """Return the HSIC of features with themselves; NaN where it is 0 but for rounding."""
    value = _hsic(x, x, squares, squares)
    return value if value > ROUNDING * squares.sum() ** 2 else math.nan
