"""A fixed random label for each training image: what is learnt of images alone, and of fitting them.

Maennel et al., "What Do Neural Networks Learn When Trained With Random Labels?" (NeurIPS 2020), pre-train so;
the labels are those of Zhang et al., "Understanding deep learning requires rethinking generalization" (ICLR 2017).
Validation and test images keep their true labels, so scores on them are at chance: `top1_train` is what rises.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from whypretrain.files.snapshots import UNKEPT, Progress
from whypretrain.randomness import stream
from whypretrain.training.data import TargetData
from whypretrain.training.pretraining import Learner, ReadOut, branch, learn

ANNEALED = True  # its checkpoints have annealed branches


def relabelled(data: TargetData, seed: int, source: str) -> TargetData:
    """Return the data with its training images' labels drawn uniformly from its classes.

    They depend on the seed and the source alone: the same at every epoch, in every branch and architecture.
    """
    true = data.labels["train"]
    drawn = stream("random-labels", seed, source).integers(data.classes, size=len(true))
    return replace(data, labels={**data.labels, "train": torch.from_numpy(drawn).to(true)})


def _relabelled(spec: Mapping[str, Any], learners: Sequence[Learner]) -> list[Learner]:
    return [replace(one, data=relabelled(one.data, one.seed, spec["source"])) for one in learners]


def pretrain(
    spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT
) -> Iterator[list[ReadOut]]:
    """Yield the read-outs of a source that learns random labels."""
    yield from learn(spec, _relabelled(spec, learners), progress)


def anneal(spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT) -> list[ReadOut]:
    """Return the ends of its annealed branches, on the same random labels."""
    return branch(spec, _relabelled(spec, learners), progress)
