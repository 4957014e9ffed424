"""Kernel cosines against closed forms: known vectors, chance, and what is left out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whypretrain.training.cosine import as_kernels, gaussian_abs_cosine, kernel_cosine


def gaussian(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def same_order(weight: np.ndarray) -> np.ndarray:
    return np.arange(len(as_kernels(weight)))


@given(st.integers(0, 1000), st.floats(0.01, 100), st.sampled_from([1, 3, 5]))
def test_a_scaled_copy_has_cosine_one_and_a_negated_one_minus_one(seed: int, scale: float, size: int):
    start = gaussian(4, 3, size, size, seed=seed)
    alike, opposed = (kernel_cosine(start, sign * scale * start, same_order(start)) for sign in (1, -1))
    for name in ("cosine_mean", "cosine_weighted_mean", "cosine_q05", "cosine_q50", "cosine_q95"):
        assert alike[name] == pytest.approx(1, abs=1e-12)
        assert opposed[name] == pytest.approx(-1, abs=1e-12)
    assert opposed["cosine_abs_mean"] == pytest.approx(1, abs=1e-12)
    assert alike["kernels"] == len(as_kernels(start))


@given(st.lists(st.floats(0, math.pi), min_size=4, max_size=4))
def test_kernels_turned_by_known_angles_have_their_cosines(angles: list[float]):
    start, current = np.zeros((2, 2, 3, 3)), np.zeros((2, 2, 3, 3))
    for place, angle in enumerate(angles):
        o, i = divmod(place, 2)
        start[o, i, 0, 0] = 2
        current[o, i, 0, 0], current[o, i, 1, 2] = 3 * math.cos(angle), 3 * math.sin(angle)
    found = kernel_cosine(start, current, same_order(start))
    cosines = np.cos(angles)
    assert found["cosine_mean"] == pytest.approx(cosines.mean(), abs=1e-12)
    assert found["cosine_abs_mean"] == pytest.approx(np.abs(cosines).mean(), abs=1e-12)
    assert found["cosine_q25"] == pytest.approx(np.quantile(cosines, 0.25), abs=1e-12)


def test_the_weighted_mean_goes_by_the_norms_of_the_start():
    start, current = np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3, 3))
    start[0, 0, 0, 0], start[0, 1, 0, 0] = 3, 1
    current[0, 0, 0, 0], current[0, 1, 2, 2] = 1, 100  # cosines 1 and 0
    found = kernel_cosine(start, current, same_order(start))
    assert found["cosine_mean"] == pytest.approx(0.5)
    assert found["cosine_weighted_mean"] == pytest.approx(0.75)


@pytest.mark.parametrize(("dimension", "published"), [(9, 0.273), (25, 0.161)])
def test_chance_is_the_closed_form(dimension: int, published: float):
    assert gaussian_abs_cosine(dimension) == pytest.approx(published, abs=5e-4)
    side = math.isqrt(dimension)
    start, current = gaussian(60, 60, side, side), gaussian(60, 60, side, side, seed=1)
    found = kernel_cosine(start, current, same_order(start))
    # the standard error of |cos| over 3,600 kernels is below 0.003
    assert found["cosine_abs_mean"] == pytest.approx(gaussian_abs_cosine(dimension), abs=0.012)
    assert found["cosine_mean"] == pytest.approx(0, abs=0.025)


def test_chance_in_two_dimensions_is_two_over_pi():
    assert gaussian_abs_cosine(2) == pytest.approx(2 / math.pi)


def test_the_null_pairs_other_kernels():
    start = gaussian(40, 40, 3, 3)
    pairing = np.random.default_rng(2).permutation(1600)
    found = kernel_cosine(start, start, pairing)
    assert found["cosine_mean"] == pytest.approx(1)
    assert found["cosine_abs_null"] == pytest.approx(gaussian_abs_cosine(9), abs=0.02)
    assert found["cosine_null"] == pytest.approx(0, abs=0.03)
    # and it is the plain statistic of the re-paired kernels
    repaired = as_kernels(start)[pairing].reshape(start.shape)
    direct = kernel_cosine(repaired, start, same_order(start))
    assert found["cosine_null"] == pytest.approx(direct["cosine_mean"], abs=1e-12)
    assert found["cosine_abs_null"] == pytest.approx(direct["cosine_abs_mean"], abs=1e-12)


def test_the_null_sees_what_all_kernels_share():
    # kernels with one common part are alike even when paired at random: chance alone is no reference then
    start = gaussian(20, 20, 3, 3) + 3
    found = kernel_cosine(start, start, np.random.default_rng(0).permutation(400))
    assert found["cosine_null"] > 0.8


def test_a_kernel_of_a_1x1_layer_is_the_whole_filter():
    start = gaussian(6, 5, 1, 1)
    assert as_kernels(start).shape == (6, 5)
    assert as_kernels(gaussian(6, 5, 3, 3)).shape == (30, 9)
    current = gaussian(6, 5, 1, 1, seed=1)
    found = kernel_cosine(start, current, np.arange(6))
    a, b = start.reshape(6, 5), current.reshape(6, 5)
    direct = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert found["cosine_mean"] == pytest.approx(direct.mean())
    assert found["kernels"] == 6


@pytest.mark.parametrize("where", ["start", "current"])
def test_kernels_near_zero_are_left_out_and_counted(where: str):
    start, current = gaussian(4, 5, 3, 3), gaussian(4, 5, 3, 3, seed=1)
    whole = kernel_cosine(start[:3], current[:3], np.arange(15))
    weights = {"start": np.concatenate([start[:1], start[3:], start[1:3]])}
    weights["current"] = np.concatenate([current[:1], current[3:], current[1:3]])
    weights[where][1] *= 1e-9  # the kernels 5 to 9
    pairing = np.random.default_rng(0).permutation(20)
    found = kernel_cosine(weights["start"], weights["current"], pairing)
    assert (found["kernels"], found["kernels_excluded"]) == (15, 5)
    assert found["cosine_mean"] == pytest.approx(whole["cosine_mean"])
    # the null pairs those that are left in the order that the permutation has them
    left = [place if place < 5 else place - 5 for place in pairing if not 5 <= place < 10]
    assert found["cosine_null"] == pytest.approx(kernel_cosine(start[:3], current[:3], np.array(left))["cosine_null"])


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_weights_that_are_nothing_or_not_finite_give_no_number(bad: float):
    start = gaussian(2, 2, 3, 3)
    with np.errstate(all="ignore"):
        found = kernel_cosine(start, np.full_like(start, bad), np.arange(4))
    assert np.isnan(found["cosine_mean"])
    assert (found["kernels"], found["kernels_excluded"]) == (0, 4)
