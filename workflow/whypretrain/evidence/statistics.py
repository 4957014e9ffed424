"""Paired differences by seed: intervals, p values, Holm's levels and seed counts.

D is the array of differences between two arms, one for each seed, and m the margin
(at least 0) fixed before the runs. All tests are Student t tests on D.

A *level* is what a p value is compared with, for every kind of test: p < level where,
and only where, the interval at `confidence(kind, level)` lies beyond the bound of
the test. Superiority and non-inferiority have two-sided intervals at 1 - level, so their p
is twice the one-sided p (the false support rate is level/2); equivalence is two one-sided
tests with an interval at 1 - 2 level (Schuirmann 1987).
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, nct, t
from statsmodels.stats.multitest import multipletests

Kind = Literal["superiority", "non-inferiority", "equivalence", "trend"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FEWEST_SEEDS = 3  # no verdict with fewer: two differences say nearly nothing of their spread
MOST_SEEDS = 10_000  # where the search for a number of seeds ends
POWER = 0.9  # of the number of seeds that is asked for
ROUNDING = 1e-12  # relative; what differs by less is equal: rounding decides no verdict


@dataclass(frozen=True)
class Interval:
    """A mean of `n` differences with its t-interval and their standard deviation.

    With n < 2 the limits are infinite and `sd` is NaN; where a difference isn't finite,
    or there is none, `mean` is NaN as well.
    """

    mean: float
    low: float
    high: float
    n: int
    sd: float


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> NDArray[np.float64]:
    """Return a - b by seed, in the order of the seeds.

    Raises ValueError, with the seeds, where one of the two lacks a seed of the other.
    """
    gaps = [
        f"{arm} lacks {', '.join(str(seed) for seed in sorted(missing))}"
        for arm, missing in (("the first", b.keys() - a.keys()), ("the second", a.keys() - b.keys()))
        if missing
    ]
    if gaps:
        raise ValueError(f"the two arms must have the same seeds: {'; '.join(gaps)}")
    return np.array([a[seed] - b[seed] for seed in sorted(a)], dtype=np.float64)


def slope(x: ArrayLike, y: ArrayLike) -> float:
    """Return the least-squares slope of y on x: one seed's dose-response.

    Raises ValueError for lengths that differ or fewer than two different doses.
    """
    doses, responses = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if doses.ndim != 1 or doses.shape != responses.shape:
        raise ValueError(f"a slope needs one response for each dose, not {responses.shape} for {doses.shape}")
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
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, not {confidence}")
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
    half = float(t.isf((1 - confidence) / 2, n - 1) * sd / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n, sd)


def confidence(kind: Kind, level: float) -> float:
    """Return the confidence of the interval that decides a test at `level` (below 0.5)."""
    return 1 - (2 if kind == "equivalence" else 1) * level


def p_value(differences: ArrayLike, kind: Kind, margin: float) -> float:
    """Return the p value of a test, comparable with a level (see the module).

    The null is mean <= 0 for superiority and trend, mean <= -m for non-inferiority, and
    |mean| >= m for equivalence. With n < 2 or a difference that isn't finite, p is 1.
    """
    observed = interval(differences)
    if not np.isfinite(observed.sd):
        return 1.0
    n, sd = observed.n, observed.sd
    if kind == "equivalence":
        return max(_one_sided(value, -margin, sd, n) for value in (observed.mean, -observed.mean))
    bound = -margin if kind == "non-inferiority" else 0.0
    return min(1.0, 2 * _one_sided(observed.mean, bound, sd, n))


def not_worse_than_best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each of k candidates the p value against the claim that it is as good as the best of the others.

    `scores` (k, n) are paired by seed, higher is better. For each candidate one-sided paired t-tests against every
    other, the smallest p times k - 1 (Bonferroni): Hsu's multiple comparisons with the best (Hsu 1984; Edwards and
    Hsu 1983), without his assumption of one variance. At level a those with p > a hold every true best with probability
    1 - a. Raises ValueError for fewer than two candidates.
    """
    k = len(scores)
    if k < 2:
        raise ValueError(f"a comparison with the best needs two candidates or more, not {k}")
    p = np.ones(k)
    for i, j in itertools.permutations(range(k), 2):
        behind = interval(scores[j] - scores[i])
        if np.isfinite(behind.sd):
            p[i] = min(p[i], (k - 1) * _one_sided(behind.mean, 0, behind.sd, behind.n))
    return np.minimum(p, 1.0)


