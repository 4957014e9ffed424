"""What the stages of source training share: which seeds train at once, and what each learns from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from whypretrain.command import Job
from whypretrain.data.tasks import source_images, together
from whypretrain.files.storage import read_tensors
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.card import Card
from whypretrain.training.data import TargetData
from whypretrain.training.pretraining import Learner


def source_data(
    spec: Mapping[str, Any], seed: int, tensors: Mapping[str, np.ndarray], card: Card, device: torch.device
) -> TargetData:
    """Put a source task's images onto the device, from the dataset's tensors."""
    parts = source_images(tensors, spec["task"], seed)
    return TargetData.on(device, parts, spec["task"]["class_count"], spec["normalisation"], card.channels)


def learners(
    job: Job, starts: Mapping[int, str | None], device: torch.device
) -> Iterator[tuple[list[int], Callable[[], list[Learner]]]]:
    """Yield the seeds of a job that train at once, at most `replicas`, and what makes them learners when it is called.

    `starts` are the files of the weights that each seed starts from, where it starts from any.
    """
    spec, read, card = job.spec, cache(read_tensors), of_spec(job.spec, job.files("card"))
    counts: dict[int, tuple[int, ...]] = dict.fromkeys(spec["seeds"], ())
    for seed in spec["seeds"] if spec["task"] else ():
        tensors = read(job.of_seed("dataset", seed))
        parts = source_images({**tensors, "images": tensors["labels"]}, spec["task"], seed)
        counts[seed] = tuple(len(part.labels) for part in parts.values())

    def made(seeds: list[int]) -> list[Learner]:
        tasks = [read(job.of_seed("dataset", seed)) if spec["task"] else None for seed in seeds]
        own = zip(seeds, tasks, strict=True)
        data = [source_data(spec, seed, task, card, device) if task else None for seed, task in own]
        weights = [read_tensors(start) if (start := starts[seed]) else None for seed in seeds]
        published = tuple(map(read, job.files("published")))
        found = zip(seeds, data, weights, strict=True)
        return [Learner(seed, own, card, start, published) for seed, own, start in found]

    for seeds in together(spec["seeds"], counts, spec["replicas"]):
        yield seeds, partial(made, seeds)


def named(seeds: Sequence[int]) -> str:
    """Return how messages call seeds that train at once: `seed 3`, `seeds 0, 1, 2`."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
