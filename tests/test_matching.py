"""Weight matching: it finds permuted channels again, keeps the function, and never gets worse."""

from functools import cache
from typing import Literal

import numpy as np
import pytest
import torch
from nets import plain

from whypretrain.networks import couplings as matching
from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.couplings import Coupling, Part, couplings, match
from whypretrain.networks.initialisation import initialise, initialise_head
from whypretrain.treatments.treating import apply_treatment

torch.set_num_threads(1)

Weights = dict[str, np.ndarray]
Norm = Literal["batch", "none"]
NORMS = pytest.mark.parametrize("norm", ["batch", "none"])
LAYERS = (1, 2, 3)


@cache
def coupled(norm: "Norm" = "batch", layers: tuple[int, ...] = LAYERS) -> list[Coupling]:
    """The channels of each of some layers."""
    return [couplings(described(norm), 12)[layer - 1] for layer in layers]


def described(norm: Norm) -> Card:
    return plain(widths=(8, 12, 10), kernels=(5, 3, 1), pool_after=(1,), norm=norm)


def trained(norm: Norm, seed: int = 0) -> Weights:
    """Weights as training leaves them: no bias, affine parameter or statistic at its first value."""
    generator = np.random.default_rng(seed)
    own = described(norm)
    weights = initialise(own, generator) | initialise_head(own, 4, generator)
    for name, array in weights.items():
        if array.ndim == 1:
            moved = array + 0.2 * generator.standard_normal(array.shape)
            weights[name] = (np.abs(moved) + 0.1 if name.endswith("running_var") else moved).astype(np.float32)
    return weights


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def likeness(a: Weights, b: Weights) -> float:
    """The sum of products of all parameters, which matching makes large."""
    return sum(float(np.vdot(a[name].astype(np.float64), b[name])) for name in a if ".running_" not in name)


@torch.no_grad()
def logits(weights: Weights, norm: Norm) -> torch.Tensor:
    network = build(described(norm), 4)
    network.load(weights)
    return network.eval()(torch.randn(16, 1, 12, 12, generator=torch.Generator().manual_seed(0)))


@NORMS
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("span", [(1,), (2,), (3,), (1, 2, 3)])
def test_permuted_channels_are_found_again(norm: Norm, seed: int, span: tuple[int, ...]):
    weights = trained(norm, seed)
    permuted = apply_treatment(weights, "permute-channels", span, seed, described(norm))
    assert any((permuted[name] != weights[name]).any() for name in weights)
    found = match(weights, permuted, coupled(norm), stream(seed))
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype


@NORMS
@pytest.mark.parametrize("seed", range(3))
def test_the_function_is_kept_and_other_channels_come_to_be(norm: Norm, seed: int):
    a, b = trained(norm, seed), trained(norm, seed + 100)
    found = match(a, b, coupled(norm), stream(seed))
    assert (found["layer2.weight"] != b["layer2.weight"]).any()
    torch.testing.assert_close(logits(found, norm), logits(b, norm), rtol=1e-4, atol=1e-5)
    for name in b:  # the same numbers in other places, nothing else
        np.testing.assert_array_equal(np.sort(found[name], axis=None), np.sort(b[name], axis=None))


@NORMS
@pytest.mark.parametrize("seed", range(3))
def test_the_likeness_never_falls_from_sweep_to_sweep(norm: Norm, seed: int, monkeypatch: pytest.MonkeyPatch):
    a, b = trained(norm, seed), trained(norm, seed + 100)
    course = [likeness(a, b)]
    for sweeps in range(1, 8):
        monkeypatch.setattr(matching, "SWEEPS", sweeps)
        course.append(likeness(a, match(a, b, coupled(norm), stream(seed))))
    assert course[1] > course[0]
    assert course == sorted(course)


@NORMS
def test_no_single_layer_could_do_better(norm: Norm):
    a, b = trained(norm), trained(norm, 100)
    found = match(a, b, coupled(norm), stream())
    for layer in LAYERS:  # matching it alone has nothing to move
        assert likeness(a, match(a, found, coupled(norm, (layer,)), stream())) == likeness(a, found)


def test_two_channels_are_swapped_by_hand():
    def tiny(first: list[float], head: list[float]) -> Weights:
        weight = np.array(first, np.float32).reshape(2, 1, 1, 1)
        return {"layer1.weight": weight, "head.weight": np.array([head], np.float32)}

    places = np.array([[0, 1]])
    parts = (Part("layer1.weight", 0, places), Part("head.weight", 1, places))
    swapped = Coupling(2, 1, parts, ("layer1.weight",))
    # products as they stand: 1*2 + 2*1 + 1*1 + 1*1 = 6; swapped: 1*1 + 2*2 + 1*1 + 1*1 = 7
    a, b = tiny([1, 2], [1, 1]), tiny([2, 1], [1, 1])
    np.testing.assert_array_equal(match(a, b, [swapped], stream())["layer1.weight"].ravel(), [1, 2])
    # the head speaks against it: 4 + 10*0.5 as they stand, 5 + 0 swapped
    a, b = tiny([1, 2], [10, 0]), tiny([2, 1], [0.5, 0])
    np.testing.assert_array_equal(match(a, b, [swapped], stream())["layer1.weight"].ravel(), [2, 1])


def test_statistics_follow_but_do_not_count():
    a, b = trained("batch"), trained("batch", 100)
    other = {name: stream().permutation(array) if ".running_" in name else array for name, array in a.items()}
    found, again = match(a, b, coupled(), stream()), match(other, b, coupled(), stream())
    for name in b:
        np.testing.assert_array_equal(found[name], again[name])
    order = [int((b["norm2.weight"] == value).nonzero()[0][0]) for value in found["norm2.weight"]]
    assert order != sorted(order)
    np.testing.assert_array_equal(found["norm2.running_mean"], b["norm2.running_mean"][order])
    np.testing.assert_array_equal(found["norm2.running_var"], b["norm2.running_var"][order])


def test_layers_not_named_keep_their_order():
    a, b = trained("batch"), trained("batch", 100)
    found = match(a, b, coupled("batch", (1, 3)), stream())
    for name in ("norm2.weight", "norm2.bias", "norm2.running_mean"):
        np.testing.assert_array_equal(found[name], b[name])
    assert (found["norm1.weight"] != b["norm1.weight"]).any()


def test_what_it_is_given_stays_as_it_is():
    a, b = trained("batch"), trained("batch", 100)
    copies = [{name: array.copy() for name, array in each.items()} for each in (a, b)]
    match(a, b, coupled(), stream())
    assert match(b, b, coupled(), stream()) is not b  # also where nothing moves
    for each, copy in zip((a, b), copies, strict=True):
        for name in each:
            np.testing.assert_array_equal(each[name], copy[name])


def test_the_order_of_arrays_does_not_matter():
    a, b = trained("batch"), trained("batch", 100)
    found, again = match(a, b, coupled(), stream()), match(a, dict(reversed(b.items())), coupled(), stream())
    for name in b:
        np.testing.assert_array_equal(found[name], again[name])


def test_weights_that_are_not_finite_are_refused():
    a, b = trained("batch"), trained("batch", 100)
    b["layer2.weight"] = np.full_like(b["layer2.weight"], np.nan)
    with pytest.raises(ValueError, match="invalid numeric"):
        match(a, b, coupled(), stream())
