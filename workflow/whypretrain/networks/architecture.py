"""Architectures as config names them, and the card of each; needs no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter

from whypretrain.networks import card, convnet
from whypretrain.networks.card import Card

CONVNET = "convnet"


class Named(BaseModel):
    """A network of torchvision or timm by its name there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field(
        pattern=r"^(torchvision|timm)/[A-Za-z0-9_.-]+$",
        description="`torchvision/resnet18`, `timm/tf_efficientnet_lite0`.",
    )
    stem: Literal["own", "small"] = Field(
        "own",
        description="`small` puts a 3x3 convolution of stride 1 in the place of the first one, and no pooling behind "
        "it: for images of up to 64 pixels. Published weights have none for it.",
    )


def _kind(raw: Any) -> str:
    network = raw.get("network", CONVNET) if isinstance(raw, Mapping) else raw.network
    return CONVNET if network == CONVNET else "named"


Architecture = Annotated[
    Annotated[convnet.Parameters, Tag(CONVNET)] | Annotated[Named, Tag("named")], Discriminator(_kind)
]
_ANY: TypeAdapter[convnet.Parameters | Named] = TypeAdapter(Architecture)


def is_shipped(architecture: convnet.Parameters | Named) -> bool:
    """Whether the card of an architecture is known without looking at the network."""
    return isinstance(architecture, convnet.Parameters) or architecture.network.startswith("torchvision/")


def card_of(name: str, architecture: convnet.Parameters | Named, described: Path | None = None) -> Card:
    """Return the card of an architecture, with its name in config.

    `described` is the file of one that isn't shipped, as `describe_network` wrote it. Raises ValueError, with the
    nearest names, for a network that doesn't exist, and where it has no stem to change.
    """
    if isinstance(architecture, convnet.Parameters):
        found = convnet.card(architecture)
    elif described is not None:
        found = card.read(json.loads(described.read_text(encoding="utf-8"))["card"])
    else:
        found = card.of_shipped(architecture.network)
    if isinstance(architecture, Named) and architecture.stem == "small":
        found = card.with_small_stem(found)
    return replace(found, architecture={"name": name, **architecture.model_dump()})


def of_spec(spec: Mapping[str, Any], files: Sequence[str]) -> Card:
    """Return the card of the architecture that a job's spec has, with the file of its card where it is given one."""
    told = {key: value for key, value in spec["architecture"].items() if key != "name"}
    found = Path(files[0]) if files else None
    return card_of(spec["architecture"]["name"], _ANY.validate_python(told), found)
