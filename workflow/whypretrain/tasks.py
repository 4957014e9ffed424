"""The images of a task: its classes and its part of the dataset's one partition (numpy only)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from whypretrain import partition
from whypretrain.randomness import stream


@dataclass(frozen=True)
class Images:
    """Images uint8 (n, c, h, w) with labels int64 (n,), 0 to classes - 1, and their indices in the dataset."""

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


def _part(tensors: Mapping[str, np.ndarray], task: Mapping[str, Any], seed: int, part: str) -> np.ndarray:
    labels = tensors["labels"]
    indices = partition.partition(labels, task["dataset"], seed)[part]
    if part == "train":
        indices = partition.half(indices, labels, task["images"])
    return partition.restrict(indices, labels, task["classes"])


def _images(tensors: Mapping[str, np.ndarray], task: Mapping[str, Any], indices: np.ndarray) -> Images:
    relabel = np.full(int(tensors["labels"].max()) + 1, -1, np.int64)
    relabel[task["classes"]] = np.arange(len(task["classes"]))
    return Images(tensors["images"][indices], relabel[tensors["labels"][indices]], indices)


def source_images(tensors: Mapping[str, np.ndarray], task: Mapping[str, Any], seed: int) -> dict[str, Images]:
    """Return a source task's train, validation and test images, each whole."""
    parts = ("train", "validation", "test")
    return {part: _images(tensors, task, _part(tensors, task, seed, part)) for part in parts}


def target_images(tensors: Mapping[str, np.ndarray], target: Mapping[str, Any], seed: int) -> dict[str, Images]:
    """Return a target's train images (`shots` a class), validation images and all its test images.

    Draws are nested: the images of fewer shots are among those of more, with the same seed.
    """
    labels = tensors["labels"]
    drawn = {"test": _part(tensors, target, seed, "test")}
    for part, shots in (("train", target["shots"]), ("validation", target["validation_shots"])):
        draw = stream("target-subset", seed, target["name"], part)
        drawn[part] = partition.draw_shots(_part(tensors, target, seed, part), labels, shots, draw)
    return {part: _images(tensors, target, drawn[part]) for part in ("train", "validation", "test")}
