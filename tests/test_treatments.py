"""What each treatment keeps, what it breaks, and that it touches nothing else."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import plain, plain_of
from torch.nn import functional

from whypretrain import registry
from whypretrain.networks.banks import pool_kernels
from whypretrain.treatments.treating import SUFFIXES, apply_treatment, parse, reference_of, refuse

KERNELS = (5, 3, 1, 3)
WIDTHS = (8, 10, 9, 7)
DEPTH = len(KERNELS)
CARD = plain(widths=WIDTHS, kernels=KERNELS, channels=3)
SPANS = {"all": (1, 2, 3, 4), "top-1": (4,), "bottom-1": (1,), "only-2": (2,), "only-3": (3,)}
NETWORKS = {
    "norm, colour": (3, True),
    "norm, grey": (1, True),
    "no norm, colour": (3, False),
    "no norm, grey": (1, False),
}

TREATMENTS = registry.names("treatments")
WHOLE_FILTERS = ("permute-channels", "shuffle-filters")
FROM_REFERENCE = ("rewind", "reinit")
DRAWN = tuple(t for t in TREATMENTS if t not in ("intact", *FROM_REFERENCE))
IN_PLACE = tuple(t for t in DRAWN if t not in (*WHOLE_FILTERS, "glorot"))

Weights = dict[str, np.ndarray]


def network(channels: int, norm: bool, seed: int, widths=WIDTHS, kernels=KERNELS) -> Weights:
    """Random weights, all values distinct, with a mean that isn't zero and taps that correlate."""
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(0.05, 0.3, shape).astype(np.float32)

    weights, inputs = {}, channels
    for layer, (width, kernel) in enumerate(zip(widths, kernels, strict=True), 1):
        weights[f"layer{layer}.weight"] = normal(width, inputs, kernel, kernel) + 0.3 * normal(width, inputs, 1, 1)
        if norm:
            weights[f"norm{layer}.weight"] = 1 + normal(width)
            weights[f"norm{layer}.bias"] = normal(width)
            weights[f"norm{layer}.running_mean"] = normal(width)
            weights[f"norm{layer}.running_var"] = 0.2 + normal(width) ** 2
        else:
            weights[f"layer{layer}.bias"] = normal(width)
        inputs = width
    return weights | {"head.weight": normal(4, inputs), "head.bias": normal(4)}


def treat(weights: Weights, treatment: str, layers: tuple[int, ...], seed: int = 0) -> Weights:
    """Apply a treatment, with an unrelated network, or its kernels, as the reference of those that take one."""
    norm = "norm1.weight" in weights
    reference = network(weights["layer1.weight"].shape[1], norm, seed=99)
    if reference_of(treatment) == "bank":
        reference = pool_kernels([reference], plain_of(reference), 0)
    taken = reference if reference_of(treatment) else None
    return apply_treatment(weights, treatment, layers, seed, plain_of(weights), taken)


def own_names(weights: Weights, layers: tuple[int, ...]) -> set[str]:
    return {n for n in weights for layer in layers if n.split(".")[0] in (f"layer{layer}", f"norm{layer}")}


def touched(weights: Weights, treatment: str, layers: tuple[int, ...]) -> set[str]:
    """The arrays that a treatment of the layers may change."""
    if treatment == "intact":
        return set()
    if treatment in IN_PLACE:
        return {f"layer{layer}.weight" for layer in layers}
    names = own_names(weights, layers)
    if treatment == "permute-channels":
        names |= {f"layer{layer + 1}.weight" if layer < DEPTH else "head.weight" for layer in layers}
    return names


