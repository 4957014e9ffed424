"""One number for each seed: what the arms on one side of a difference come to, along N or along the checkpoints."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from whypretrain.evidence.statistics import slope

Values = dict[int, float]  # by seed
Curve = Mapping[float, Values]  # by place: a number of layers, or an epoch

ROUNDING = 1e-9  # heights that differ by less are equal
REACHED = 0.9  # of the last value, at which a curve counts as having reached it


def common(several: Sequence[Values]) -> list[Values]:
    """Return values at the seeds alone that all have."""
    seeds = set.intersection(*(set(values) for values in several)) if several else set()
    return [{seed: value for seed, value in values.items() if seed in seeds} for values in several]


def mean_of(arms: Sequence[Values]) -> Values:
    """Average values seed by seed; a seed that one lacks is left out."""
    seeds = set.intersection(*(set(values) for values in arms))
    return {seed: float(np.mean([values[seed] for values in arms])) for seed in seeds}


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


def _by_seed(curve: Curve, number: Callable[[np.ndarray], float]) -> Values:
    """Return a number of each seed's curve (places in order); NaN where a value isn't finite."""
    places = sorted(curve)
    seeds = set.intersection(*(set(curve[place]) for place in places))
    lines = {seed: np.array([curve[place][seed] for place in places]) for seed in sorted(seeds)}
    return {seed: number(line) if np.isfinite(line).all() else float("nan") for seed, line in lines.items()}


def slope_of(curve: Curve, along: Callable[[float], float]) -> Values:
    """Return each seed's least-squares slope of the values on `along(place)`."""
    places = [along(place) for place in sorted(curve)]
    return _by_seed(curve, lambda line: slope(places, line))


def mean_height(places: np.ndarray, heights: np.ndarray) -> float:
    """Return the mean height of a line through points, along its length; a single point's own height."""
    length = places[-1] - places[0]
    return float(np.trapezoid(heights, places) / length) if length else float(heights[0])


def reached_at(places: np.ndarray, heights: np.ndarray, level: float) -> float:
    """Return where a line through points first has a height; its end if it never has, NaN if it isn't finite."""
    if not np.isfinite([*heights, level]).all():
        return float("nan")
    above = np.flatnonzero(heights >= level - ROUNDING)
    if not above.size:
        return float(places[-1])
    at = int(above[0])
    return float(np.interp(level, heights[at - 1 : at + 1], places[at - 1 : at + 1])) if at else float(places[0])


def width_near_top(places: np.ndarray, heights: np.ndarray, near: float) -> float:
    """Return how long a line through points is at most `near` below its highest point, all such stretches together."""
    level, width = float(heights.max()) - near - ROUNDING, 0.0
    for (a, b), (low, high) in zip(
        itertools.pairwise(places), (sorted(pair) for pair in itertools.pairwise(heights)), strict=True
    ):
        share = float(low >= level) if high == low else (high - level) / (high - low)
        width += float(b - a) * min(max(share, 0.0), 1.0)
    return width


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


def correlation(curve: Curve, other: Curve) -> Values:
    """Return each seed's rank correlation (Spearman) of two curves over their common places; NaN where undefined."""
    places = sorted(set(curve) & set(other))
    joined = {place: curve[place] for place in places}
    found = {}
    for seed in sorted(set.intersection(*(set(values) for values in (*joined.values(), *other.values())))):
        here, there = ([line[place][seed] for place in places] for line in (curve, other))
        found[seed] = rank_correlation(here, there)
    return found


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's rank correlation; NaN for fewer than three points, constant or missing values."""
    if len(a) < 3 or not np.isfinite([*a, *b]).all() or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    from scipy.stats import spearmanr  # whose import takes longer than all else of a job that correlates nothing

    return float(spearmanr(a, b).statistic)
