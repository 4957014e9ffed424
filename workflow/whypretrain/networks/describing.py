"""Finding the card of a network of torchvision or timm, by a forward pass on the meta device and by its library."""

import difflib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from whypretrain.networks.building import CLASSES, module_of
from whypretrain.networks.card import Card, nearest
from whypretrain.networks.tracing import Trace, trace
from whypretrain.networks.vision import timm, torchvision

LARGER = 32  # pixels by which images are made larger, to see whether a network takes other sizes
USUAL = 224  # pixels
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def describe(network: str) -> Card:
    """Return the card of a network (`torchvision/resnet18`, `timm/tf_efficientnet_lite0`).

    Raises ValueError where there is no such network, with the nearest names, and where it is none that classifies
    images by one linear head.
    """
    library, _, name = network.partition("/")
    allowed = torchvision.models.list_models(torchvision.models) if library == "torchvision" else _of_timm()
    if name.partition(".")[0] not in allowed:
        near = difflib.get_close_matches(name, allowed, 3, 0.5)
        raise ValueError(f"{library} has no classification network '{name}'" + nearest(near))
    images = _of_library(library, name)
    try:  # some can only be made elsewhere, and are then moved
        with torch.device("meta"):
            module = module_of(network, CLASSES).eval()
    except (NotImplementedError, RuntimeError):
        module = module_of(network, CLASSES).eval().to("meta")
    channels = images["channels"]

    def blank(side: int) -> Tensor:
        return torch.empty(1, channels, side, side, device="meta")

    if not _runs(module, blank(images["size"])):  # some have published weights for larger images alone
        images["size"] = USUAL
    size = images["size"]
    try:
        found = trace(module, blank(size))
    except ValueError as error:
        raise ValueError(f"'{name}': {error}") from None
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise ValueError(f"'{name}' can't be run on images ({channels}, {size}, {size}): {reason}") from None
    fixed = not _runs(module, blank(size + LARGER))
    least = size if fixed else max(_stride(found, size), _least(lambda side: _runs(module, blank(side)), size))
    images |= {"least": least, "fixed": fixed, "head_convolves": found.head_convolves, **_stem(module, found, size)}
    made_by = f"{library} {(torchvision if library == 'torchvision' else timm).__version__.split('+')[0]}"
    return Card(found.layers, found.head, found.features, made_by=made_by, **images)


def _of_timm() -> list[str]:
    if timm is None:
        raise ValueError("timm isn't installed: pip install timm")
    return list(timm.list_models())


def _of_library(library: str, name: str) -> dict[str, Any]:
    """Return size, channels and constants of the images that a network is made for."""
    if library == "timm":
        told = timm.models.get_pretrained_cfg(name)
        assert told is not None  # its name is known
        channels, size, _ = told.input_size
        return {"size": size, "channels": channels, "mean": tuple(told.mean), "standard_deviation": tuple(told.std)}
    mean, deviation = IMAGENET
    versions = list(torchvision.models.get_model_weights(name))
    size = versions[0].transforms().crop_size[0] if versions else USUAL
    return {"size": size, "channels": 3, "mean": mean, "standard_deviation": deviation}


@torch.no_grad()
def _runs(module: nn.Module, images: Tensor) -> bool:
    try:
        module(images)
    except Exception:  # whatever a network raises of images that it can't take
        return False
    return True


def _least(runs: Callable[[int], bool], size: int) -> int:
    """Return the smallest size that a network takes; it is sought by halving what lies between."""
    low, high = 0, size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(middle) else (middle, high)
    return high


def _stride(found: Trace, size: int) -> int:
    """Return by how much the last map is smaller than the images: of smaller ones it would hold padding alone."""
    maps = [found.shapes[place] for place in found.outputs.values() if len(found.shapes[place]) == 4]
    sides = [shape[2] for shape in maps if shape[2] > 1]
    return size // min(sides, default=size)


def _stem(module: nn.Module, found: Trace, size: int) -> dict[str, Any]:
    """Return what a small stem replaces: a first convolution of a larger kernel or stride, and a pooling behind it."""
    name = found.layers[0].weight.name.removesuffix(".weight")
    first = module.get_submodule(name) if name else module
    if not isinstance(first, nn.Conv2d) or (first.kernel_size[0] <= 3 and first.stride[0] == 1):
        return {}
    before = found.before(1)
    pools = [each for each, kind in module.named_modules() if isinstance(kind, nn.MaxPool2d) and each in before]
    stride = first.stride[0] * (int(module.get_submodule(pools[0]).stride) if pools else 1)  # type: ignore[arg-type]
    return {"stem_convolution": name, "stem_pooling": pools[0] if pools else "", "stem_stride": stride}
