"""Statistics against scipy, statsmodels, textbook formulas and simulation; the rules of verdicts."""

import itertools
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from whypretrain.evidence import statistics as s
from whypretrain.evidence.verdict import ClaimEvidence, Component, judge

KINDS = get_args(s.Kind)
RNG = np.random.default_rng(20190704)
A = RNG.normal(0.81, 0.010, 12)
B = RNG.normal(0.80, 0.012, 12)

number = st.floats(-10, 10).map(lambda value: round(value, 6))
differences = st.lists(number, min_size=3, max_size=12)
margins = st.floats(0, 5).map(lambda value: round(value, 6))
kinds = st.sampled_from(KINDS)


def spread(mean: float, sd: float, n: int) -> np.ndarray:
    """Return n differences of exactly this mean and SD, without ties."""
    values = np.linspace(0, 1, n) ** 1.5
    return mean + sd * (values - values.mean()) / values.std(ddof=1)


def p_value(values, kind, margin):
    return s.p_of(s.one_sample(values), kind, margin)


def one(values, kind="superiority", margin=0.0, *, alpha=0.05, **evidence):
    """Return the verdict of a family of one claim of one component."""
    return judge([claim("c", values, kind, margin, **evidence)], alpha)[0]


def claim(name, values, kind="superiority", margin=0.0, *, sensitivity=None, **component):
    return ClaimEvidence(
        name, [Component(name, np.asarray(values), kind, margin, **component)], sensitivity=sensitivity
    )


# Intervals


def test_interval_by_hand():
    # mean 3, SD sqrt(2.5), t(0.975, 4) = 2.776: 3 ± 2.776 · 0.7071
    found = s.interval([1, 2, 3, 4, 5])
    assert (found.mean, found.n) == (3, 5)
    assert found.sd == pytest.approx(math.sqrt(2.5))
    assert (found.low, found.high) == pytest.approx((1.0368, 4.9632), abs=1e-4)


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.999])
def test_interval_is_that_of_scipys_paired_t_test(confidence):
    found = s.interval(A - B, confidence)
    expected = stats.ttest_rel(A, B).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_interval_without_information_is_unbounded():
    single = s.interval([0.3])
    assert (single.mean, single.low, single.high, single.n) == (0.3, -math.inf, math.inf, 1)
    for values in ([], [0.1, math.nan, 0.2], [0.1, math.inf, 0.2]):
        found = s.interval(values)
        assert math.isnan(found.mean)
        assert (found.low, found.high, found.n) == (-math.inf, math.inf, len(values))


def test_differences_equal_to_rounding_have_no_spread():
    values = np.array([0.9, 0.8, 0.7, 0.6]) - np.array([0.88, 0.78, 0.68, 0.58])
    assert values.std() > 0  # the case is a real one: rounding alone
    found = s.interval(values)
    assert found.sd == 0
    assert found.low == found.mean == found.high


