"""What putting a layer back costs, and how far weights moved: by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import plain

from whypretrain.measures.comparing import relative_l2
from whypretrain.measures.readouts.criticality import criticality
from whypretrain.networks.building import build
from whypretrain.networks.card import Card, Layer
from whypretrain.networks.initialisation import initialise, initialise_head

torch.set_num_threads(1)

Weights = dict[str, np.ndarray]


def described() -> Card:
    return plain(widths=(6, 8, 5), kernels=(3, 3, 1), pool_after=(1,))


def layers(*numbers: int) -> list[Layer]:
    return [described().layer(number) for number in numbers]


def trained(seed: int) -> Weights:
    generator = np.random.default_rng(seed)
    weights = initialise(described(), generator) | initialise_head(described(), 4, generator)
    for name, array in weights.items():
        if array.ndim == 1:
            moved = array + 0.2 * generator.standard_normal(array.shape)
            weights[name] = (np.abs(moved) + 0.1 if name.endswith("running_var") else moved).astype(np.float32)
    return weights


def images() -> torch.Tensor:
    return torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def predictions(weights: Weights) -> torch.Tensor:
    network = build(described(), 4)
    network.load(weights)
    return network.eval()(images()).argmax(1)


def test_putting_back_a_networks_own_layers_loses_exactly_nothing():
    final = trained(0)
    copy = {name: array.copy() for name, array in final.items()}
    found = criticality(build(described(), 4), final, copy, layers(1, 2, 3), images(), predictions(final))
    assert found == [(1, 0.0), (2, 0.0), (3, 0.0)]


def test_each_layer_is_put_back_alone_with_its_norm():
    final, back = trained(0), trained(1)
    truth = predictions(final)
    found = criticality(build(described(), 4), final, back, layers(3, 1), images(), truth)
    for (layer, loss), expected in zip(found, (3, 1), strict=True):
        assert layer == expected
        arrays = [f"layer{layer}.weight"]
        arrays += [f"norm{layer}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
        alone = final | {name: back[name] for name in arrays}
        assert loss == pytest.approx(1 - float((predictions(alone) == truth).double().mean()))
        assert loss > 0


def two_layers(first: float, second: float) -> Weights:
    """A network that tells images of 1 from images of 0 where both weights are positive."""
    return {
        "layer1.weight": np.full((1, 1, 1, 1), first, np.float32),
        "layer1.bias": np.zeros(1, np.float32),
        "layer2.weight": np.full((1, 1, 1, 1), second, np.float32),
        "layer2.bias": np.zeros(1, np.float32),
        "head.weight": np.array([[0], [1]], np.float32),
        "head.bias": np.array([0.5, 0], np.float32),
    }


def test_a_value_by_hand():
    card = plain(widths=(1, 1), kernels=(1, 1), norm="none")
    network, first, second = build(card, 2), card.layer(1), card.layer(2)
    batch = torch.tensor([0.0, 1.0, 1.0, 1.0])[:, None, None, None].expand(4, 1, 2, 2)
    truth = torch.tensor([0, 1, 1, 1])
    # back in layer 1 the weight is negative: all become class 0; in layer 2 it is another positive one
    assert criticality(network, two_layers(1, 1), two_layers(-1, 2), (first, second), batch, truth) == [
        (1, 0.75),
        (2, 0.0),
    ]
    # a network that is wrong in three of four gains what it lacks
    assert criticality(network, two_layers(1, -1), two_layers(1, 1), (second,), batch, truth) == [(2, -0.75)]


def test_layers_of_another_architecture_are_refused():
    final, back = trained(0), trained(1)
    back["layer2.weight"] = back["layer2.weight"][:3]
    with pytest.raises(ValueError, match="same architecture"):
        criticality(build(described(), 4), final, back, layers(2), images(), predictions(final))


@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_a_distance_is_relative_to_the_start(factor: float, scale: float):
    start = scale * np.random.default_rng(0).standard_normal((4, 3, 3, 3))
    assert relative_l2(start, factor * start) == pytest.approx(abs(factor - 1), abs=1e-12)


def test_a_distance_by_hand():
    assert relative_l2(np.array([[3.0], [4.0]]), np.array([[3.0], [16.0]])) == 12 / 5
    assert relative_l2(np.ones(3, np.float32), np.ones(3, np.float32)) == 0


def test_float32_weights_are_measured_in_float64():
    start, final = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)
    moved = sum((float(f) - float(s)) ** 2 for s, f in zip(start, final, strict=True))
    assert relative_l2(start, final) == pytest.approx(math.sqrt(moved / sum(float(s) ** 2 for s in start)), rel=1e-12)


@pytest.mark.parametrize("final", [0.0, 1.0])
def test_from_a_start_of_zeros_there_is_no_distance(final: float):
    assert math.isnan(relative_l2(np.zeros(5), np.full(5, final)))