def features(weights: Weights, images: np.ndarray) -> torch.Tensor:
    """The pooled features, computed with torch in float64, where reordered sums agree to 1e-12."""
    tensors = {name: torch.from_numpy(array).double() for name, array in weights.items()}
    x = torch.from_numpy(images).double()
    for layer in range(1, DEPTH + 1):
        x = functional.conv2d(x, tensors[f"layer{layer}.weight"], tensors.get(f"layer{layer}.bias"), padding="same")
        if f"norm{layer}.weight" in tensors:
            mean, variance, scale, shift = (
                tensors[f"norm{layer}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
            )
            x = functional.batch_norm(x, mean, variance, scale, shift)
        x = functional.relu(x)
        if layer == 2:
            x = functional.max_pool2d(x, 2)
    return x.mean(dim=(2, 3))


def logits(weights: Weights, images: np.ndarray) -> np.ndarray:
    head = torch.from_numpy(weights["head.weight"]).double(), torch.from_numpy(weights["head.bias"]).double()
    return functional.linear(features(weights, images), *head).numpy()


def random_images(channels: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((6, channels, 12, 12)).astype(np.float32)


def sorted_rows(rows: np.ndarray) -> np.ndarray:
    """A multiset of rows in its one canonical order."""
    rows = rows.reshape(len(rows), -1)
    return rows[np.lexsort(rows.T[::-1])]


# What is the same before and after a treatment of a layer, as a canonical form of (out, in, kh, kw) weights.
def set_of_filters(weight: np.ndarray) -> np.ndarray:
    return sorted_rows(weight)


def set_of_slices_of_each_filter(weight: np.ndarray) -> np.ndarray:
    return np.stack([sorted_rows(one) for one in weight])


def set_of_slices(weight: np.ndarray) -> np.ndarray:
    return sorted_rows(weight.reshape(-1, *weight.shape[2:]))


def set_of_values_of_each_slice(weight: np.ndarray) -> np.ndarray:
    return np.sort(weight.reshape(*weight.shape[:2], -1), axis=-1)


def set_of_values(weight: np.ndarray) -> np.ndarray:
    return np.sort(weight, axis=None)


def set_of_filters_but_for_inputs(weight: np.ndarray) -> np.ndarray:
    return sorted_rows(set_of_slices_of_each_filter(weight))


KEPT = {
    "permute-channels": set_of_filters_but_for_inputs,
    "shuffle-filters": set_of_filters,
    "shuffle-inputs": set_of_slices_of_each_filter,
    "shuffle-kernels": set_of_slices,
    "shuffle-taps": set_of_values_of_each_slice,
    "shuffle-weights": set_of_values,
}
# The finest thing that a treatment must break: where it were kept, the treatment would be a smaller one.
BROKEN = {
    "shuffle-inputs": (set_of_filters,),
    "shuffle-kernels": (set_of_filters_but_for_inputs,),
    "shuffle-taps": (set_of_slices,),
    "shuffle-weights": (set_of_slices, set_of_values_of_each_slice),
    "resample-kernels": (set_of_slices, set_of_values),
    "gaussian-kernels": (set_of_values,),
    "gaussian": (set_of_values,),
}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def weights(request: pytest.FixtureRequest) -> Weights:
    return network(*request.param, seed=1)


every_treatment = pytest.mark.parametrize("treatment", TREATMENTS)
every_span = pytest.mark.parametrize("layers", SPANS.values(), ids=SPANS)
every_treatment_of_every_span = pytest.mark.parametrize(
    ("treatment", "layers"),
    [
        pytest.param(treatment, layers, id=f"{treatment}.{span}")
        for treatment in TREATMENTS
        for span, layers in SPANS.items()
        if treatment != "gabor" or layers == (1,)
    ],
)


def test_the_ladder_is_complete() -> None:
    ladder = {
        "intact",
        *KEPT,
        "resample-kernels",
        "gaussian-kernels",
        "gaussian",
        "bank-layer",
        "bank-kernels",
        "gabor",
        "glorot",
        "rewind",
        "reinit",
    }
    assert set(TREATMENTS) == ladder


@every_treatment_of_every_span
def test_only_the_layers_of_the_span_are_touched(weights: Weights, treatment: str, layers: tuple[int, ...]) -> None:
    before = {name: array.tobytes() for name, array in weights.items()}
    treated = treat(weights, treatment, layers)

    assert {name: array.tobytes() for name, array in weights.items()} == before, "the input was modified"
    assert treated is not weights
    assert list(treated) == list(weights)
    for name, array in treated.items():
        assert array.dtype == np.float32
        assert array.shape == weights[name].shape
        assert array.flags.c_contiguous, "safetensors writes the memory as it lies"
        assert np.isfinite(array).all()
        if name not in touched(weights, treatment, layers):
            assert array.tobytes() == before[name]


@every_treatment_of_every_span
def test_a_treatment_changes_the_layers_it_treats(weights: Weights, treatment: str, layers: tuple[int, ...]) -> None:
    treated = treat(weights, treatment, layers)
    changed = {name for name in weights if not np.array_equal(weights[name], treated[name])}
    unchangeable = set()
    if treatment == "shuffle-taps":
        unchangeable = {"layer3.weight"}  # 1x1
    if treatment == "shuffle-inputs" and weights["layer1.weight"].shape[1] == 1:
        unchangeable = {"layer1.weight"}
    assert changed == touched(weights, treatment, layers) - unchangeable


@every_treatment
def test_a_write_into_the_treated_arrays_does_not_reach_the_input(weights: Weights, treatment: str) -> None:
    layers = (1,)
    before = {name: array.tobytes() for name, array in weights.items()}
    treated = treat(weights, treatment + "+affine-reset", layers)
    for name in touched(weights, treatment, layers):
        treated[name][...] = 7
    assert {name: array.tobytes() for name, array in weights.items()} == before


@pytest.mark.parametrize("treatment", DRAWN)
def test_the_seed_alone_decides(weights: Weights, treatment: str) -> None:
    layers = (1,) if treatment == "gabor" else (1, 2, 4)
    first, again, other = (treat(weights, treatment, layers, seed) for seed in (3, 3, 4))
    for name in touched(weights, treatment, layers):
        grey_inputs = treatment == "shuffle-inputs" and weights[name].shape[1] == 1
        constant = treatment == "glorot" and not (name.startswith("layer") and name.endswith(".weight"))
        assert first[name].tobytes() == again[name].tobytes()
        assert (first[name].tobytes() != other[name].tobytes()) != (grey_inputs or constant)


# permute-channels isn't here: with layer 1 in the span, it also changes layer 2's inputs.
@pytest.mark.parametrize("treatment", [t for t in DRAWN if t not in ("gabor", "permute-channels")])
def test_a_layer_is_treated_alike_in_every_span(weights: Weights, treatment: str) -> None:
    alone, among = treat(weights, treatment, (2,)), treat(weights, treatment, (4, 2, 1))
    for name in own_names(weights, (2,)):
        assert alone[name].tobytes() == among[name].tobytes()


@pytest.mark.parametrize("treatment", [t for t in DRAWN if t != "gabor"])
def test_layers_are_drawn_independently(treatment: str) -> None:
    weights = network(8, True, seed=1, widths=(8, 8), kernels=(3, 3))
    weights |= {name.replace("1.", "2.", 1): weights[name] for name in own_names(weights, (1,))}
    treated = apply_treatment(
        weights, treatment, (1, 2), 0, plain_of(weights), pool_kernels([weights], plain_of(weights), 0)
    )
    if treatment == "permute-channels":
        assert not np.array_equal(treated["norm1.bias"], treated["norm2.bias"])
    assert not np.array_equal(treated["layer1.weight"], treated["layer2.weight"])


@pytest.mark.parametrize("treatment", KEPT)
@every_span
def test_each_shuffle_keeps_its_multiset(weights: Weights, treatment: str, layers: tuple[int, ...]) -> None:
    treated = treat(weights, treatment, layers)
    for layer in layers:
        before, after = weights[f"layer{layer}.weight"], treated[f"layer{layer}.weight"]
        np.testing.assert_array_equal(KEPT[treatment](after), KEPT[treatment](before))


@settings(deadline=None, max_examples=60)
@given(
    treatment=st.sampled_from(sorted(KEPT)),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 5])),
    seed=st.integers(0, 2**31),
)
def test_each_shuffle_keeps_its_multiset_whatever_the_shape(
    treatment: str, shape: tuple[int, int, int], seed: int
) -> None:
    width, channels, kernel = shape
    weights = network(channels, True, seed, widths=(width,), kernels=(kernel,))
    treated = apply_treatment(weights, treatment, (1,), seed, plain_of(weights))
    before, after = weights["layer1.weight"], treated["layer1.weight"]
    np.testing.assert_array_equal(KEPT[treatment](after), KEPT[treatment](before))


