"""What every mode of target training shares: the data on the device, and what a run leaves behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whypretrain.architectures.convnet import Layer
from whypretrain.tasks import Images
from whypretrain.training import standardise

Weights = dict[str, np.ndarray]
Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class TargetData:
    """A target's standardised images and labels by part, with the number of its classes."""

    images: dict[str, Tensor]
    labels: dict[str, Tensor]
    classes: int

    @classmethod
    def on(
        cls, device: torch.device, parts: Mapping[str, Images], classes: int, normalisation: dict[str, float]
    ) -> "TargetData":
        """Move a target's parts to the device."""
        images = {part: standardise(data.images, normalisation, device) for part, data in parts.items()}
        labels = {part: torch.from_numpy(data.labels).to(device) for part, data in parts.items()}
        return cls(images, labels, classes)


@dataclass(frozen=True)
class Request:
    """One run: the start's weights, the network's layers, the data, the recipe, a learning rate and a seed."""

    start: Weights
    layers: tuple[Layer, ...]
    data: TargetData
    task: str
    recipe: Mapping[str, Any]
    learning_rate: float
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Outcome:
    """One run's read-outs as columns, its predictions (uint8) on the test images, and its final weights."""

    history: Columns
    kernels: Columns
    scores: dict[str, Any]
    predictions: np.ndarray
    final: Weights


def device_of(name: str) -> torch.device:
    """Return the device that config asks for; `auto` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def append(columns: Columns, row: Mapping[str, Any]) -> None:
    """Append a row to columns."""
    for name, value in row.items():
        columns.setdefault(name, []).append(value)
