"""The network in torch: it computes what its weights say, and its statistics are those of the images."""

from typing import Literal

import numpy as np
import pytest
import torch
from nets import plain
from torch.nn import functional

from whypretrain.networks import network as network_module
from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import initialise, initialise_head
from whypretrain.networks.network import Network, reestimate_statistics
from whypretrain.randomness import stream
from whypretrain.treatments.treating import apply_treatment

torch.set_num_threads(1)

Weights = dict[str, np.ndarray]


def described(norm: Literal["batch", "none"] = "batch") -> Card:
    return plain(widths=(6, 8, 5), kernels=(5, 3, 1), pool_after=(1,), norm=norm)


def trained(norm: Literal["batch", "none"] = "batch", seed: int = 0) -> Weights:
    """Weights as training leaves them: no bias, affine parameter or statistic at its first value."""
    generator = np.random.default_rng(seed)
    own = described(norm)
    weights = initialise(own, generator) | initialise_head(own, 4, generator)
    for name, array in weights.items():
        if array.ndim == 1:
            moved = array + 0.2 * generator.standard_normal(array.shape)
            weights[name] = (np.abs(moved) + 0.1 if name.endswith("running_var") else moved).astype(np.float32)
    return weights


def network(weights: Weights, norm: Literal["batch", "none"] = "batch") -> Network:
    built = build(described(norm), 4)
    built.load(weights)
    return built.eval()


def images(n: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 1, 12, 12, generator=torch.Generator().manual_seed(seed))


NORMS = pytest.mark.parametrize("norm", ["batch", "none"])


@NORMS
@torch.no_grad()
def test_the_network_is_its_layers_one_after_the_other(norm: Literal["batch", "none"]):
    weights = trained(norm)
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    x = images()
    for layer in described(norm).layers:
        name, place = f"layer{layer.number}", f"norm{layer.number}"
        padding = layer.weight.kernel[0] // 2
        x = functional.conv2d(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), padding=padding)
        if norm == "batch":
            mean, variance = (tensors[f"{place}.running_{which}"][:, None, None] for which in ("mean", "var"))
            scale, shift = (tensors[f"{place}.{which}"][:, None, None] for which in ("weight", "bias"))
            x = (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift
        x = x.clamp(min=0)
        if layer.number == 1:
            x = functional.max_pool2d(x, 2)
    logits = x.mean((2, 3)) @ tensors["head.weight"].T + tensors["head.bias"]
    torch.testing.assert_close(network(weights, norm)(images()), logits, rtol=1e-4, atol=1e-5)


@NORMS
@pytest.mark.parametrize("span", [(1, 2, 3), (1,), (2,), (3,)])
@torch.no_grad()
def test_permuting_channels_leaves_the_logits(norm: Literal["batch", "none"], span: tuple[int, ...]):
    weights = trained(norm)
    permuted = apply_treatment(weights, "permute-channels", span, 1, described(norm))
    moved = f"layer{span[0]}.weight"
    assert (permuted[moved] != weights[moved]).any()
    before, after = (network(each, norm)(images()) for each in (weights, permuted))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    shuffled = apply_treatment(weights, "shuffle-filters", span, 1, described(norm))
    assert (network(shuffled, norm)(images()) - before).abs().max() > 0.01


@torch.no_grad()
def test_shuffling_the_last_layers_filters_is_a_relabelling_of_the_features():
    weights = trained()
    shuffled = apply_treatment(weights, "shuffle-filters", (3,), 1, described())
    before, after = (network(each).features(images()) for each in (weights, shuffled))
    order = [int((before == column[:, None]).all(0).nonzero()) for column in after.T]
    assert sorted(order) == list(range(5))
    assert order != list(range(5))


def test_weights_come_back_as_they_were_put_in():
    weights = trained()
    found = network(weights).weights()
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array)


def test_weights_read_out_are_a_copy():
    built = network(trained())
    found = built.weights()
    before = found["layer1.weight"].copy()
    with torch.no_grad():
        built.module.layer1.weight += 1  # type: ignore[operator]
    np.testing.assert_array_equal(found["layer1.weight"], before)


@pytest.mark.parametrize("change", ["lacks", "has too many"])
def test_weights_that_do_not_fit_are_refused(change: str):
    weights = trained()
    if change == "lacks":
        del weights["layer2.weight"]
    else:
        weights["layer4.weight"] = weights["layer2.weight"]
    with pytest.raises(ValueError, match="don't fit the network"):
        build(described(), 4).load(weights)