@pytest.mark.parametrize(("treatment", "law"), [(t, law) for t, laws in BROKEN.items() for law in laws])
def test_each_treatment_breaks_what_a_smaller_one_keeps(
    weights: Weights, treatment: str, law: Callable[[np.ndarray], np.ndarray]
) -> None:
    treated = treat(weights, treatment, (2, 4))
    for layer in (2, 4):
        assert not np.array_equal(law(weights[f"layer{layer}.weight"]), law(treated[f"layer{layer}.weight"]))


def test_slices_and_taps_are_permuted_independently(weights: Weights) -> None:
    """One order for all filters (or all slices) would keep columns together."""
    before = weights["layer2.weight"]
    by_input = treat(weights, "shuffle-inputs", (2,))["layer2.weight"]
    sources = [
        [np.flatnonzero((one == kernel).all(axis=(1, 2)))[0] for kernel in new]
        for one, new in zip(before, by_input, strict=True)
    ]
    assert len({tuple(order) for order in sources}) > len(sources) / 2
    taps, shuffled = (w["layer2.weight"].reshape(-1, 9) for w in (weights, treat(weights, "shuffle-taps", (2,))))
    orders = {tuple(np.flatnonzero(row == tap)[0] for tap in new) for row, new in zip(taps, shuffled, strict=True)}
    assert len(orders) > len(taps) / 2


