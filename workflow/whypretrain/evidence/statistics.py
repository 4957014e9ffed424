"""Paired differences by seed: intervals, p values, Holm's levels and seed counts.

D is the array of differences between two arms, one for each seed, and m the margin (at least 0) fixed before the runs.
Tests are Student t tests on D, or sign-flip tests (`one_sample` says when).

A *level* is what a p value is compared with, for every kind of test: p <= level where, and only where, the interval
with `tail(kind, level)` on each side lies beyond the bound of the test. Superiority and non-inferiority have two-sided
intervals at 1 - level, so their p is twice the one-sided p; equivalence is two one-sided tests with an interval at 1 -
2 level (Schuirmann 1987).
"""

import bisect
import itertools
import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, nctdtr, stdtr, stdtrit

Kind = Literal["superiority", "non-inferiority", "equivalence", "trend"]
FEWEST_SEEDS = 3  # no verdict with fewer: two differences say nearly nothing of their spread
MOST_SEEDS = 10_000  # where the search for a number of seeds ends
POWER = 0.9  # of the number of seeds that is asked for
ROUNDING = 1e-12  # relative; what differs by less is equal: rounding decides no verdict
EXACT = 20  # seeds up to which all flips of signs are counted
RANDOM_FLIPS = 100_000  # beyond
FLIP_SEED = 20190704  # of their stream: the same data have the same p


@dataclass(frozen=True)
class Interval:
    """A mean of `n` differences with its t-interval and their standard deviation.

    With n < 2 the limits are infinite and `sd` is NaN; where a difference isn't finite, or there is none, so is `mean`.
    """

    mean: float
    low: float
    high: float
    n: int
    sd: float


def slope(x: ArrayLike, y: ArrayLike) -> float:
    """Return the least-squares slope of y on x: one seed's dose-response. Raises ValueError for a single dose."""
    doses, responses = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if np.unique(doses).size < 2:
        raise ValueError("a slope needs at least two different doses")
    centred = doses - doses.mean()
    return float(centred @ (responses - responses.mean()) / (centred @ centred))


def beyond(value: float, bound: float) -> bool:
    """Say whether `value` exceeds `bound` by more than rounding."""
    return value > bound and value - bound > ROUNDING * max(abs(value), abs(bound))