def repeated_splits(scores: ArrayLike, ratio: float, confidence: float = 0.95) -> Interval:
    """Return the t-interval of the mean over repeated random splits of one set of images.

    Splits share images, so their scores aren't independent: the variance of the mean is that of Nadeau and Bengio
    (2003), (1/n + ratio) times the variance over splits, where `ratio` is test images per image that is learnt from.
    """
    plain = interval(scores, confidence)
    wider = float(np.sqrt(1 + plain.n * ratio))
    low, high = (plain.mean + (limit - plain.mean) * wider for limit in (plain.low, plain.high))
    return replace(plain, low=low, high=high)


def _one_sided(mean: float, bound: float, sd: float, n: int) -> float:
    """Return the p value against a true mean of at most `bound`."""
    if sd == 0:
        return 0.0 if beyond(mean, bound) else 1.0
    return float(t.sf((mean - bound) / (sd / np.sqrt(n)), n - 1))


def holm(p: ArrayLike, alpha: float = 0.05) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each test's level and its adjusted p value (Holm 1979).

    The j-th smallest of k p values has the level alpha / (k - j + 1), as long as every smaller
    one was rejected. From the first that isn't, all have the level of that step, since Holm
    goes no further: so p <= level says the same as adjusted p <= alpha, and an interval at
    its level never excludes a null that Holm keeps. Equal p values have equal levels.
    """
    values = np.asarray(p, np.float64)
    if values.size == 0:
        return values, values
    remaining = (values[None, :] >= values[:, None]).sum(axis=1)
    kept = remaining[values > alpha / remaining]
    levels = alpha / np.maximum(remaining, kept.max(initial=0))
    return levels, multipletests(values, alpha, method="holm")[1]


def sd_upper_limit(sd: float, n: int, confidence: float = 0.8) -> float:
    """Return the one-sided upper confidence limit of an SD observed in n differences.

    Planning with it instead of the SD itself guards against a lucky pilot (Browne 1995).
    """
    return float(sd * np.sqrt((n - 1) / chi2.isf(confidence, n - 1)))


def power(n: int, kind: Kind, effect: float, sd: float, margin: float, level: float = 0.05) -> float:
    """Return the chance that n seeds reject the null of a test, at a true mean and SD of D.

    For equivalence it is the lower bound P(first rejects) + P(second rejects) - 1, which is
    exact but for the case in which both fail.
    """
    if kind == "equivalence":
        sides = [_power(n, margin - shift, sd, level) for shift in (effect, -effect)]
        return max(0.0, sum(sides) - 1)
    return _power(n, effect + margin if kind == "non-inferiority" else effect, sd, level / 2)


def _power(n: int, distance: float, sd: float, tail: float) -> float:
    """Return the power of a one-sided t test, by the noncentral t distribution."""
    if sd == 0:
        return float(distance > 0)
    shift = np.clip(distance * np.sqrt(n) / sd, -1e3, 1e3)  # where scipy's values were checked
    return float(nct.sf(t.isf(tail, n - 1), n - 1, shift))


def seeds_needed(
    kind: Kind, effect: float, sd: float, margin: float, level: float = 0.05, target: float = POWER
) -> int | None:
    """Return the fewest seeds with the power `target`, or None for more than MOST_SEEDS.

    `effect` is the true mean of D to be detected.
    """

    def enough(n: int) -> bool:
        return power(n, kind, effect, sd, margin, level) >= target

    if not enough(MOST_SEEDS):
        return None
    low, high = FEWEST_SEEDS - 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