@settings(deadline=None)
@given(differences, number, st.floats(0.1, 10))
def test_interval_moves_and_stretches_with_the_differences(values, shift, scale):
    before = s.interval(values)
    assume(before.sd > 1e-6)
    after = s.interval(scale * np.array(values) + shift)
    expected = [scale * limit + shift for limit in (before.mean, before.low, before.high)]
    assert [after.mean, after.low, after.high] == pytest.approx(expected, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(differences, st.floats(0.01, 0.98), st.floats(0.001, 0.01))
def test_more_confidence_is_a_wider_interval(values, confidence, more):
    narrow, wide = s.interval(values, confidence), s.interval(values, confidence + more)
    assume(narrow.sd > 0)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_interval_covers_the_true_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(0.3, 2.0, (4000, 5))
    covered = np.mean([found.low < 0.3 < found.high for found in (s.interval(d, 0.9) for d in draws)])
    assert covered == pytest.approx(0.9, abs=0.015)


# p values


def test_superiority_p_is_scipys_two_sided_p_where_the_mean_is_positive():
    expected = stats.ttest_rel(A, B)
    assert expected.statistic > 0
    assert p_value(A - B, "superiority", 0.5) == pytest.approx(expected.pvalue)
    assert p_value(A - B, "trend", 0.5) == pytest.approx(expected.pvalue)
    assert p_value(B - A, "superiority", 0.5) == 1


def test_non_inferiority_p_is_scipys_against_minus_the_margin():
    expected = stats.ttest_1samp(B - A, -0.02, alternative="greater").pvalue
    assert p_value(B - A, "non-inferiority", 0.02) == pytest.approx(2 * expected)


@pytest.mark.parametrize("margin", [0.002, 0.01, 0.03])
def test_equivalence_p_is_that_of_statsmodels(margin):
    assert p_value(A - B, "equivalence", margin) == pytest.approx(ttost_paired(A, B, -margin, margin)[0])


@settings(deadline=None)
@given(differences, st.booleans(), kinds, margins, st.floats(0.001, 0.3))
def test_p_and_interval_say_the_same_at_every_level(values, counts, kind, margin, level):
    test = s.one_sample(values, counts)
    p = s.p_of(test, kind, margin)
    assume(abs(p - level) > 1e-6)
    assume(isinstance(test, s.SignFlips) or test.error > 1e-6)
    low, high = test.low(s.tail(kind, level)), test.high(s.tail(kind, level))
    bound = 0 if kind in ("superiority", "trend") else -margin
    beyond = s.beyond(low, bound) and (kind != "equivalence" or s.beyond(margin, high))
    assert (p < level) == beyond


# Flips of signs


@settings(deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=9), st.integers(-2, 2))
def test_flips_count_every_choice_of_signs(values, bound):
    """By definition: the share of all flips of D - b whose sum is no smaller than the observed one."""
    assume(any(values))
    shifted = np.array(values) - bound
    flips = np.array(list(itertools.product((-1, 1), repeat=len(values)))) @ shifted
    test = s.one_sample(values, counts=True)
    assert test.p_above(bound) == pytest.approx(np.mean(flips >= shifted.sum()))
    assert test.p_below(bound) == pytest.approx(np.mean(flips <= shifted.sum()))


def test_flips_of_few_are_scipys_permutation_test():
    expected = stats.permutation_test(
        (np.round(A - B, 2),), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="greater"
    )
    assert s.one_sample(np.round(A - B, 2), counts=True).p_above(0) == pytest.approx(expected.pvalue)


def test_beyond_twenty_flips_are_random_and_the_same_each_time():
    values = np.random.default_rng(1).integers(-2, 4, 24)
    found = s.one_sample(values, counts=True)
    assert found.means.size == s.RANDOM_FLIPS
    assert s.one_sample(values, counts=True).p_above(0) == found.p_above(0)
    # all 2 ** 24, counted by their sums
    ways = np.array([1.0])
    for value in values:
        ways = np.convolve(ways, np.eye(1, 2 * abs(value) + 1, 0)[0] + np.eye(1, 2 * abs(value) + 1, 2 * abs(value))[0])
    sums = np.arange(len(ways)) - np.abs(values).sum()
    exact = ways[sums >= values.sum()].sum() / ways.sum()
    assert found.p_above(0) == pytest.approx(exact, abs=4 * math.sqrt(exact / s.RANDOM_FLIPS))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], False),
        ([0.1, 0.1, 0.3, 0.4], True),
        ([0.1, -0.1, 0.3, 0.4], True),  # sizes, whatever their signs
        ([0.1, 0.1, 0.3, 0.4, 0.5], False),  # fewer than half
        ([0.0, 0.1, 0.2], False),
        ([0.0, 0.0, 0.2], True),
        (np.array([0.9, 0.8, 0.71]) - np.array([0.88, 0.78, 0.7]), True),  # but for rounding
        ([], False),
    ],
)
def test_ties_are_what_half_of_the_differences_have(values, expected):
    assert s.tied(values) == expected
    assert s.tied(-np.asarray(values)) == expected