@pytest.mark.parametrize("treatment", WHOLE_FILTERS)
@every_span
def test_what_belongs_to_a_filter_moves_with_it(weights: Weights, treatment: str, layers: tuple[int, ...]) -> None:
    treated = treat(weights, treatment, layers)

    def channels(network: Weights, layer: int) -> np.ndarray:
        """Each filter, values in order since inputs may move too, beside its bias, affine and statistics."""
        rest = [network[n][:, None] for n in sorted(own_names(network, (layer,)) - {f"layer{layer}.weight"})]
        filters = network[f"layer{layer}.weight"].reshape(len(rest[0]), -1)
        return sorted_rows(np.concatenate([np.sort(filters, axis=1), *rest], axis=1))

    for layer in layers:
        np.testing.assert_array_equal(channels(treated, layer), channels(weights, layer))


@every_span
def test_permuting_channels_leaves_the_logits(weights: Weights, layers: tuple[int, ...]) -> None:
    images = random_images(weights["layer1.weight"].shape[1])
    before = logits(weights, images)
    assert before.std(axis=0).min() > 1e-3, "the network must tell the images apart"
    after = logits(treat(weights, "permute-channels", layers), images)
    np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("treatment", [t for t in TREATMENTS if t not in ("intact", "permute-channels")])
def test_all_other_treatments_change_the_logits(weights: Weights, treatment: str) -> None:
    layers = (1,) if treatment == "gabor" else (2,)
    images = random_images(weights["layer1.weight"].shape[1])
    assert np.abs(logits(treat(weights, treatment, layers), images) - logits(weights, images)).max() > 1e-3


def test_shuffling_the_top_filters_relabels_the_features(weights: Weights) -> None:
    images = random_images(weights["layer1.weight"].shape[1])
    before = features(weights, images).numpy()
    top = features(treat(weights, "shuffle-filters", (DEPTH,)), images).numpy()
    lower = features(treat(weights, "shuffle-filters", (DEPTH - 1,)), images).numpy()
    assert not np.allclose(top, before)
    np.testing.assert_allclose(np.sort(top, axis=1), np.sort(before, axis=1), atol=1e-12)
    assert not np.allclose(np.sort(lower, axis=1), np.sort(before, axis=1)), "it is not undone above"


def test_resampling_draws_existing_slices_with_replacement() -> None:
    weights = network(40, True, seed=1, widths=(50,), kernels=(3,))
    treated = apply_treatment(weights, "resample-kernels", (1,), 0, plain_of(weights))["layer1.weight"]
    existing = {kernel.tobytes() for kernel in weights["layer1.weight"].reshape(-1, 9)}
    drawn = {kernel.tobytes() for kernel in treated.reshape(-1, 9)}
    assert drawn <= existing
    assert len(drawn) / len(existing) == pytest.approx(1 - 1 / np.e, abs=0.03)  # SD 0.007 of 2000 slices


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.mean(axis=0), np.cov(rows, rowvar=False, bias=True)


