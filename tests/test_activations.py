"""Activations of each layer: what the network goes on from, and the rows that CKA takes."""

from typing import Literal

import numpy as np
import pytest
import torch
from nets import layer_activations, plain
from torch.nn import functional

from whypretrain.measures.comparing import positions
from whypretrain.networks.building import build
from whypretrain.networks.network import Network

torch.set_num_threads(1)

NORMS = pytest.mark.parametrize("norm", ["batch", "none"])


def network(norm: Literal["batch", "none"] = "batch") -> Network:
    torch.manual_seed(0)
    own = plain(widths=(6, 8, 5), kernels=(5, 3, 1), pool_after=(1, 3), norm=norm)
    built = build(own, 4)
    for module in built.norms():
        torch.nn.init.normal_(module.running_mean, 0, 0.2)
        torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return built.eval()


def images(n: int = 7) -> torch.Tensor:
    return torch.randn(n, 1, 12, 12, generator=torch.Generator().manual_seed(0))


@NORMS
@torch.no_grad()
def test_going_on_from_each_layer_gives_the_networks_features(norm: Literal["batch", "none"]):
    built = network(norm)
    activations = dict(layer_activations(built, images()))
    assert list(activations) == [1, 2, 3]
    for start, x in activations.items():
        assert x.shape == (7, {1: 6, 2: 8, 3: 5}[start], *((12, 12) if start == 1 else (6, 6)))
        if start in (1, 3):
            x = functional.max_pool2d(x, 2)
        for number in range(start + 1, 4):
            x = built.module.get_submodule(f"layer{number}")(x)
            x = built.module.get_submodule(f"norm{number}")(x) if norm == "batch" else x
            x = functional.max_pool2d(x.clamp(min=0), 2) if number == 3 else x.clamp(min=0)
        torch.testing.assert_close(x.mean((2, 3)), built.features(images()), rtol=1e-5, atol=1e-6)


def test_they_follow_the_nonlinearity():
    for _, activation in layer_activations(network(), images()):
        assert activation.min() == 0
        assert activation.max() > 0


@pytest.mark.parametrize("training", [True, False])
def test_they_are_those_of_evaluation_and_leave_the_network_as_it_was(training: bool):
    built = network().train(training)
    before = {name: tensor.clone() for name, tensor in built.module.state_dict().items()}
    found = dict(layer_activations(built, images()))
    assert all(module.training == training for module in built.module.modules())
    for name, tensor in built.module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    # an image's activations don't depend on the images beside it, as they would in training
    for number, alone in layer_activations(built, images()[:1]):
        torch.testing.assert_close(alone, found[number][:1], rtol=1e-5, atol=1e-6)


def test_the_mode_comes_back_also_where_the_iterator_is_left():
    built = network().train()
    iterator = layer_activations(built, images())
    next(iterator)
    del iterator
    assert built.training


def test_no_gradients_are_kept():
    for _, activation in layer_activations(network(), images()):
        assert not activation.requires_grad
        assert torch.is_grad_enabled()  # the caller's own business


def test_images_and_layers_are_not_changed():
    batch = images()
    found = [(activation, activation.clone()) for _, activation in layer_activations(network(), batch)]
    torch.testing.assert_close(batch, images(), rtol=0, atol=0)
    for activation, as_yielded in found:
        torch.testing.assert_close(activation, as_yielded, rtol=0, atol=0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_each_position_of_each_image_is_a_row(memory_format: torch.memory_format):
    activation = torch.randn(3, 4, 2, 5).contiguous(memory_format=memory_format)
    found = positions(activation)
    assert found.shape == (30, 4)
    for n, y, x in np.ndindex(3, 2, 5):
        np.testing.assert_array_equal(found[n * 10 + y * 5 + x], activation[n, :, y, x].numpy())