def test_below_the_n_that_flips_can_reach_their_level_nothing_is_decided():
    five, six = (one([2, 3, 2, 4, 3, 2][:n], counts=True) for n in (5, 6))
    assert (five.verdict, five.reason) == (
        "inconclusive",
        "too few seeds: n = 5, at least 6 needed for a sign-flip test",
    )
    assert (five.low, five.high) == (-math.inf, math.inf)
    assert six.verdict == "supported"
    assert six.p == 2 / 2**6
    assert s.fewest_flips(0.025) == 6
    assert s.fewest_flips(0.05 / 2 / 15) == 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_difference_that_is_0_for_every_seed_is_no_evidence(kind):
    for margin in (0.0, 0.1):
        found = one([0.0] * 12, kind, margin)
        assert (found.verdict, found.p) == ("inconclusive", 1)
        assert found.reason == "no evidence: the difference is 0 for each of 12 seeds"
        assert (found.low, found.high) == (-math.inf, math.inf)
    also = ClaimEvidence(
        "c", [Component("0", np.zeros(12), kind, 0.1), Component("no", spread(-1, 0.1, 12), kind, 0.1)]
    )
    assert judge([also])[0].verdict == "contradicted"


def test_one_value_for_every_seed_is_as_sure_as_its_number_of_signs():
    assert one([0.1] * 5).verdict == one([-0.1] * 5, margin=0.05).verdict == "inconclusive"
    assert p_value([0.1] * 8, "superiority", 0) == 2 / 2**8
    assert one([0.1] * 8).verdict == "supported"
    assert one([-0.1] * 8, margin=0.05).verdict == "contradicted"
    assert p_value([-0.1] * 8, "superiority", 0) == 1


# Holm


p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(deadline=None, max_examples=40)
@given(p_values, st.floats(0.01, 0.4))
def test_levels_agree_with_the_adjusted_p_values_of_statsmodels(p, alpha):
    levels, adjusted = s.holm(p, alpha)
    rejected, expected = multipletests(p, alpha, method="holm")[:2]
    assert (np.array(p) <= levels).tolist() == rejected.tolist()
    assert adjusted == pytest.approx(expected)


@settings(deadline=None)
@given(p_values)
def test_holms_levels_are_monotone_and_depend_on_p_alone(p):
    levels, _ = s.holm(p)
    assert (np.diff(levels[np.argsort(p)]) >= 0).all()
    assert s.holm(p[::-1])[0].tolist() == levels[::-1].tolist()
    assert levels.min() == pytest.approx(0.05 / len(p))
    assert levels.max() <= 0.05


def test_levels_by_hand():
    assert s.holm([0.02, 0.001, 0.04])[0] == pytest.approx([0.025, 0.05 / 3, 0.05])
    # the second step (0.03 > 0.025) stops Holm: the third keeps its level
    assert s.holm([0.03, 0.001, 0.04])[0] == pytest.approx([0.025, 0.05 / 3, 0.025])
    assert s.holm([0.01, 0.01])[0] == pytest.approx([0.025, 0.025])
    assert s.holm([])[0].size == 0


# Seeds needed


@pytest.mark.parametrize("level", [0.05, 0.01])
@pytest.mark.parametrize("effect", [0.3, 0.8, 2.0])
def test_seeds_needed_are_those_of_statsmodels(effect, level):
    solved = TTestPower().solve_power(effect, alpha=level / 2, power=0.9, alternative="larger")
    assert s.seeds_needed("superiority", effect, 1.0, 0.0, level) == math.ceil(solved)
    assert s.seeds_needed("trend", effect, 1.0, 0.0, level) == math.ceil(solved)
    # a true mean of -0.4 with a margin of 0.4 + effect lies as far from its bound
    assert s.seeds_needed("non-inferiority", -0.4, 1.0, 0.4 + effect, level) == math.ceil(solved)


def test_seeds_needed_for_equivalence_are_near_the_normal_formula():
    # (1.645 + 1.645)² · (1 / 0.5)² = 43.3 (LITERATURE, section 9), and t needs one or two more
    assert s.seeds_needed("equivalence", 0.0, 1.0, 0.5) in (45, 46)


@pytest.mark.parametrize(("kind", "effect"), [("superiority", 0.6), ("equivalence", 0.1)])
def test_seeds_needed_reach_their_power_in_simulation(kind, effect):
    n = s.seeds_needed(kind, effect, 1.0, 0.7)
    draws = np.random.default_rng(2).normal(effect, 1.0, (3000, n))
    rejected = np.mean([p_value(d, kind, 0.7) < 0.05 for d in draws])
    assert 0.88 < rejected < 0.93


