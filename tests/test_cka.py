"""Debiased linear CKA against Gram matrices written out, and what it must not see."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whypretrain.measures.cka import linear_cka


def gaussian(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def unbiased_hsic(a: np.ndarray, b: np.ndarray) -> float:
    """Song et al. 2012, eq. 5, term by term."""
    n = len(a)
    k, l = a @ a.T, b @ b.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    ones = np.ones(n)
    trace = np.trace(k @ l)
    total = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    return (trace + total - 2 / (n - 2) * (ones @ k @ l @ ones)) / (n * (n - 3))


def from_gram_matrices(a: np.ndarray, b: np.ndarray) -> float:
    return unbiased_hsic(a, b) / math.sqrt(unbiased_hsic(a, a) * unbiased_hsic(b, b))


@given(st.integers(0, 1000), st.integers(6, 40), st.integers(1, 60), st.integers(1, 60), st.floats(-3, 3))
def test_it_is_the_ratio_of_unbiased_hsics(seed: int, n: int, p: int, q: int, shared: float):
    a, b = gaussian(n, p, seed=seed), gaussian(n, q, seed=seed + 1)
    b[:, 0] += shared * a[:, 0] + shared  # alike to some degree, and not centred
    assert linear_cka(a, b) == pytest.approx(from_gram_matrices(a, b), rel=1e-7, abs=1e-7)


@given(st.integers(0, 1000), st.integers(6, 40), st.integers(1, 8))
def test_features_are_like_themselves_by_one_and_like_no_others_by_more(seed: int, n: int, p: int):
    a, b = gaussian(n, p, seed=seed), gaussian(n, p, seed=seed + 1)
    assert linear_cka(a, a) == pytest.approx(1, abs=1e-12)
    assert abs(linear_cka(a, b)) <= 1 + 1e-9


@given(st.integers(0, 1000), st.floats(0.01, 100), st.booleans())
def test_rotations_scales_and_shifts_leave_it(seed: int, scale: float, mirrored: bool):
    a, b = gaussian(30, 5, seed=seed), gaussian(30, 4, seed=seed + 1)
    b += a[:, :4]
    turned, _ = np.linalg.qr(gaussian(5, 5, seed=seed + 2))
    moved = scale * (-a if mirrored else a) @ turned + 10 * gaussian(5, seed=seed + 3)
    assert linear_cka(moved, b) == pytest.approx(linear_cka(a, b), rel=1e-7)
    assert linear_cka(b, moved) == pytest.approx(linear_cka(a, b), rel=1e-7)


def test_a_stretched_direction_changes_it():
    a, b = gaussian(200, 5), gaussian(200, 5, seed=1)
    b += 2 * a
    assert linear_cka(a * [10, 1, 1, 1, 1], b) < linear_cka(a, b) - 0.1


def test_chance_is_zero_also_where_there_are_more_features_than_rows():
    found = [linear_cka(gaussian(20, 50, seed=seed), gaussian(20, 50, seed=1000 + seed)) for seed in range(400)]
    standard_error = np.std(found) / 20
    assert abs(np.mean(found)) < 4 * standard_error
    assert standard_error < 0.005
    assert min(found) < 0  # negative values are kept


def test_float32_is_computed_in_float64():
    a, b = (gaussian(1000, 8, seed=seed).astype(np.float32) for seed in (0, 1))
    assert linear_cka(a + 100, b) == pytest.approx(linear_cka((a + 100).astype(np.float64), b), rel=1e-12)


def one_row_stands_out() -> np.ndarray:
    features = np.full((20, 3), 0.1)
    features[4] = 0.7
    return features


@pytest.mark.parametrize("flat", [np.zeros((20, 3)), np.full((20, 3), 0.1), np.full((20, 3), np.nan)])
def test_features_that_tell_nothing_apart_give_no_number(flat: np.ndarray):
    assert math.isnan(linear_cka(flat, gaussian(20, 5)))
    assert math.isnan(linear_cka(gaussian(20, 5), flat))


def test_features_in_which_one_row_stands_out_give_no_number():
    # all that they tell is on the diagonal, which the unbiased estimate leaves out
    assert unbiased_hsic(one_row_stands_out() - 0.1, one_row_stands_out() - 0.1) == 0
    assert math.isnan(linear_cka(one_row_stands_out(), gaussian(20, 5)))


def test_dead_features_beside_living_ones_change_nothing():
    a, b = gaussian(30, 5), gaussian(30, 5, seed=1)
    assert linear_cka(np.hstack([a, np.full((30, 2), 0.1)]), b) == pytest.approx(linear_cka(a, b), rel=1e-9)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_fewer_than_four_rows_are_refused(n: int):
    with pytest.raises(ValueError, match=f"at least 4 rows, and there are {n}"):
        linear_cka(gaussian(n, 2), gaussian(n, 2))
    assert math.isfinite(linear_cka(gaussian(4, 2), gaussian(4, 2, seed=1)))


def test_sides_of_different_numbers_of_rows_are_refused():
    with pytest.raises(ValueError, match="one side has 8 and the other 9"):
        linear_cka(gaussian(8, 2), gaussian(9, 2))
