"""One number for each seed: what the arms on one side of a difference come to, along N or along the checkpoints."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from whypretrain.evidence.statistics import interval, slope

Values = dict[int, float]  # by seed
Curve = Mapping[float, Values]  # by place: a number of layers, or an epoch
K = TypeVar("K")
Array = NDArray[np.float64]

ROUNDING = 1e-9  # heights that differ by less are equal
REACHED = 0.9  # of the last value, at which a curve counts as having reached it


def table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table, in which a limit that is infinite, for want of seeds, is missing."""
    return pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)


def summary(found: Values) -> dict[str, float]:
    """Return mean, low, high (of the 95 % t-interval) and n of values."""
    estimate = interval([found[seed] for seed in sorted(found)])
    return {name: getattr(estimate, name) for name in ("mean", "low", "high", "n")}


def lines(several: Sequence[Values]) -> dict[int, Array]:
    """Return the values of each seed that all have, one after another."""
    seeds = sorted(set.intersection(*map(set, several))) if several else []
    return {seed: np.array([values[seed] for values in several], np.float64) for seed in seeds}


def common(curve: Mapping[K, Values]) -> dict[K, Values]:
    """Return values at the seeds alone that all have; nothing where that is no seed."""
    seeds = lines(list(curve.values()))
    return {place: {seed: found[seed] for seed in seeds} for place, found in curve.items()} if seeds else {}


def mean_of(arms: Sequence[Values]) -> Values:
    """Average values seed by seed; a seed that one lacks is left out."""
    return {seed: float(line.mean()) for seed, line in lines(arms).items()}


def paired(a: Values, b: Values) -> Values:
    """Return a - b by seed; a seed that one lacks is left out."""
    return {seed: float(x - y) for seed, (x, y) in lines([a, b]).items()}


def combined(of: Sequence[Values], minus: Sequence[Values]) -> Values:
    """Return the sum of the first values minus that of the second, seed by seed.

    Raises ValueError where two have other seeds.
    """
    seeds = {frozenset(values) for values in (*of, *minus)}
    if len(seeds) > 1:
        raise ValueError(f"the arms must have the same seeds, not {' and '.join(str(sorted(each)) for each in seeds)}")
    return {
        seed: float(sum(values[seed] for values in of) - sum(values[seed] for values in minus))
        for seed in next(iter(seeds))
    }


def _by_seed(curve: Curve, number: Callable[[Array], float]) -> Values:
    """Return a number of each seed's curve (places in order); NaN where a value isn't finite."""
    found = lines([curve[place] for place in sorted(curve)])
    return {seed: number(line) if np.isfinite(line).all() else float("nan") for seed, line in found.items()}


def slope_of(curve: Curve) -> Values:
    """Return each seed's least-squares slope of the values on the places."""
    return _by_seed(curve, lambda line: slope(sorted(curve), line))


def mean_height(places: Array, heights: Array) -> float:
    """Return the mean height of a line through points, along its length; a single point's own height."""
    length = places[-1] - places[0]
    return float(np.trapezoid(heights, places) / length) if length else float(heights[0])


def reached_at(places: Array, heights: Array, level: float) -> float:
    """Return where a line through points first has a height; its end if it never has, NaN if it isn't finite."""
    if not np.isfinite([*heights, level]).all():
        return float("nan")
    above = np.flatnonzero(heights >= level - ROUNDING)
    if not above.size:
        return float(places[-1])
    at = int(above[0])
    return float(np.interp(level, heights[at - 1 : at + 1], places[at - 1 : at + 1])) if at else float(places[0])


def width_near_top(places: Array, heights: Array, near: float) -> float:
    """Return how long a line through points is at most `near` below its highest point, all such stretches together."""
    level = heights.max() - near - ROUNDING
    low, high = np.sort([heights[:-1], heights[1:]], axis=0)
    share = np.where(high == low, low >= level, (high - level) / np.where(high == low, 1, high - low))
    return float((np.diff(places) * share.clip(0, 1)).sum())


def peak_place(validation: Curve) -> float:
    """Return the place with the highest validation value, averaged over seeds; the first of equals."""
    means = {place: round(float(np.mean(list(values.values()))), 9) for place, values in validation.items()}
    return min(means, key=lambda place: (-means[place], place))


def peak_position(validation: Curve) -> Values:
    """Return where each seed's own validation peak lies, counted from 0 among the places; the first of equals."""
    return _by_seed(validation, lambda line: float(np.argmax(line)))


def reach_position(curve: Curve) -> Values:
    """Return the first place, counted from 0, at which each seed's curve has nine tenths of its last value."""
    return _by_seed(curve, lambda line: float(np.argmax(line >= REACHED * line[-1])))


def correlation(a: Sequence[Values], b: Sequence[Values]) -> Values:
    """Return each seed's rank correlation (Spearman) of two sequences of values; NaN where undefined."""
    halves = {seed: np.split(line, 2) for seed, line in lines([*a, *b]).items()}
    return {seed: rank_correlation(*half) for seed, half in halves.items()}


def rank_correlation(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Return Spearman's rank correlation; NaN for fewer than three points, constant or missing values."""
    if len(a) < 3 or not np.isfinite([*a, *b]).all() or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    from scipy.stats import spearmanr  # whose import takes longer than all else of a job that correlates nothing

    return float(spearmanr(a, b).statistic)
