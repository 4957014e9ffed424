"""A task's images on the device, and the columns that a job's read-outs are gathered in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from whypretrain.data.tasks import Images
from whypretrain.training.loop import standardise

Columns = dict[str, list[Any]]
Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class TargetData:
    """A target's standardised images and labels by part, with the number of its classes."""

    images: dict[str, Tensor]
    labels: dict[str, Tensor]
    classes: int

    @classmethod
    def on(
        cls,
        device: torch.device,
        parts: Mapping[str, Images],
        classes: int,
        normalisation: Mapping[str, Any],
        channels: int | None = None,
    ) -> "TargetData":
        """Move a target's parts to the device; grey images are repeated where a network takes more `channels`."""
        images = {part: standardise(data.images, normalisation, device, channels) for part, data in parts.items()}
        labels = {part: torch.from_numpy(data.labels).to(device) for part, data in parts.items()}
        return cls(images, labels, classes)


def append(columns: Columns, row: Mapping[str, Any]) -> None:
    """Append a row to columns."""
    for name, value in row.items():
        columns.setdefault(name, []).append(value)
