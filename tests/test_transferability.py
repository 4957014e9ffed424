"""Distance of two domains and scores of transferability: worked examples, the evidence itself, and invariances."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, ortho_group

from whypretrain.measures.transferability import MOST_PRECISE_NOISE, draw_apart, leep, log_me, proxy_a_distance


def features_of(labels: np.ndarray, d: int, seed: int = 0, signal: float = 1.0) -> np.ndarray:
    """Noise (n, d) in which each class has a mean of its own."""
    generator = np.random.default_rng(seed)
    means = signal * generator.standard_normal((int(labels.max()) + 1, d))
    return means[labels] + generator.standard_normal((len(labels), d))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# --- LEEP ------------------------------------------------------------------------------------


def test_leep_of_a_worked_example():
    # Three images, source classes z = 0, 1, target classes y = 0, 1:
    #   theta = (0.8, 0.2), (0.4, 0.6), (0.3, 0.7);  y = 0, 1, 1
    # P(y, z) = 1/3 * [0.8  0.2]    P(z) = 1/3 * (1.5, 1.5)    P(y | z) = 1/15 * [8   2]
    #                 [0.7  1.3]                                               [7  13]
    # sum_z P(y_i | z) theta(x_i)_z:
    #   0.8 * 8 + 0.2 * 2 = 6.8;  0.4 * 7 + 0.6 * 13 = 10.6;  0.3 * 7 + 0.7 * 13 = 11.2, each over 15
    # mean of ln 0.45333, ln 0.70667, ln 0.74667 = (-0.79113 - 0.34720 - 0.29214) / 3
    theta = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    assert leep(theta, np.array([0, 1, 1])) == pytest.approx(-0.476820, abs=1e-6)


def test_a_head_that_says_the_same_of_all_images_leaves_the_entropy_of_the_labels():
    labels = np.array([0, 0, 0, 1])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert leep(np.tile([0.2, 0.5, 0.3], (4, 1)), labels) == pytest.approx(-entropy)


def test_a_head_that_names_the_target_classes_by_other_names_is_perfect():
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert leep(np.eye(5)[labels + 2], labels) == 0  # and source classes 0 and 1 are no image's


def test_leep_does_not_depend_on_the_order_of_source_classes_images_or_target_classes():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 50)
    theta = softmax(generator.standard_normal((50, 7)))
    order, images = generator.permutation(7), generator.permutation(50)
    assert leep(theta[:, order], labels) == pytest.approx(leep(theta, labels), rel=1e-12)
    assert leep(theta[images], labels[images]) == pytest.approx(leep(theta, labels), rel=1e-12)
    assert leep(theta, 3 - labels) == pytest.approx(leep(theta, labels), rel=1e-12)


def test_leep_falls_when_labels_are_shuffled():
    labels = np.repeat(np.arange(5), 20)
    theta = softmax(features_of(labels, 8, signal=3))
    shuffled = np.random.default_rng(1).permutation(labels)
    assert leep(theta, labels) > leep(theta, shuffled) + 0.3


def test_leep_is_finite_and_never_above_zero():
    for seed in range(40):
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, 3, 12)
        found = leep(softmax(10.0 ** (seed % 4) * generator.standard_normal((12, 1 + seed % 5))), labels)
        assert math.isfinite(found)
        assert found <= 1e-12


def test_leep_of_probabilities_that_are_not_numbers_is_not_a_number():
    assert math.isnan(leep(np.array([[np.nan, 1.0], [0.5, 0.5]]), np.array([0, 1])))


# --- LogME -----------------------------------------------------------------------------------


def test_log_me_of_a_worked_example():
    # Six images of one constant feature, f = 1, and labels of four ones and two zeros. In the direction of f, which has
    # the squared singular value 6, y has the variance 1/beta + 6/alpha, in the five others 1/beta.
    #   y = 1 of four: sums of squares 4^2/6 = 8/3 along f and 4 - 8/3 = 4/3 beyond: 1/beta = (4/3) / 5 = 4/15
    #     and 8/3 = 4/15 + 6/alpha: alpha = 2.5
    #   y = 1 of two:  2^2/6 = 2/3 along f and 2 - 2/3 = 4/3 beyond: 1/beta = 4/15, alpha = 15
    # At these, log evidence = -1/2 (ln(2 pi along) + 1) - 5/2 (ln(2 pi 4/15) + 1), over 6 images:
    #   -(ln 2 pi + 1) / 2 - (ln 8/3 + ln 2/3) / 24 - 5/12 ln 4/15 = -1.41894 - 0.02397 + 0.55073
    labels = np.array([1, 1, 1, 1, 0, 0])
    assert log_me(np.ones((6, 1)), labels) == pytest.approx(-0.892180, abs=1e-6)


def greatest_evidence(features: np.ndarray, y: np.ndarray) -> float:
    """Maximise the density of y ~ N(0, I / beta + F F' / alpha) directly, per image."""
    n = len(y)
    gram = features @ features.T

    def loss(precisions: np.ndarray) -> float:
        alpha, beta = np.exp(precisions)
        return float(-multivariate_normal.logpdf(y, np.zeros(n), np.eye(n) / beta + gram / alpha, allow_singular=True))

    bounds = [(-10, 25), (-10, math.log(MOST_PRECISE_NOISE))]
    starts = [(a, b) for a in (-3.0, 0.0, 3.0, 8.0) for b in (0.0, 3.0)]
    options = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000}
    found = [minimize(loss, start, method="Nelder-Mead", bounds=bounds, options=options).fun for start in starts]
    return -min(found) / n