@pytest.mark.parametrize("kernel", [3, 5])
def test_gaussian_kernels_keep_mean_and_covariance(kernel: int) -> None:
    weights = network(100, False, seed=1, widths=(120,), kernels=(kernel,))
    taps = kernel**2
    generator = np.random.default_rng(2)
    mixing = generator.standard_normal((taps - 2, taps)) / kernel  # a covariance of rank taps - 2
    rows = generator.uniform(-1, 1, (12000, taps - 2)) @ mixing + np.linspace(-1, 1, taps)
    weights["layer1.weight"] = rows.reshape(120, 100, kernel, kernel).astype(np.float32)
    treated = apply_treatment(weights, "gaussian-kernels", (1,), 0, plain_of(weights))["layer1.weight"]

    mean, covariance = moments(rows)
    drawn = treated.reshape(-1, taps).astype(np.float64)
    drawn_mean, drawn_covariance = moments(drawn)
    variance = np.diag(covariance)
    assert (np.abs(drawn_mean - mean) < 5 * np.sqrt(variance / len(rows))).all()
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / len(rows))
    assert (np.abs(drawn_covariance - covariance) < 5 * error).all()
    assert np.abs(covariance - np.diag(variance)).max() > 20 * error.max(), "the taps must correlate"
    missing = np.linalg.svd(mixing)[2][-2:]  # directions in which the kernels don't vary
    assert np.abs((drawn - mean) @ missing.T).max() < 1e-5
    standard = (drawn - mean) / np.sqrt(variance)
    np.testing.assert_allclose((standard**4).mean(axis=0), 3, atol=0.4)  # Gaussian, unlike what it replaces


def test_gaussian_keeps_mean_and_variance_and_nothing_else() -> None:
    weights = network(100, True, seed=1, widths=(120,), kernels=(3,))
    before = weights["layer1.weight"].astype(np.float64)
    after = apply_treatment(weights, "gaussian", (1,), 0, plain_of(weights))["layer1.weight"].astype(np.float64)
    n = before.size
    assert abs(after.mean() - before.mean()) < 5 * before.std() / np.sqrt(n)
    assert abs(after.std() / before.std() - 1) < 5 / np.sqrt(2 * n)
    assert ((after - after.mean()) ** 4).mean() / after.var() ** 2 == pytest.approx(3, abs=5 * np.sqrt(24 / n))
    correlation = np.corrcoef(after.reshape(-1, 9), rowvar=False) - np.eye(9)
    assert np.abs(correlation).max() < 5 / np.sqrt(n / 9)


@pytest.mark.parametrize("kernel", [1, 3])
def test_glorot_has_the_variance_of_the_paper_and_an_identity_behind_it(kernel: int) -> None:
    for norm in (True, False):
        weights = network(100, norm, seed=1, widths=(140,), kernels=(kernel,))
        treated = apply_treatment(weights, "glorot", (1,), 0, plain_of(weights))
        drawn = treated["layer1.weight"].astype(np.float64)
        assert abs(drawn.var() * (100 + 140) * kernel**2 / 2 - 1) < 5 * np.sqrt(2 / drawn.size)
        assert abs(drawn.mean()) < 5 * drawn.std() / np.sqrt(drawn.size)
        assert ((drawn / drawn.std()) ** 4).mean() == pytest.approx(3, abs=5 * np.sqrt(24 / drawn.size))
        untrained = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
        for name in own_names(weights, (1,)) - {"layer1.weight"}:
            assert (treated[name] == untrained[name.split(".")[1]]).all()


def test_glorot_does_not_depend_on_what_it_treats() -> None:
    one, other = (apply_treatment(network(3, True, seed), "glorot", (1, 2, 3, 4), 0, CARD) for seed in (1, 2))
    for name in own_names(one, (1, 2, 3, 4)):
        assert one[name].tobytes() == other[name].tobytes()


def test_a_slice_of_1x1_is_a_scalar(weights: Weights) -> None:
    def layer3(treatment: str) -> bytes:
        return treat(weights, treatment, (3,))["layer3.weight"].tobytes()

    assert layer3("shuffle-kernels") == layer3("shuffle-weights")
    assert layer3("gaussian-kernels") == layer3("gaussian")
    assert layer3("shuffle-taps") == layer3("intact")