def interval(differences: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the two-sided t-interval of the mean of D.

    Differences that are equal to rounding have SD 0 and the interval [mean, mean].
    """
    values = np.asarray(differences, np.float64)
    n = values.size
    if n == 0 or not np.isfinite(values).all():
        return Interval(np.nan, -np.inf, np.inf, n, np.nan)
    mean = float(values.mean())
    if n < 2:
        return Interval(mean, -np.inf, np.inf, n, np.nan)
    sd = float(values.std(ddof=1))
    if sd <= ROUNDING * np.abs(values).max():
        return Interval(mean, mean, mean, n, 0.0)
    half = float(-stdtrit(n - 1, (1 - confidence) / 2) * sd / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n, sd)


def tail(kind: Kind, level: float) -> float:
    """Return the chance of error on each side of the interval that decides a test at `level`."""
    return level if kind == "equivalence" else level / 2


def confidence(kind: Kind, level: float) -> float:
    """Return the confidence of the interval that decides a test at `level` (below 0.5)."""
    return 1 - 2 * tail(kind, level)


@dataclass(frozen=True)
class StudentT:
    """The t test of a mean: one-sided p values and limits."""

    mean: float
    error: float  # standard error of the mean
    n: int

    def p_above(self, bound: float) -> float:
        """Return the p value against a true mean of at most `bound`."""
        return float(stdtr(self.n - 1, (bound - self.mean) / self.error))

    def p_below(self, bound: float) -> float:
        """Return the p value against a true mean of at least `bound`."""
        return float(stdtr(self.n - 1, (self.mean - bound) / self.error))

    def low(self, tail: float) -> float:
        """Return the largest bound, with that chance of error, that the true mean isn't below."""
        return float(self.mean + stdtrit(self.n - 1, tail) * self.error)

    def high(self, tail: float) -> float:
        """Return the least bound, with that chance of error, that the true mean isn't above."""
        return float(self.mean - stdtrit(self.n - 1, tail) * self.error)


@dataclass(frozen=True, eq=False)
class SignFlips:
    """The sign-flip test of a mean: exact where D is symmetric about it, whatever ties it has.

    Flipping the signs of some D - b makes the sum no smaller where, and only where, the mean of these D is at most b.
    So p values count means of subsets, and the limits, by inversion of the test, are such means (Hartigan 1969); they
    are infinite below the number of seeds at which the test can reach its level. Without `means` it says nothing.
    """

    means: NDArray[np.float64]  # of all subsets of D but the empty one, or of random ones; in order
    rounding: float = 0.0  # what differs by less is equal

    def p_above(self, bound: float) -> float:
        """Return the p value against a true mean of at most `bound`."""
        return (1 + int(np.searchsorted(self.means, bound + self.rounding, "right"))) / (1 + self.means.size)

    def p_below(self, bound: float) -> float:
        """Return the p value against a true mean of at least `bound`."""
        return 1 - int(np.searchsorted(self.means, bound - self.rounding)) / (1 + self.means.size)

    def low(self, tail: float) -> float:
        """Return the largest bound, with that chance of error, that the true mean isn't below."""
        place = self._place(tail)
        return float(self.means[place - 1]) if place else -math.inf

    def high(self, tail: float) -> float:
        """Return the least bound, with that chance of error, that the true mean isn't above."""
        place = self._place(tail)
        return float(self.means[-place]) if place else math.inf

    def _place(self, tail: float) -> int:
        return math.floor(tail * (1 + self.means.size) + 1e-9)


def tied(differences: ArrayLike) -> bool:
    """Say whether half of the differences, or more, are 0 or as large as another one, whatever their signs.

    That is a rule on the sizes alone, so that no choice of test can favour a sign.
    """
    sizes = np.sort(np.abs(np.asarray(differences, np.float64)))
    if not sizes.size:
        return False
    near = np.diff(sizes) <= 1e-9 * sizes[-1]
    alike = np.append(near, False) | np.append(False, near) | (sizes <= 1e-9 * sizes[-1])
    return bool(2 * alike.sum() >= sizes.size)


def one_sample(differences: ArrayLike, counts: bool = False) -> StudentT | SignFlips:
    """Return the test of the mean of D: by flips of signs for `counts` and where D is `tied`, else Student's t.

    Fewer than two differences, one that isn't finite, and differences that are all 0, say nothing. The last is so where
    two arms are one, or where the measure is too coarse to tell them apart; neither is evidence that they are alike.
    """
    values = np.asarray(differences, np.float64)
    n, scale = values.size, np.abs(values).max(initial=0)
    if n < 2 or not ROUNDING < scale < np.inf:
        return SignFlips(np.empty(0))
    if not (counts or tied(values)):
        return StudentT(float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)), n)
    rounding = float(1e-9 * scale)
    means = _sums_of_subsets(values) / _sizes(n)
    means[np.abs(means) <= rounding] = 0
    return SignFlips(np.sort(means), rounding)


def _sums_of_subsets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of all subsets but the empty one; of more than EXACT values, of random ones."""
    if values.size > EXACT:
        return _random_subsets(values.size) @ values
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums[1:]


@cache
def _sizes(n: int) -> NDArray[np.float64]:
    return np.maximum(_sums_of_subsets(np.ones(n)), 1)  # a random one may be empty


@cache
def _random_subsets(n: int) -> NDArray[np.float64]:
    return np.random.default_rng([FLIP_SEED, n]).integers(0, 2, (RANDOM_FLIPS, n)).astype(np.float64)


def fewest_flips(tail: float) -> int:
    """Return the fewest differences of which the sign-flip test can reach a chance of error of `tail`."""
    return math.ceil(-math.log2(tail) - 1e-9)


def p_of(test: StudentT | SignFlips, kind: Kind, margin: float) -> float:
    """Return the p value of a kind of test, comparable with a level (see the module), from the test of the mean.

    The null is mean <= 0 for superiority and trend, mean <= -m for non-inferiority, and |mean| >= m for equivalence.
    """
    if kind == "equivalence":
        return max(test.p_above(-margin), test.p_below(margin))
    return min(1.0, 2 * test.p_above(-margin if kind == "non-inferiority" else 0.0))


def not_worse_than_best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each of k candidates the p value against the claim that it is as good as the best of the others.

    `scores` (k, n) are paired by seed, higher is better. For each candidate one-sided paired tests against every other,
    the smallest p times k - 1 (Bonferroni): Hsu's multiple comparisons with the best (Hsu 1984; Edwards and Hsu 1983),
    without his assumption of one variance. At level a those with p > a hold every true best with probability 1 - a.
    """
    k = len(scores)
    p = np.ones(k)
    for i, j in itertools.permutations(range(k), 2):
        p[i] = min(p[i], (k - 1) * one_sample(scores[j] - scores[i]).p_above(0))
    return np.minimum(p, 1.0)


