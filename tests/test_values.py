"""One number a seed from a curve: slopes, peaks, where it is reached, correlations; seed by seed, never pooled."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from whypretrain.evidence import values

NUMBERS = st.floats(-1, 1, allow_nan=False).map(lambda number: round(number, 3))


def curve(places: Sequence[float], *lines: Sequence[float]) -> dict[float, values.Values]:
    """A curve from each seed's values, place after place."""
    return {place: {seed: line[i] for seed, line in enumerate(lines)} for i, place in enumerate(places)}


def backwards(found: dict[float, values.Values]) -> dict[float, values.Values]:
    return dict(reversed(found.items()))


# --- slopes --------------------------------------------------------------------------------


def test_a_slope_over_layers_is_each_seeds_own():
    found = values.slope_of(curve([1, 2, 4], [0.1, 0.2, 0.4], [0.9, 0.7, 0.3], [0.5, 0.5, 0.5]))
    assert found == pytest.approx({0: 0.1, 1: -0.2, 2: 0})


def test_a_slope_over_checkpoints_is_per_doubling():
    found = values.slope_of(curve([math.log2(epoch) for epoch in (0.5, 1, 2, 8)], [0.1, 0.2, 0.3, 0.5]))
    assert found == pytest.approx({0: 0.1})


@given(st.lists(NUMBERS, min_size=3, max_size=3), st.lists(NUMBERS, min_size=3, max_size=3))
def test_a_slope_is_least_squares_whatever_the_order_of_places(first: list[float], second: list[float]):
    made = backwards(curve([1, 3, 4], first, second))
    expected = {seed: np.polyfit([1, 3, 4], line, 1)[0] for seed, line in enumerate((first, second))}
    assert values.slope_of(made) == pytest.approx(expected, abs=1e-9)


def test_what_is_missing_in_one_seed_is_nan_in_that_seed_alone():
    made = curve([1, 2], [0.1, math.nan], [0.1, 0.2])
    for found in (values.slope_of(made), values.reach_position(made), values.peak_position(made)):
        assert math.isnan(found[0])
        assert math.isfinite(found[1])


# --- peaks ---------------------------------------------------------------------------------


def test_the_peak_is_where_the_mean_over_seeds_is_highest():
    # each seed for itself would choose 1 or 8
    assert values.peak_place(curve([1, 4, 8], [0.9, 0.8, 0.1], [0.1, 0.8, 0.9])) == 4


def test_of_equal_peaks_the_first_counts_and_rounding_makes_none_higher():
    made = curve([1, 2, 4], [0.3, 0.5, 0.5])
    assert values.peak_place(made) == values.peak_place(backwards(made)) == 2
    # 0.1 + 0.2 > 0.3 as floats
    assert values.peak_place(curve([1, 2], [0.3, 0.1], [0.0, 0.2])) == 1
    assert values.peak_place(curve([1, 2], [0.3, 0.1 + 0.2])) == 1


def test_each_seed_has_a_peak_of_its_own_counted_from_zero():
    made = curve([0, 0.5, 4], [0.9, 0.8, 0.1], [0.1, 0.8, 0.9], [0.1, 0.7, 0.7])
    assert values.peak_position(made) == values.peak_position(backwards(made)) == {0: 0, 1: 2, 2: 1}


# --- reach ---------------------------------------------------------------------------------


def test_a_curve_is_reached_at_nine_tenths_of_its_last_value():
    made = curve(
        [0, 1, 2, 8], [0.1, 0.91, 0.95, 1.0], [0.1, 0.2, 0.89, 1.0], [1.0, 0.2, 0.3, 0.5], [0.1, 0.9, 0.2, 1.0]
    )
    assert values.reach_position(made) == values.reach_position(backwards(made)) == {0: 1, 1: 3, 2: 0, 3: 1}


# --- lines through points ------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 0.5))
def test_the_width_near_the_top_is_the_share_of_places_that_high(heights: list[float], near: float):
    places = np.arange(len(heights), dtype=float)
    fine = np.linspace(0, len(heights) - 1, 20001)
    expected = float(np.mean(np.interp(fine, places, heights) >= max(heights) - near - 1e-9)) * (len(heights) - 1)
    assert values.width_near_top(places, np.array(heights), near) == pytest.approx(expected, abs=2e-3)


def test_a_level_is_reached_on_the_line_between_points():
    places = np.array([0.0, 20, 40, 60])
    assert values.reached_at(places, np.array([0.1, 0.5, 0.3, 0.9]), 0.4) == pytest.approx(15)
    assert values.reached_at(places, np.array([0.5, 0.5, 0.3, 0.9]), 0.4) == 0
    assert values.reached_at(places, np.array([0.1, 0.2, 0.3, 0.4]), 0.4 + 1e-12) == pytest.approx(60)


# --- correlation ---------------------------------------------------------------------------


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=8))
def test_a_correlation_is_scipys(points: list[tuple[float, float]]):
    here, there = (list(line) for line in zip(*points, strict=True))
    found = values.rank_correlation(here, there)
    if len(set(here)) == 1 or len(set(there)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(here, there).statistic)


@pytest.mark.parametrize(
    ("here", "there"),
    [([0.1, 0.2], [0.3, 0.4]), ([0.1, 0.1, 0.1], [1, 2, 3]), ([1, 2, 3], [5, 5, 5]), ([1, 2, math.nan], [1, 2, 3])],
)
def test_without_spread_or_points_there_is_no_correlation(here: list[float], there: list[float]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(values.rank_correlation(here, there))


def test_values_are_correlated_seed_by_seed():
    here, there = curve([0, 1, 2], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]), curve([0, 1, 2], [0.5, 0.6, 0.7], [0.5, 0.6, 0.7])
    assert values.correlation(list(here.values()), list(there.values())) == pytest.approx({0: 1, 1: -1})


# --- several arms --------------------------------------------------------------------------


def test_sides_are_summed_and_subtracted_seed_by_seed():
    found = values.combined([{0: 0.5, 1: 0.6}, {1: 0.1, 0: 0.3}], [{0: 0.2, 1: 0.3}])
    assert found == pytest.approx({0: 0.6, 1: 0.4})
    assert values.combined([{3: 0.5}], []) == {3: 0.5}


@pytest.mark.parametrize(("of", "minus"), [([{0: 1, 1: 1}], [{0: 1}]), ([{0: 1}, {1: 1}], []), ([{0: 1}], [{}])])
def test_sides_of_other_seeds_are_refused(of: list[values.Values], minus: list[values.Values]):
    with pytest.raises(ValueError, match="must have the same seeds"):
        values.combined(of, minus)


def test_differences_are_paired_by_seed_not_by_order_of_entry_where_both_have_it():
    found = values.paired({2: 0.5, 10: 0.9, 1: 0.2, 3: 1.0}, {10: 0.4, 1: 0.1, 2: 0.5, 4: 1.0})
    assert list(found) == [1, 2, 10]
    assert list(found.values()) == pytest.approx([0.1, 0.0, 0.5])


def test_a_mean_is_of_the_seeds_that_all_have():
    assert values.mean_of([{0: 0.2, 1: 0.4, 2: 1.0}, {1: 0.6, 0: 0.0}]) == pytest.approx({0: 0.1, 1: 0.5})