@settings(deadline=None)
@given(kinds, st.floats(0.01, 5), st.floats(1, 3), st.floats(0.1, 1))
def test_more_spread_needs_more_seeds(kind, sd, factor, margin):
    fewer, more = (
        s.seeds_needed(kind, 0.0 if kind == "equivalence" else margin / 2, spread, margin) or math.inf
        for spread in (sd, factor * sd)
    )
    assert s.FEWEST_SEEDS <= fewer <= more


def test_seeds_needed_end_somewhere():
    assert s.seeds_needed("superiority", 0.001, 1.0, 0.0) is None
    assert s.seeds_needed("superiority", -0.5, 1.0, 0.0) is None
    assert s.seeds_needed("equivalence", 0.3, 1.0, 0.2) is None
    assert s.seeds_needed("superiority", 0.1, 0.0, 0.0) == s.FEWEST_SEEDS


def test_upper_limit_of_the_sd_covers_four_times_in_five():
    draws = np.random.default_rng(3).normal(0, 1, (5000, 5))
    covered = np.mean([s.sd_upper_limit(sd, 5) > 1 for sd in draws.std(axis=1, ddof=1)])
    assert covered == pytest.approx(0.8, abs=0.02)


# Slopes


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-20, 20), number), min_size=2, max_size=10))
def test_slope_is_scipys(points):
    x, y = np.array(points, dtype=float).T
    assume(np.unique(x).size > 1)
    assert s.slope(x, y) == pytest.approx(stats.linregress(x, y).slope, rel=1e-6, abs=1e-9)


def test_slope_refuses_what_has_none():
    with pytest.raises(ValueError, match="two different doses"):
        s.slope([2, 2], [0.1, 0.4])
    assert math.isnan(s.slope([1, 2, 3], [0.1, math.nan, 0.2]))


# Verdicts


@pytest.mark.parametrize(
    ("kind", "mean", "sd", "verdict"),
    [  # margin 0.1, n = 9: the 95 % interval is mean ± 0.769 sd, the 90 % one mean ± 0.620 sd
        ("superiority", 0.12, 0.10, "supported"),
        ("superiority", 0.08, 0.10, "inconclusive"),  # above 0, but below the margin
        ("superiority", 0.12, 0.20, "inconclusive"),
        ("superiority", 0.02, 0.10, "contradicted"),
        ("superiority", 0.05, 0.01, "contradicted"),  # above 0, and surely less than the margin
        ("trend", 0.12, 0.10, "supported"),
        ("trend", 0.12, 0.20, "inconclusive"),
        ("trend", -0.12, 0.10, "contradicted"),
        ("non-inferiority", -0.02, 0.10, "supported"),
        ("non-inferiority", -0.03, 0.10, "inconclusive"),
        ("non-inferiority", -0.17, 0.10, "inconclusive"),
        ("non-inferiority", -0.18, 0.10, "contradicted"),
        ("equivalence", 0.03, 0.10, "supported"),  # 90 %: 0.092; at 95 % it would be 0.107
        ("equivalence", -0.03, 0.10, "supported"),
        ("equivalence", 0.05, 0.10, "inconclusive"),
        ("equivalence", 0.17, 0.10, "contradicted"),
        ("equivalence", -0.17, 0.10, "contradicted"),
    ],
)
def test_the_table_of_verdicts(kind, mean, sd, verdict):
    found = one(spread(mean, sd, 9), kind, 0.1)
    assert found.verdict == verdict
    assert (found.effect, found.margin, found.n) == (pytest.approx(mean), 0.1, 9)


def test_reasons_give_the_numbers():
    assert one(spread(0.12, 0.10, 9), margin=0.1).reason == "lower limit 0.0431 > 0 and mean 0.12 ≥ 0.1"
    assert one(spread(0.02, 0.10, 9), margin=0.1).reason == "upper limit 0.0969 < 0.1"
    assert one(spread(0.03, 0.10, 9), "equivalence", 0.1).reason == "interval -0.032 to 0.092 inside ±0.1"
    assert one(spread(0.2, 0.10, 9), "equivalence", 0.1).reason == "interval 0.138 to 0.262 outside ±0.1"
    assert one(spread(0.0, 0.1, 9), "non-inferiority", 0.1).reason == "lower limit -0.0769 > -0.1"
    assert one(spread(-0.2, 0.1, 9), "non-inferiority", 0.1).reason == "upper limit -0.123 < -0.1"