@pytest.mark.parametrize("channels", [1, 3])
def test_gabor_filters_are_spread_gratings_of_the_layers_standard_deviation(channels: int) -> None:
    weights = network(channels, True, seed=1, widths=(64,), kernels=(11,))
    before = weights["layer1.weight"].astype(np.float64)
    after = apply_treatment(weights, "gabor", (1,), 0, plain_of(weights))["layer1.weight"].astype(np.float64)
    assert after.std() == pytest.approx(before.std(), rel=1e-5)

    norms = np.linalg.norm(after.reshape(64, -1), axis=1)
    np.testing.assert_allclose(norms, norms[0], rtol=1e-5)
    _, sizes, axes = np.linalg.svd(after.reshape(64, channels, 121), full_matrices=False)
    assert (sizes[:, 1:] < 1e-5 * sizes[:, :1]).all(), "one pattern in every colour"

    # The best of a grid of Gabor functions, as the docstring defines them, explains each pattern.
    thetas = (np.arange(96) + 0.5) / 96 * np.pi
    frequencies = np.geomspace(1 / 11, 0.4, 40)
    theta, frequency = (grid.reshape(-1, 1, 1) for grid in np.meshgrid(thetas, frequencies))
    y, x = np.mgrid[-5:6, -5:6]
    wave = 2 * np.pi * frequency * (x * np.cos(theta) + y * np.sin(theta))
    envelope = np.exp(-(x**2 + y**2) / (2 * np.minimum(0.56 / frequency, 11 / 4) ** 2))
    pairs = np.stack([envelope * np.cos(wave), envelope * np.sin(wave)], axis=-1).reshape(-1, 121, 2)
    explained = ((axes[:, 0] @ np.linalg.qr(pairs)[0]) ** 2).sum(axis=-1)  # (functions, patterns)
    best = explained.argmax(axis=0)
    assert (explained.max(axis=0) > 0.995).all()

    even = (np.arange(64) + 0.5) / 64
    for found, low, high in ((theta, 0, np.pi), (np.log(frequency), np.log(1 / 11), np.log(0.4))):
        np.testing.assert_allclose((np.sort(found.ravel()[best]) - low) / (high - low), even, atol=2 / 64)
    cosine, sine = (np.linalg.pinv(pairs[best]) @ axes[:, 0, :, None])[..., 0].T
    phases = np.sort(np.arctan2(-sine, cosine) % np.pi) / np.pi  # but for the pattern's sign
    np.testing.assert_allclose(phases, even, atol=3 / 64)


@pytest.mark.parametrize("treatment", FROM_REFERENCE)
@every_span
def test_layers_come_whole_from_the_reference(weights: Weights, treatment: str, layers: tuple[int, ...]) -> None:
    reference = network(weights["layer1.weight"].shape[1], "norm1.weight" in weights, seed=7)
    before = {name: array.tobytes() for name, array in reference.items()}
    treated = apply_treatment(weights, treatment, layers, 0, plain_of(weights), reference)
    for name in own_names(weights, layers):
        assert treated[name].tobytes() == before[name]
        treated[name][...] = 7
    assert {name: array.tobytes() for name, array in reference.items()} == before


@pytest.mark.parametrize("treatment", FROM_REFERENCE)
def test_a_missing_or_foreign_reference_is_refused(weights: Weights, treatment: str) -> None:
    with pytest.raises(ValueError, match="none was given"):
        apply_treatment(weights, treatment, (1,), 0, plain_of(weights))
    channels, norm = weights["layer1.weight"].shape[1], "norm1.weight" in weights
    for foreign in (network(channels + 1, norm, 7), network(channels, not norm, 7)):
        with pytest.raises(ValueError, match="same architecture"):
            apply_treatment(weights, treatment, (1,), 0, plain_of(weights), foreign)


def test_references_are_named() -> None:
    assert {t: reference_of(t + "+affine-reset") for t in TREATMENTS if reference_of(t)} == {
        "rewind": "epoch-0",
        "reinit": "none",
        "bank-kernels": "bank",
        "bank-layer": "bank",
    }


