"""The images of a task: its classes and its part of the dataset's one partition (numpy only)."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from whypretrain.data import partition
from whypretrain.randomness import stream

FEW = "validation_few"  # of the validation images as few as a user would have


@dataclass(frozen=True)
class Images:
    """Images uint8 (n, c, h, w) with labels int64 (n,), 0 to classes - 1, and their indices in the dataset."""

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


def task_classes(task: Mapping[str, Any], seed: int) -> list[int]:
    """Return the dataset's labels of a task's classes, in the order of its own: all named, or a half drawn by seed."""
    if task["class_half"] is None:
        return list(task["classes"])
    return partition.class_half(task["classes"], task["dataset"], seed, task["class_half"])


def _part(tensors: Mapping[str, np.ndarray], task: Mapping[str, Any], seed: int, part: str) -> np.ndarray:
    labels = tensors["labels"]
    told = tensors.get("parts"), tensors.get("groups")
    indices = partition.partition(labels, task["dataset"], seed, task["shares"], *told)[part]
    if part == "train":
        indices = partition.half(indices, labels, task["images"])
    return partition.restrict(indices, labels, task_classes(task, seed))


def _images(tensors: Mapping[str, np.ndarray], classes: list[int], indices: np.ndarray) -> Images:
    relabel = np.full(int(tensors["labels"].max()) + 1, -1, np.int64)
    relabel[classes] = np.arange(len(classes))
    return Images(tensors["images"][indices], relabel[tensors["labels"][indices]], indices)


def source_images(tensors: Mapping[str, np.ndarray], task: Mapping[str, Any], seed: int) -> dict[str, Images]:
    """Return a source task's train, validation and test images, each whole."""
    classes = task_classes(task, seed)
    return {part: _images(tensors, classes, _part(tensors, task, seed, part)) for part in partition.PARTS}


def target_images(tensors: Mapping[str, np.ndarray], target: Mapping[str, Any], seed: int) -> dict[str, Images]:
    """Return a target's train images (`shots` a class), all its validation and test images, and the few.

    `validation_few` are `validation_shots` a class of the validation images. How many train changes neither what
    validates nor what tests. Draws are nested: the images of fewer shots are among those of more, with the same seed.
    """
    drawn = {part: _part(tensors, target, seed, part) for part in partition.PARTS}
    for part, of, shots in (("train", "train", target["shots"]), (FEW, "validation", target["validation_shots"])):
        draw = stream("target-subset", seed, target["name"], of)
        drawn[part] = partition.draw_shots(drawn[of], tensors["labels"], shots, draw)
    classes = task_classes(target, seed)
    return {part: _images(tensors, classes, indices) for part, indices in drawn.items()}


def together(seeds: Sequence[int], counts: Mapping[int, Hashable], most: int) -> Iterator[list[int]]:
    """Yield the seeds that train as copies of one network, at most so many: neighbours with the same counts of images.

    Batches of seeds with other `counts` don't fit together.
    """
    for _, alike in groupby(seeds, key=counts.__getitem__):
        own = list(alike)
        yield from (own[place : place + most] for place in range(0, len(own), most))