@settings(deadline=None)
@given(differences, kinds, margins, st.floats(0.001, 0.3))
def test_a_family_of_one_is_not_adjusted(values, kind, margin, alpha):
    found = one(values, kind, margin, alpha=alpha)
    expected = s.one_sample(values)
    limits = expected.low(s.tail(kind, alpha)), expected.high(s.tail(kind, alpha))
    assert (found.level, found.low, found.high) == (alpha, *limits)
    assert found.coverage == s.confidence(kind, alpha)
    assert found.p == pytest.approx(p_value(values, kind, margin))


@settings(deadline=None)
@given(differences, kinds, margins)
def test_what_is_decided_is_decided_one_way(values, kind, margin):
    """Supported and contradicted exclude each other, also as interval statements."""
    found = one(values, kind, margin)
    assume(found.high - found.low > 1e-6)
    floor = 0 if kind in ("superiority", "trend") else -margin
    inside = found.low > floor and (kind != "equivalence" or found.high < margin)
    if kind in ("superiority", "trend"):
        inside &= found.effect >= margin
        outside = found.high < margin
    else:
        outside = found.high < -margin or (kind == "equivalence" and found.low > margin)
    assert not (inside and outside)
    expected = "supported" if inside else "contradicted" if outside else "inconclusive"
    limits = [abs(limit - bound) for limit in (found.low, found.high) for bound in (floor, -margin, margin)]
    assume(min(*limits, abs(found.effect - margin)) > 1e-6)
    assert found.verdict == expected


@settings(deadline=None)
@given(st.lists(differences, min_size=1, max_size=5), differences)
def test_another_claim_never_helps(family, values):
    """A claim that isn't supported alone isn't within a family, and intervals only widen."""
    alone = one(values)
    claims = [claim(f"c{i}", v) for i, v in enumerate(family)]
    among = judge([*claims, claim("c", values)])[-1]
    assert among.p >= alone.p or among.p == pytest.approx(alone.p)
    assert among.low <= alone.low
    assert among.high >= alone.high
    assert alone.verdict == "supported" or among.verdict != "supported"


@settings(deadline=None)
@given(st.lists(differences, min_size=2, max_size=6))
def test_supported_is_what_holm_rejects(family):
    """With no margin, a superiority claim is supported where its adjusted p is at most alpha."""
    for verdict in judge([claim(str(i), v) for i, v in enumerate(family)]):
        assume(abs(verdict.p - 0.05) > 1e-9)
        assert (verdict.verdict == "supported") == (verdict.p < 0.05)
        assert (verdict.low > 0) == (verdict.p < 0.05)


def test_holm_decides_what_one_claim_alone_would():
    weak = spread(0.1, 0.13, 9)  # p = 0.05 · 0.98: supported alone, not beside another that fails
    assert one(weak).verdict == "supported"
    beside = {v.name: v for v in judge([claim("noise", spread(0.0, 1.0, 9)), claim("weak", weak)])}
    assert beside["weak"].verdict == "inconclusive"
    assert beside["weak"].level == beside["noise"].level == 0.025
    strong = {v.name: v for v in judge([claim("strong", spread(1.0, 0.1, 9)), claim("weak", weak)])}
    assert strong["weak"].verdict == strong["strong"].verdict == "supported"
    assert (strong["strong"].level, strong["weak"].level) == (0.025, 0.05)


def test_a_rejected_claim_that_fails_its_margin_does_not_stop_holm():
    small = claim("small", spread(0.05, 0.01, 9), margin=0.1)
    capped = claim("capped", spread(1.0, 0.01, 9), may_fall=True)
    verdicts = judge([small, capped, claim("weak", spread(0.1, 0.12, 9))])
    assert [v.verdict for v in verdicts] == ["contradicted", "inconclusive", "supported"]


