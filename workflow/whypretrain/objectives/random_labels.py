"""A fixed random label for each training image: what is learnt of images alone, and of fitting them.

Maennel et al., "What Do Neural Networks Learn When Trained With Random Labels?" (NeurIPS 2020), pre-train so;
the labels are those of Zhang et al., "Understanding deep learning requires rethinking generalization" (ICLR 2017).
Validation and test images keep their true labels, so scores on them are at chance: `top1_train` is what rises.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from whypretrain.files.snapshots import UNKEPT, Progress
from whypretrain.learning.data import TargetData
from whypretrain.learning.models import Weights
from whypretrain.learning.pretraining import ReadOut, branch, learn
from whypretrain.randomness import stream

ANNEALED = True  # its checkpoints have annealed branches


def relabelled(data: TargetData, seed: int, source: str) -> TargetData:
    """Return the data with its training images' labels drawn uniformly from its classes.

    They depend on the seed and the source alone: the same at every epoch, in every branch and architecture.
    """
    true = data.labels["train"]
    drawn = stream("random-labels", seed, source).integers(data.classes, size=len(true))
    return replace(data, labels={**data.labels, "train": torch.from_numpy(drawn).to(true)})


def pretrain(
    spec: Mapping[str, Any], seed: int, data: TargetData, parent: Weights | None, progress: Progress = UNKEPT
) -> Iterator[ReadOut]:
    """Yield the read-outs of a source that learns random labels."""
    yield from learn(spec, seed, relabelled(data, seed, spec["source"]), parent, progress)


def anneal(
    spec: Mapping[str, Any], seed: int, data: TargetData, checkpoint: Weights, progress: Progress = UNKEPT
) -> ReadOut:
    """Return the end of its annealed branch, on the same random labels."""
    return branch(spec, seed, relabelled(data, seed, spec["source"]), checkpoint, progress)
