"""How far weights moved."""

import math

import numpy as np


def relative_l2(start: np.ndarray, final: np.ndarray) -> float:
    """Return ‖final - start‖ / ‖start‖ of two arrays of one shape; NaN where the start is all zero."""
    before = start.astype(np.float64)
    norm = float(np.linalg.norm(before))
    return float(np.linalg.norm(final - before)) / norm if norm else math.nan