def test_failed_runs_do_not_shrink_the_family():
    lost = claim("lost", [0.1, math.nan, 0.2, 0.1])
    found = judge([lost, claim("weak", spread(0.1, 0.13, 9))])[1]
    assert (found.level, found.verdict) == (0.025, "inconclusive")


def test_all_of_several():
    yes = Component("yes", spread(0.2, 0.1, 9), "superiority")
    barely = Component("barely", spread(0.1, 0.12, 9), "superiority")
    perhaps = Component("perhaps", spread(0.02, 0.1, 9), "superiority")
    no = Component("no", spread(-0.2, 0.1, 9), "superiority")

    supported = judge([ClaimEvidence("both", [barely, yes])])[0]
    assert (supported.verdict, supported.component) == ("supported", "barely")
    assert supported.p == pytest.approx(stats.ttest_1samp(barely.differences, 0).pvalue)
    assert supported.reason.startswith("barely: lower limit")
    open_ = judge([ClaimEvidence("open", [yes, perhaps])])[0]
    assert (open_.verdict, open_.component) == ("inconclusive", "perhaps")
    refuted = judge([ClaimEvidence("refuted", [yes, perhaps, no])])[0]
    assert (refuted.verdict, refuted.component, refuted.p) == ("contradicted", "no", 1)
    assert [part.verdict for part in refuted.components] == ["supported", "inconclusive", "contradicted"]


def test_a_contradiction_by_one_of_several_has_a_share_of_the_level():
    bad = Component("bad", spread(-0.08, 0.1, 9), "superiority")  # its upper limit is 0 at 95 %, and 0.02 at a third
    good = [Component(str(i), spread(1.0, 0.1, 9), "superiority") for i in range(2)]
    assert judge([ClaimEvidence("c", [bad])])[0].verdict == "contradicted"
    found = judge([ClaimEvidence("c", [bad, *good])])[0]
    assert (found.verdict, found.component) == ("inconclusive", "bad")
    assert found.high == pytest.approx(s.interval(bad.differences, 1 - 0.05 / 3).high)
    assert found.low == pytest.approx(s.interval(bad.differences).low)  # support asks for no adjustment


def test_any_of_several():
    barely = Component("barely", spread(0.1, 0.12, 9), "superiority", 0.05)
    yes = Component("yes", spread(0.2, 0.1, 9), "superiority", 0.05)
    perhaps = Component("perhaps", spread(0.02, 0.1, 9), "superiority", 0.05)
    no = Component("no", spread(-0.2, 0.1, 9), "superiority", 0.05)

    def decide(*components):
        return judge([ClaimEvidence("c", components, any=True)])[0]

    supported = decide(no, yes, perhaps)
    assert (supported.verdict, supported.component) == ("supported", "yes")
    assert supported.p == pytest.approx(3 * stats.ttest_1samp(yes.differences, 0).pvalue)
    assert decide(barely).verdict == "supported"
    assert decide(barely, no).verdict == "inconclusive"  # p = 0.04, twice
    assert decide(no, perhaps).verdict == "inconclusive"
    refuted = decide(no, no)
    assert (refuted.verdict, refuted.high) == ("contradicted", s.interval(no.differences).high)
    assert decide(no, Component("same", np.zeros(9), "superiority", 0.05)).verdict == "inconclusive"


def test_a_component_contradicts_although_its_p_is_small():
    small = Component("small", spread(0.05, 0.001, 9), "superiority", 0.1)
    wide = Component("wide", spread(0.2, 0.5, 9), "superiority", 0.1)
    found = judge([ClaimEvidence("c", [small, wide])])[0]
    assert (found.verdict, found.component, found.effect) == ("contradicted", "small", pytest.approx(0.05))


def test_what_cannot_be_tested_is_inconclusive_and_says_why():
    two = one([0.5, 0.6])
    assert (two.verdict, two.reason, two.p) == ("inconclusive", "too few seeds: n = 2, at least 3 needed", 1)
    assert one([0.5, 0.5]).verdict == "inconclusive"
    assert one([]).reason.startswith("too few seeds: n = 0")
    nan = one([0.5, math.nan, 0.6, math.inf])
    assert nan.verdict == "inconclusive"
    assert nan.reason == "2 of 4 differences not finite (a run diverged or is missing)"