@every_treatment_of_every_span
def test_affine_reset_sets_the_treated_norms_to_one_and_zero(
    weights: Weights, treatment: str, layers: tuple[int, ...]
) -> None:
    plain, reset = (treat(weights, treatment + suffix, layers) for suffix in ("", "+affine-reset"))
    assert list(reset) == list(plain)
    for name in weights:
        part, _, kind = name.partition(".")
        if part in {f"norm{layer}" for layer in layers} and kind in ("weight", "bias"):
            assert (reset[name] == (1 if kind == "weight" else 0)).all()
            assert reset[name].dtype == np.float32
        else:
            assert reset[name].tobytes() == plain[name].tobytes()


@every_treatment
def test_a_treatment_is_parsed_into_name_and_suffixes(treatment: str) -> None:
    assert parse(treatment) == (treatment, ())
    assert parse(f"{treatment}+affine-reset") == (treatment, ("affine-reset",))


@pytest.mark.parametrize("wrong", ["shuffle", "", "Intact", "shuffle_kernels", "__init__", "+affine-reset"])
def test_an_unknown_treatment_is_refused_with_the_known_ones(wrong: str) -> None:
    for use in (
        parse,
        reference_of,
        lambda t: refuse(t, (1,), CARD),
        lambda t: apply_treatment({}, t, (), 0, CARD),
    ):
        with pytest.raises(ValueError, match="unknown treatment") as error:
            use(wrong)
        assert all(treatment in str(error.value) for treatment in TREATMENTS)


@pytest.mark.parametrize("wrong", ["intact+reset", "intact+", "intact+affine-reset+x"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(wrong: str) -> None:
    with pytest.raises(ValueError, match="unknown suffix") as error:
        parse(wrong)
    assert all(f"+{suffix}" in str(error.value).split("allowed")[1] for suffix in SUFFIXES)


def test_a_repeated_suffix_is_refused() -> None:
    with pytest.raises(ValueError, match="more than once"):
        parse("gaussian+affine-reset+affine-reset")


@every_treatment
@every_span
def test_what_is_refused_is_not_applied(treatment: str, layers: tuple[int, ...]) -> None:
    reason = refuse(treatment, layers, CARD)
    assert (reason is not None) == (treatment == "gabor" and layers != (1,))
    if reason is not None:
        with pytest.raises(ValueError, match="layer 1 alone"):
            apply_treatment(network(3, True, 1), treatment, layers, 0, CARD)


def test_gabor_filters_are_refused_in_small_kernels() -> None:
    reason = refuse("gabor+affine-reset", (1,), plain(widths=(2, 2), kernels=(3, 5)))
    assert reason is not None
    assert "3x3" in reason
    assert "5x5 or more" in reason
    assert refuse("gabor", (1,), plain(widths=(2, 2), kernels=(7, 3))) is None


@every_treatment
@pytest.mark.parametrize("layer", [0, DEPTH + 1])
def test_a_layer_that_is_not_there_is_refused(treatment: str, layer: int) -> None:
    with pytest.raises(ValueError, match=f"no layer {layer}; the architecture has layers 1 to {DEPTH}"):
        apply_treatment(network(3, True, 1), treatment, (1, layer), 0, CARD)


def test_permutations_are_the_same_wherever_they_are_drawn() -> None:
    """Starts of the same seed must agree between machines, and numpy versions must not slip in new draws."""
    weights: Weights = {
        "layer1.weight": np.arange(6 * 4 * 9, dtype=np.float32).reshape(6, 4, 3, 3),
        "layer1.bias": np.zeros(6, np.float32),
        "head.weight": np.zeros((2, 6), np.float32),
        "head.bias": np.zeros(2, np.float32),
    }
    digest = hashlib.sha256()
    for treatment in (*KEPT, "resample-kernels"):
        digest.update(apply_treatment(weights, treatment, (1,), 3, plain_of(weights))["layer1.weight"].tobytes())
    assert digest.hexdigest()[:16] == "44d1d35b2ee6c38a"


def test_treating_does_not_import_torch() -> None:
    program = (
        "import sys\n"
        "from whypretrain import registry\n"
        "from whypretrain.treatments import treating\n"
        "for name in registry.names('treatments'): registry.load('treatments', name)\n"
        "assert 'whypretrain.treatments.ladder.shuffle_kernels' in sys.modules\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)\n"
    )
    workflow = Path(registry.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", program], cwd=workflow, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.strip()) == (0, "")