@torch.no_grad()
def test_reestimated_statistics_are_the_mean_and_variance_of_the_activations():
    built, batch = network(trained()), images(200)
    reestimate_statistics(built, batch)
    # one batch holds all: layer 1's statistics are those of the convolution's outputs
    outputs = built.module.layer1(batch)  # type: ignore[operator]
    torch.testing.assert_close(built.module.norm1.running_mean, outputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(built.module.norm1.running_var, outputs.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    # a deeper layer's are those behind the norms before it as they work in training, on this very batch
    built.train()
    seen: list[torch.Tensor] = []
    built.module.layer3.register_forward_hook(lambda module, inputs, output: seen.append(output))
    mean, variance = built.module.norm3.running_mean.clone(), built.module.norm3.running_var.clone()  # type: ignore[operator]
    built.features(batch)
    torch.testing.assert_close(mean, seen[0].mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance, seen[0].var((0, 2, 3)), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_statistics_of_several_batches_are_those_of_all_images_though_they_come_sorted_by_class(
    monkeypatch: pytest.MonkeyPatch,
):
    built = network(trained())
    # two classes that differ in brightness: a batch of one of them has another spread than both
    sorted_by_class = torch.cat([images(300), images(301) + 5])
    outputs = built.module.layer1(sorted_by_class)  # type: ignore[operator]
    monkeypatch.setattr(network_module, "BATCH", 50)
    reestimate_statistics(built, sorted_by_class)
    torch.testing.assert_close(built.module.norm1.running_mean, outputs.mean((0, 2, 3)), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(built.module.norm1.running_var, outputs.var((0, 2, 3)), rtol=5e-2, atol=1e-3)
    one_class = built.module.layer1(sorted_by_class[:50]).var((0, 2, 3))  # type: ignore[operator]
    assert (one_class < 0.9 * outputs.var((0, 2, 3))).any()


@torch.no_grad()
def test_no_batch_of_one_image_is_left():
    built = network(trained())
    reestimate_statistics(built, images(257))
    assert torch.isfinite(built.module.norm3.running_var).all()  # type: ignore[operator]


def test_reestimating_touches_statistics_alone_and_forgets_the_old_ones():
    weights, other = trained(), trained()
    for name in other:
        if "running" in name:
            other[name] = other[name] * 50 + 3
    found = []
    for each in (weights, other):
        built = network(each)
        momentum = built.module.norm1.momentum
        reestimate_statistics(built, images())
        assert built.module.norm1.momentum == momentum
        assert not built.training
        found.append(built.weights())
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array)
        assert ("running" in name) == (array != weights[name]).any()


@torch.no_grad()
def test_stale_statistics_matter():
    # why they are re-estimated in every arm
    weights = trained()
    reestimated = network(weights)
    reestimate_statistics(reestimated, images(200))
    assert (reestimated(images()) - network(weights)(images())).abs().max() > 0.1


def test_reestimating_again_forgets_the_first_time():
    once, twice = network(trained()), network(trained())
    reestimate_statistics(twice, images(seed=1) * 5)
    for built in (once, twice):
        reestimate_statistics(built, images())
    for name, array in once.weights().items():
        np.testing.assert_array_equal(twice.weights()[name], array)


def test_without_norm_there_is_nothing_to_reestimate():
    built = network(trained("none"), "none")
    reestimate_statistics(built, images())
    for name, array in trained("none").items():
        np.testing.assert_array_equal(built.weights()[name], array)


# --- initialisation ------------------------------------------------------------------------


def test_fresh_weights_have_the_variance_of_he():
    own = plain(widths=(64, 64), kernels=(5, 3))
    weights = initialise(own, np.random.default_rng(0))
    assert weights["layer1.weight"].var() == pytest.approx(2 / 25, rel=0.15)
    assert weights["layer2.weight"].var() == pytest.approx(2 / (64 * 9), rel=0.05)
    assert (weights["norm1.weight"] == 1).all()
    assert (weights["norm1.bias"] == 0).all()


def test_scratch_differs_from_every_source_and_from_every_other_seed_and_architecture():
    own = described()
    drawn = [stream("scratch-init", seed, name) for seed in range(5) for name in ("shallow", "deep")]
    drawn += [stream("source-init", seed, "shallow", source) for seed in range(5) for source in ("glyphs", "none")]
    weights = [initialise(own, each)["layer1.weight"].ravel() for each in drawn]
    correlation = np.corrcoef(np.array(weights))[np.triu_indices(len(weights), 1)]
    assert np.abs(correlation).max() < 0.5  # 150 numbers each: a standard deviation of 0.08


def test_the_smallest_size_is_the_smallest_that_runs():
    card = plain(widths=(2, 2, 2), kernels=(3, 3, 3), pool_after=(1, 2, 3))
    built = build(card, 2)
    assert card.least == 8
    assert built(torch.zeros(2, 1, 8, 8)).shape == (2, 2)
    with pytest.raises(RuntimeError):
        built(torch.zeros(2, 1, 7, 7))