def test_a_lost_component_leaves_the_others_their_say():
    lost = Component("lost", np.array([0.1, math.nan, 0.1]), "superiority")
    yes = Component("yes", spread(0.2, 0.1, 9), "superiority")
    no = Component("no", spread(-0.2, 0.1, 9), "superiority")
    held = judge([ClaimEvidence("c", [yes, lost])])[0]
    assert held.verdict == "inconclusive"
    assert held.reason.startswith("lost: 1 of 3 differences not finite")
    assert judge([ClaimEvidence("c", [lost, no])])[0].verdict == "contradicted"


@pytest.mark.parametrize(
    ("kind", "mean", "verdict", "by_rise", "by_fall"),
    [
        ("superiority", 0.5, "supported", False, True),
        ("superiority", -0.5, "contradicted", True, False),
        ("trend", 0.5, "supported", False, True),
        ("trend", -0.5, "contradicted", True, False),
        ("non-inferiority", 0.0, "supported", False, True),
        ("non-inferiority", -0.5, "contradicted", True, False),
        ("equivalence", 0.0, "supported", True, True),
        ("equivalence", 0.5, "contradicted", False, True),
        ("equivalence", -0.5, "contradicted", True, False),
    ],
)
def test_an_edge_matters_where_a_better_rate_could_overturn(kind, mean, verdict, by_rise, by_fall):
    values = spread(mean, 0.01, 9)
    assert one(values, kind, 0.1).verdict == verdict
    for edge, overturns in (("may_rise", by_rise), ("may_fall", by_fall)):
        found = one(values, kind, 0.1, **{edge: True})
        assert found.verdict == ("inconclusive" if overturns else verdict)
        assert found.reason.startswith("grid edge") == overturns


def test_an_edge_of_one_component_holds_back_what_rests_on_it_alone():
    edged = Component("edged", spread(0.5, 0.1, 9), "superiority", 0.1, may_fall=True)
    yes = Component("yes", spread(0.5, 0.1, 9), "superiority", 0.1)
    no = Component("no", spread(-0.5, 0.1, 9), "superiority", 0.1, may_fall=True)
    assert judge([ClaimEvidence("all", [yes, edged])])[0].reason.startswith("edged: grid edge")
    assert judge([ClaimEvidence("any", [yes, edged], any=True)])[0].verdict == "supported"
    assert judge([ClaimEvidence("refuted", [edged, no])])[0].verdict == "contradicted"


@pytest.mark.parametrize("mean", [0.0, -0.5])
@pytest.mark.parametrize("kind", ["non-inferiority", "equivalence"])
def test_without_assay_sensitivity_nothing_is_decided(kind, mean):
    values = spread(mean, 0.01, 9)
    decided = one(values, kind, 0.1, sensitivity=True)
    assert decided.verdict == one(values, kind, 0.1).verdict != "inconclusive"
    found = one(values, kind, 0.1, sensitivity=False)
    assert found.verdict == "inconclusive"
    assert found.reason.startswith("no assay sensitivity")


@pytest.mark.parametrize("kind", ["superiority", "trend"])
def test_superiority_needs_no_assay_sensitivity(kind):
    assert one(spread(0.5, 0.1, 9), kind, sensitivity=False).verdict == "supported"


@pytest.mark.parametrize(
    ("kind", "mean", "assumed"),
    [
        ("superiority", 0.05, 0.1),  # the margin
        ("superiority", 0.15, 0.15),  # the observed mean where it is larger
        ("superiority", -0.1, 0.1),
        ("non-inferiority", -0.05, -0.05),
        ("non-inferiority", 0.05, 0.0),  # better than the control: planned as equal to it
        ("non-inferiority", -0.12, 0.0),  # outside the margin
        ("equivalence", -0.05, -0.05),
        ("equivalence", 0.12, 0.0),
    ],
)
def test_too_few_seeds_says_how_many_are_needed(kind, mean, assumed):
    found = one(spread(mean, 0.4, 6), kind, 0.1)
    upper = 0.4 * math.sqrt(5 / stats.chi2.ppf(0.2, 5))
    needed = s.seeds_needed(kind, assumed, upper, 0.1)
    assert found.verdict == "inconclusive"
    assert found.reason == f"too few seeds: n = 6, about {needed} needed for 90% power"