@pytest.mark.parametrize(
    ("classes", "n", "d", "signal"),
    [(2, 40, 5, 1.0), (3, 30, 12, 0.5), (4, 24, 60, 1.0), (5, 10, 30, 0.5), (2, 30, 3, 0.0)],
    ids=["many images", "weak signal", "fewer images than dimensions", "two images a class", "no signal"],
)
def test_log_me_is_the_maximum_of_the_evidence(classes: int, n: int, d: int, signal: float):
    labels = np.arange(n) % classes
    features = features_of(labels, d, signal=signal)
    expected = np.mean([greatest_evidence(features, (labels == label).astype(float)) for label in range(classes)])
    assert log_me(features, labels) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (12, 30)])
def test_log_me_does_not_depend_on_how_features_and_classes_are_written(n: int, d: int):
    labels = np.arange(n) % 3
    features = features_of(labels, d)
    expected = log_me(features, labels)
    order = np.random.default_rng(2).permutation(n)
    same = {
        "rotated": (features @ ortho_group.rvs(d, random_state=0), labels),
        "scaled": (100 * features, labels),
        "twice the same": (np.hstack([features, features]), labels),
        "with dead features": (np.hstack([features, np.zeros((n, 9))]), labels),
        "images in another order": (features[order], labels[order]),
        "classes renamed": (features, 10 - labels),
    }
    for what, (changed, named) in same.items():
        assert log_me(changed, named) == pytest.approx(expected, abs=1e-4), what


def test_log_me_falls_when_labels_are_shuffled_and_rises_with_the_signal():
    labels = np.repeat(np.arange(4), 20)
    scores = [log_me(features_of(labels, 10, signal=signal), labels) for signal in (0.0, 0.5, 1.0, 3.0)]
    assert scores == sorted(scores)
    shuffled = np.random.default_rng(1).permutation(labels)
    assert log_me(features_of(labels, 10, signal=3), shuffled) < scores[-1] - 0.2


def test_log_me_of_what_says_nothing_is_that_of_noise_alone():
    # no direction left: 1/beta = 2/4 for both classes
    labels = np.array([0, 0, 1, 1])
    assert log_me(np.zeros((4, 3)), labels) == pytest.approx(-0.5 * (math.log(2 * math.pi * 0.5) + 1))


def test_log_me_of_a_perfect_fit_is_finite_and_stands_at_the_least_noise():
    labels = np.repeat(np.arange(3), 10)
    found = log_me(np.eye(3)[labels], labels)  # noise in 27 of 30 directions at its least, as in the docstring
    assert math.isfinite(found)
    assert found == pytest.approx(27 / 30 * 0.5 * math.log(MOST_PRECISE_NOISE / (2 * math.pi)), abs=0.5)


@pytest.mark.parametrize("d", [1, 4, 50])
def test_log_me_is_finite_with_one_image_a_class_and_with_one_class(d: int):
    features = features_of(np.arange(4), d)
    assert math.isfinite(log_me(features, np.arange(4)))
    assert math.isfinite(log_me(features, np.zeros(4, int)))
    assert math.isfinite(log_me(np.ones((4, d)), np.arange(4)))