def repeated_splits(scores: ArrayLike, ratio: float) -> Interval:
    """Return the 95 % t-interval of the mean over repeated random splits of one set of images.

    Splits share images, so their scores aren't independent: the variance of the mean is that of Nadeau and Bengio
    (2003), (1/n + ratio) times the variance over splits, where `ratio` is test images per image that is learnt from.
    """
    plain = interval(scores)
    wider = float(np.sqrt(1 + plain.n * ratio))
    low, high = (plain.mean + (limit - plain.mean) * wider for limit in (plain.low, plain.high))
    return replace(plain, low=low, high=high)


def holm(p: ArrayLike, alpha: float = 0.05) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each test's level and its adjusted p value (Holm 1979).

    The j-th smallest of k p values has the level alpha / (k - j + 1), as long as every smaller one was rejected. From
    the first that isn't, all have the level of that step: so p <= level says the same as adjusted p <= alpha. Equal p
    values have equal levels.
    """
    values = np.asarray(p, np.float64)
    if values.size == 0:
        return values, values
    remaining = (values[None, :] >= values[:, None]).sum(axis=1)
    kept = remaining[values > alpha / remaining]
    levels = alpha / np.maximum(remaining, kept.max(initial=0))
    order = np.argsort(values)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(np.minimum(1, (remaining * values)[order]))
    return levels, adjusted


def sd_upper_limit(sd: float, n: int, confidence: float = 0.8) -> float:
    """Return the one-sided upper confidence limit of an SD observed in n differences, to plan with (Browne 1995)."""
    return float(sd * np.sqrt((n - 1) / chdtri(n - 1, confidence)))


def power(n: int, kind: Kind, effect: float, sd: float, margin: float, level: float = 0.05) -> float:
    """Return the chance that n seeds reject the null of a test, at a true mean and SD of D.

    For equivalence it is the lower bound P(first rejects) + P(second rejects) - 1: exact unless both can fail at once.
    """
    distances = {"equivalence": (margin - effect, margin + effect), "non-inferiority": (effect + margin,)}
    sides = [_power(n, distance, sd, tail(kind, level)) for distance in distances.get(kind, (effect,))]
    return max(0.0, sum(sides) - (len(sides) - 1))


def _power(n: int, distance: float, sd: float, tail: float) -> float:
    """Return the power of a one-sided t test, by the noncentral t distribution."""
    if sd == 0:
        return float(distance > 0)
    found = 1 - nctdtr(n - 1, distance * np.sqrt(n) / sd, -stdtrit(n - 1, tail))
    return float(distance > 0) if np.isnan(found) else float(found)  # far out it has no value, where power is 0 or 1


def seeds_needed(kind: Kind, effect: float, sd: float, margin: float, level: float = 0.05) -> int | None:
    """Return the fewest seeds that detect a true mean of `effect` with POWER, or None for more than MOST_SEEDS."""

    def enough(n: int) -> bool:
        return power(n, kind, effect, sd, margin, level) >= POWER

    if not enough(MOST_SEEDS):
        return None
    return FEWEST_SEEDS + bisect.bisect_left(range(FEWEST_SEEDS, MOST_SEEDS), True, key=enough)
