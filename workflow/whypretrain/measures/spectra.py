"""The spectrum of a network's features: shares, main part and residual, effective rank (numpy only).

The main part is the first components of the singular value decomposition that reach 80 % of
the spectrum, the residual the rest (Deng et al. 2023).
"""

import numpy as np

SHARE = 0.8
ROUNDING = 1e-12  # by which a sum of shares may fall short

Parts = dict[str, np.ndarray]


def singular_values(features: np.ndarray, centred: bool) -> np.ndarray:
    """Return the min(n, d) singular values, largest first, of features (n, d), or of them less their mean."""
    values = features.astype(np.float64)
    return np.linalg.svd(values - values.mean(0) if centred else values, compute_uv=False)


def shares(values: np.ndarray, power: int) -> np.ndarray:
    """Return each singular value's share of their sum (power 1) or of their squares' (power 2).

    Shares sum to 1; they are NaN where all values are 0.
    """
    powers = values**power
    total = powers.sum()
    return powers / total if total else np.full_like(powers, np.nan)


def components_of_main(values: np.ndarray, power: int, share: float = SHARE) -> int:
    """Return how many of the first components reach the share; 0 where all singular values are 0.

    `values` come largest first.
    """
    reached = np.cumsum(shares(values, power)) >= share - ROUNDING
    return int(reached.argmax()) + 1 if reached.any() else 0


def effective_rank(values: np.ndarray) -> float:
    """Return exp(entropy of s / Σs) (Roy & Vetterli 2007), from 1 to the number of values; NaN where all are 0."""
    p = shares(values, 1)
    return float(np.exp(-np.sum(p * np.log(np.where(p == 0, 1, p)))))


def split(features_by_part: Parts) -> tuple[Parts, Parts]:
    """Return main and residual of the features (n, d) of every part, both of that shape; they sum to the features.

    The basis is that of the part `train`, which must be there: its first right singular vectors, uncentred,
    as many as reach 80 % of the sum of singular values.
    """
    _, values, directions = np.linalg.svd(features_by_part["train"].astype(np.float64), full_matrices=False)
    basis = directions[: components_of_main(values, 1)]
    main = {part: features @ basis.T @ basis for part, features in features_by_part.items()}
    return main, {part: features - main[part] for part, features in features_by_part.items()}