def test_log_me_of_features_that_are_not_finite_is_not_a_number():
    assert math.isnan(log_me(np.array([[1.0], [np.inf], [0.0]]), np.array([0, 1, 1])))


# --- proxy A-distance ------------------------------------------------------------------------


def domains(shift: float, seed: int, n: int = 300, d: int = 20) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((n, d)), generator.standard_normal((n, d)) + shift


def test_what_is_drawn_from_one_distribution_has_no_distance_on_average():
    found = [proxy_a_distance(*domains(0, seed), np.random.default_rng(seed)) for seed in range(40)]
    # 300 counted images: the error's standard deviation is sqrt(1/4 / 300) = 0.029, the distance's four times that
    assert np.mean(found) == pytest.approx(0, abs=4 * 0.115 / math.sqrt(40))
    assert np.std(found) == pytest.approx(0.115, rel=0.5)
    assert min(found) < 0  # not clipped


def test_what_shares_no_region_has_a_distance_of_two():
    assert proxy_a_distance(*domains(10, 0), np.random.default_rng(0)) == 2


def test_the_distance_of_two_gaussians_is_that_of_their_best_classifier():
    # In one dimension, a shift of 2: err = Phi(-1) = 0.1587, so 2 (1 - 2 err) = 1.365
    a, b = domains(2, 0, n=20000, d=1)
    assert proxy_a_distance(a, b, np.random.default_rng(0)) == pytest.approx(1.365, abs=0.03)


def test_the_distance_grows_with_the_shift_and_forgets_scales():
    found = [proxy_a_distance(*domains(shift, 1), np.random.default_rng(0)) for shift in (0, 0.1, 0.3, 1)]
    assert found == sorted(found)
    a, b = domains(0.3, 1)
    scales = np.geomspace(0.01, 1000, a.shape[1])
    assert proxy_a_distance(5 + a * scales, 5 + b * scales, np.random.default_rng(0)) == pytest.approx(found[2])


def test_domains_of_other_sizes_count_the_same():
    a, _ = domains(0, 0, n=1000)
    _, b = domains(0, 1, n=60)
    found = [proxy_a_distance(a, b, np.random.default_rng(seed)) for seed in range(30)]
    assert np.mean(found) == pytest.approx(0, abs=0.25)  # unbalanced, saying 'a' of all would have a distance of 1.6


def test_constant_features_tell_nothing_and_too_few_images_have_no_distance():
    generator = np.random.default_rng(0)
    assert proxy_a_distance(np.ones((20, 3)), np.ones((20, 3)), generator) == 0
    assert math.isnan(proxy_a_distance(np.ones((1, 3)), np.zeros((20, 3)), generator))
    assert math.isnan(proxy_a_distance(np.full((20, 3), np.nan), np.zeros((20, 3)), generator))
    assert proxy_a_distance(np.ones((3, 3)), np.zeros((3, 3)), generator) == 2


# --- the images it is taken of ---------------------------------------------------------------


@pytest.mark.parametrize("most", [10, 1000])
def test_no_image_is_drawn_on_both_sides(most: int):
    a, b = np.arange(100), np.arange(40, 140)
    for seed in range(20):
        first, second = draw_apart(a, b, most, np.random.default_rng(seed))
        assert len(first) == len(second) <= most
        assert len(set(a[first]) | set(b[second])) == 2 * len(first)
        assert len(first) >= min(most, 35)


def test_sets_without_a_common_image_are_drawn_from_whole():
    first, second = draw_apart(np.arange(50), np.arange(100, 130), 500, np.random.default_rng(0))
    assert sorted(second) == list(range(30))
    assert len(set(first)) == 30


def test_each_side_is_a_random_draw_of_its_own_set():
    # b is a subset of a: what both have must not become rare in a, or the two seem further apart than they are
    a, b = np.arange(400), np.arange(200)
    shares = [(draw_apart(a, b, 500, np.random.default_rng(seed))[0] < 200).mean() for seed in range(50)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)


def test_a_task_has_no_distance_from_itself():
    pool = np.random.default_rng(0).standard_normal((400, 50))
    found = []
    for seed in range(30):
        generator = np.random.default_rng(seed)
        a, b = draw_apart(np.arange(400), np.arange(400), 500, generator)
        found.append(proxy_a_distance(pool[a], pool[b], generator))
    assert np.mean(found) == pytest.approx(0, abs=0.1)
