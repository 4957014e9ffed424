"""Spectra of features against closed forms, and the split into main part and residual."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whypretrain.measures.spectra import components_of_main, effective_rank, shares, singular_values, split


def gaussian(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def with_spectrum(values: list[float], n: int = 30, seed: int = 0) -> np.ndarray:
    """Features (n, as many as values) with these singular values, in random directions."""
    d = len(values)
    left, _ = np.linalg.qr(gaussian(n, d, seed=seed))
    right, _ = np.linalg.qr(gaussian(d, d, seed=seed + 1))
    return left * values @ right.T


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8), st.integers(0, 100))
def test_singular_values_are_those_put_in_largest_first(values: list[float], seed: int):
    found = singular_values(with_spectrum(values, seed=seed), centred=False)
    np.testing.assert_allclose(found, sorted(values, reverse=True), atol=1e-9)


def test_centred_values_do_not_see_the_mean():
    features = gaussian(40, 6)
    moved = features + 100
    np.testing.assert_allclose(singular_values(moved, True), singular_values(features, True), rtol=1e-9)
    assert singular_values(moved, False)[0] == pytest.approx(100 * math.sqrt(40 * 6), rel=0.01)
    # their squares sum to the features' variance
    assert (singular_values(features, True) ** 2).sum() == pytest.approx(40 * features.var(0).sum())


def test_shares_are_the_closed_forms():
    values = np.array([3.0, 1.0, 0.0])
    np.testing.assert_allclose(shares(values, 1), [0.75, 0.25, 0])
    np.testing.assert_allclose(shares(values, 2), [0.9, 0.1, 0])


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.sampled_from([1, 2]))
def test_shares_sum_to_one(values: list[float], power: int):
    assert shares(np.array(values), power).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "power", "share", "count"),
    [
        ([4.0, 1.0], 1, 0.8, 1),  # reached, not passed
        ([3.9, 1.1], 1, 0.8, 2),
        ([3.9, 1.1], 2, 0.8, 1),
        ([1.0, 0.0, 0.0], 1, 0.8, 1),
        ([2.0, 1.0, 1.0], 1, 0.5, 1),
        ([2.0, 1.0, 1.0], 1, 1.0, 3),
    ],
)
def test_the_main_part_ends_where_the_share_is_reached(values: list[float], power: int, share: float, count: int):
    assert components_of_main(np.array(values), power, share) == count


@pytest.mark.parametrize("tens", range(1, 20))
@pytest.mark.parametrize("power", [1, 2])
def test_rounding_adds_no_component(tens: int, power: int):
    # 0.1 added eight times falls short of 0.8
    assert components_of_main(np.full(10 * tens, 0.3), power) == 8 * tens
    assert components_of_main(np.full(10 * tens, 0.3), power, share=1.0) == 10 * tens


@given(st.integers(1, 50), st.floats(1e-3, 1e3))
def test_the_effective_rank_of_equal_values_is_their_number(d: int, value: float):
    assert effective_rank(np.full(d, value)) == pytest.approx(d)
    alone = np.zeros(d)
    alone[0] = value
    assert effective_rank(alone) == pytest.approx(1)


def test_the_effective_rank_is_the_exponential_of_the_entropy():
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(np.array([3.0, 1.0, 0.0])) == pytest.approx(math.exp(entropy))


@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=8), st.integers(0, 100))
def test_main_and_residual_are_orthogonal_and_sum_to_the_features(values: list[float], seed: int):
    parts = {"train": with_spectrum(values, seed=seed), "test": gaussian(12, len(values), seed=seed)}
    main, residual = split(parts)
    assert list(main) == list(residual) == ["train", "test"]
    for part, features in parts.items():
        np.testing.assert_allclose(main[part] + residual[part], features, atol=1e-9)
        for other in parts:  # features of the one have nothing in the directions of the other
            np.testing.assert_allclose(main[part] @ residual[other].T, 0, atol=1e-6)


def test_the_split_of_train_is_the_truncated_decomposition():
    features = with_spectrum([6.0, 2.0, 1.0, 0.6, 0.4])  # 6 + 2 are 80 % of 10; by squares 6 alone would do
    main, residual = split({"train": features})
    left, values, right = np.linalg.svd(features, full_matrices=False)
    np.testing.assert_allclose(main["train"], left[:, :2] * values[:2] @ right[:2], atol=1e-12)
    np.testing.assert_allclose(singular_values(main["train"], False), [6, 2, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(singular_values(residual["train"], False), [1, 0.6, 0.4, 0, 0], atol=1e-12)


def test_the_basis_is_that_of_the_training_features():
    train = np.diag([10.0, 1.0, 0.5])  # main: the first axis
    test = np.array([[1.0, 2.0, 3.0], [0.0, 50.0, 0.0]])
    main, residual = split({"test": test, "train": train})
    np.testing.assert_allclose(main["test"], test * [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(residual["test"], test * [0, 1, 1], atol=1e-12)


def test_the_basis_is_uncentred():
    train = gaussian(50, 3) * 0.01 + [0, 0, 1]
    main, _ = split({"train": train})
    np.testing.assert_allclose(main["train"][:, 2], train[:, 2], atol=0.01)
    assert np.linalg.matrix_rank(main["train"]) == 1


def test_features_that_are_all_zero_have_no_spectrum():
    zeros = np.zeros((10, 4))
    values = singular_values(zeros, centred=False)
    np.testing.assert_array_equal(values, np.zeros(4))
    assert np.isnan(shares(values, 1)).all()
    assert np.isnan(shares(values, 2)).all()
    assert math.isnan(effective_rank(values))
    assert components_of_main(values, 1) == 0
    main, residual = split({"train": zeros, "test": np.ones((3, 4))})
    np.testing.assert_array_equal(main["test"], np.zeros((3, 4)))
    np.testing.assert_array_equal(residual["test"], np.ones((3, 4)))


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_images_than_features_are_enough(n: int):
    features = gaussian(n, 6)
    assert singular_values(features, centred=False).shape == (n,)
    main, residual = split({"train": features, "test": gaussian(5, 6, seed=1)})
    np.testing.assert_allclose(main["train"] + residual["train"], features)
    np.testing.assert_allclose(main["test"] @ residual["test"].T, 0, atol=1e-12)
