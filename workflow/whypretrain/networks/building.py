"""From an architecture's name and card to a network: plain convnets, those of torchvision and those of timm."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from whypretrain.networks import convnet
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import initialise_head, without_head
from whypretrain.networks.network import Network, Weights
from whypretrain.networks.plain import PlainNetwork

CLASSES = 1000  # of a network as it is initialised: its head is thrown away
# what the constructors of some want beside the number of classes: no auxiliary heads, and an initialisation of seconds
OPTIONS: dict[str, dict[str, Any]] = {
    "torchvision/googlenet": {"aux_logits": False, "init_weights": True},
    "torchvision/inception_v3": {"aux_logits": False, "init_weights": True},
}


def module_of(network: str, classes: int) -> nn.Module:
    """Return a new network of torchvision or timm (`torchvision/resnet18`), initialised as it is there.

    Raises ValueError where there is no such network, or no timm.
    """
    library, _, name = network.partition("/")
    if library == "torchvision":
        from whypretrain.networks.vision import torchvision

        found: nn.Module = torchvision.models.get_model(
            name, weights=None, num_classes=classes, **OPTIONS.get(network, {})
        )
        return found
    from whypretrain.networks.vision import timm

    if timm is None:
        raise ValueError(f"'{network}' is a network of timm, which isn't installed: pip install timm")
    return timm.create_model(name, num_classes=classes)


def build(card: Card, classes: int, copies: int = 1, layer: int | None = None) -> Network:
    """Return the network of a card; all its weights are still to be loaded.

    Raises ValueError for several copies of one that is no plain convnet.
    """
    told = {key: value for key, value in card.architecture.items() if key != "name"}
    if told.get("network", "convnet") == "convnet":
        return Network(PlainNetwork(convnet.Parameters(**told), classes, copies), card, copies, layer)
    if copies > 1:
        raise ValueError(f"replicas are for plain convnets; networks as '{told['network']}' train one by one")
    module = module_of(told["network"], classes)
    if told["stem"] == "small":
        _make_stem_small(module, card)
    if getattr(module.get_submodule(card.head), "bias", None) is None:  # ours have one
        head = nn.Conv2d(card.features, classes, 1) if card.head_convolves else nn.Linear(card.features, classes)
        _put(module, card.head, head)
    return Network(module, card, 1, layer)


def _make_stem_small(module: nn.Module, card: Card) -> None:
    """Put a 3x3 convolution of stride 1 in the place of the first, and nothing in that of the pooling behind it."""
    first = module.get_submodule(card.stem_convolution)
    assert isinstance(first, nn.Conv2d)
    small = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=first.bias is not None)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    if small.bias is not None:
        nn.init.zeros_(small.bias)
    _put(module, card.stem_convolution, small)
    if card.stem_pooling:
        _put(module, card.stem_pooling, nn.Identity())


def _put(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, new)


def loaded(card: Card, weights: Weights) -> Network:
    """Return the network of a card with weights, under the head that they have."""
    network = build(card, len(weights[f"{card.head}.weight"]))
    network.load(weights)
    return network


def with_new_head(card: Card, weights: Weights, classes: int, stream: np.random.Generator) -> Network:
    """Return the network of a card with the weights of its layers, under a head that is drawn."""
    return loaded(card, without_head(card, weights) | initialise_head(card, classes, stream))


def initialise_module(card: Card, stream: np.random.Generator) -> Weights:
    """Return fresh weights of all layers, without a head, as torch draws them for this architecture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(stream.integers(2**63)))
        network = build(card, CLASSES)
    return without_head(card, network.weights())


def side_by_side(networks: Sequence[Network]) -> Network:
    """Return networks of one architecture as the copies of one; a single one as it is."""
    first = networks[0]
    if len(networks) == 1:
        return first
    weights = [network.weights() for network in networks]
    whole = build(first.card, len(weights[0][f"{first.card.head}.weight"]), len(networks))
    whole.load({name: np.concatenate([own[name] for own in weights]) for name in weights[0]})
    return whole.to(first.device).train(first.training)