def test_more_claims_need_more_seeds():
    noise = spread(0.0, 0.4, 6)
    found = judge([claim("c", noise, margin=0.2), claim("d", -noise, margin=0.2)])[0]
    upper = s.sd_upper_limit(0.4, 6)
    assert found.level == 0.025
    assert f"about {s.seeds_needed('superiority', 0.2, upper, 0.2, 0.025)} needed" in found.reason
    assert s.seeds_needed("superiority", 0.2, upper, 0.2, 0.025) > s.seeds_needed("superiority", 0.2, upper, 0.2)


def test_the_first_reason_is_told():
    nothing_to_lose = Component("kept", spread(0.0, 0.01, 9), "non-inferiority", 0.1)
    noise = Component("better", spread(0.02, 0.1, 9), "superiority")
    assert p_value(noise.differences, "superiority", 0) > p_value(nothing_to_lose.differences, "non-inferiority", 0.1)
    found = judge([ClaimEvidence("c", [noise, nothing_to_lose], sensitivity=False)])[0]
    assert found.reason.startswith("kept: no assay sensitivity")
    lost = Component("lost", np.array([0.1]), "superiority")
    found = judge([ClaimEvidence("c", [noise, lost, nothing_to_lose])])[0]
    assert found.reason.startswith("lost: too few seeds: n = 1")


def test_too_few_seeds_has_an_end_and_admits_bad_luck():
    assert one(spread(-0.001, 1.0, 6)).reason == "too few seeds: n = 6, more than 10000 needed for 90% power"
    unlucky = one(spread(0.08, 0.1, 40), margin=0.1)  # between 0 and the margin, of which 40 are enough
    assert unlucky.reason == (
        "n = 40 has 90% power at a mean of 0.1, but the interval 0.048 to 0.112 decides neither way"
    )


def test_rounding_decides_nothing():
    """Differences of exactly the margin, up to rounding, are at it: neither below nor beyond."""
    at = np.array([0.9, 0.8, 0.7, 0.6] * 2) - np.array([0.88, 0.78, 0.68, 0.58] * 2)
    assert len(set(at)) > 1
    assert at.mean() != 0.02
    assert one(at, "superiority", 0.02).verdict == "supported"
    assert one(-at, "non-inferiority", 0.02).verdict == "inconclusive"
    assert one(at, "equivalence", 0.02).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("kind", "true_mean", "expected"),
    [("superiority", 0.0, 0.025), ("non-inferiority", -1.5, 0.025), ("equivalence", 1.5, 0.05)],
)
def test_false_support_at_the_bound_is_as_rare_as_the_level_says(kind, true_mean, expected):
    margin = 0.0 if kind == "superiority" else 1.5
    draws = np.random.default_rng(4).normal(true_mean, 1.0, (2000, 8))
    rate = np.mean([one(d, kind, margin).verdict == "supported" for d in draws])
    assert rate == pytest.approx(expected, abs=3 * math.sqrt(expected * (1 - expected) / 2000))


def test_false_support_in_a_family_stays_below_alpha():
    """Four null equivalence claims beside a true one: unadjusted, 1 - 0.95⁴ = 18 % would fail."""
    rng = np.random.default_rng(5)
    false = 0
    for _ in range(400):
        nulls = [claim(str(i), rng.normal(1.5, 1.0, 12), "equivalence", 1.5) for i in range(4)]
        true = claim("true", rng.normal(0.0, 0.3, 12), "equivalence", 1.5)
        verdicts = judge([true, *nulls])
        assert verdicts[0].verdict == "supported"
        false += any(verdict.verdict == "supported" for verdict in verdicts[1:])
    assert 0.02 < false / 400 < 0.08


def test_bad_evidence_is_refused():
    for margin in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="G1: a margin is finite"):
            Component("G1", np.zeros(3), "superiority", margin)
    with pytest.raises(ValueError, match="claim 'G1' has no component"):
        ClaimEvidence("G1", [])
    assert judge([]) == []
