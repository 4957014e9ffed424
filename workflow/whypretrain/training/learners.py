"""What the stages of source training share: which seeds train at once, what each learns from, what they leave."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from whypretrain.command import Job, StageError
from whypretrain.data.tasks import source_images, together
from whypretrain.files.snapshots import Progress
from whypretrain.files.storage import read_tensors, write_columns, write_tensors
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.card import Card
from whypretrain.running.provenance import hardware
from whypretrain.training.data import Columns, TargetData, append
from whypretrain.training.pretraining import NO_DATA, Learner, ReadOut
from whypretrain.training.torch_setup import set_up_torch

Learn = Callable[[Mapping[str, Any], list[Learner], Progress], Iterable[list[ReadOut]]]


def source_data(
    spec: Mapping[str, Any], seed: int, tensors: Mapping[str, np.ndarray], card: Card, device: torch.device
) -> TargetData:
    """Put a source task's images onto the device, from the dataset's tensors."""
    parts = source_images(tensors, spec["task"], seed)
    return TargetData.on(device, parts, spec["task"]["class_count"], spec["normalisation"], card.channels)


def train_sources(job: Job, learn: Learn, starts: Mapping[int, str]) -> None:
    """Let `replicas` seeds learn at once; write each checkpoint as it is reached, and the histories last.

    The outputs are each seed's checkpoints and then its history, seed after seed. `starts` are the files of the weights
    that each seed starts from, where it starts from any.
    """
    spec, seeds, device = job.spec, job.spec["seeds"], set_up_torch(job.spec)
    read, card = cache(read_tensors), of_spec(spec, job.files("card"))
    counts: dict[int, tuple[int, ...]] = dict.fromkeys(seeds, ())
    for seed in seeds if spec["task"] else ():
        tensors = read(job.of_seed("dataset", seed))
        parts = source_images({**tensors, "images": tensors["labels"]}, spec["task"], seed)
        counts[seed] = tuple(len(part.labels) for part in parts.values())

    def learner(seed: int) -> Learner:
        tensors = read(job.of_seed("dataset", seed)) if spec["task"] else None
        data = source_data(spec, seed, tensors, card, device) if tensors else NO_DATA
        start = read_tensors(starts[seed]) if seed in starts else None
        return Learner(seed, data, card, start, tuple(map(read, job.files("published"))))

    each = len(job.files("outputs")) // len(seeds)
    outputs = {seed: job.files("outputs")[place * each :][:each] for place, seed in enumerate(seeds)}
    snapshot = job.snapshot(hardware(device), "outputs")
    for own in together(seeds, counts, spec["replicas"]):
        name, files = "s" + "-".join(map(str, own)), [path for seed in own for path in outputs[seed]]
        if snapshot.restore(name, files):
            continue
        *checkpoints, histories = zip(*(outputs[seed] for seed in own), strict=True)
        origins = [job.origin(seed) for seed in own]
        columns: list[Columns] = [{} for _ in own]
        written: list[tuple[str, ...]] = []
        progress = snapshot.begin(name, lambda: {"history": columns, "written": len(written)})  # noqa: B023
        if before := progress.resumed():
            written = checkpoints[: before["written"]]
            if all(snapshot.restore(f"{name}-{number}", paths) for number, paths in enumerate(written)):
                columns = before["history"]
            else:
                written = []
                progress.forget()
        try:
            for found in learn(spec, [learner(seed) for seed in own], progress):
                for rows, read_out in zip(columns, found, strict=True):
                    append(rows, read_out.row)
                if found[0].weights is None:
                    continue
                paths = checkpoints[len(written)]
                for path, read_out, origin in zip(paths, found, origins, strict=True):
                    write_tensors(path, read_out.weights or {}, origin)
                snapshot.keep(f"{name}-{len(written)}", paths)
                written.append(paths)
        except ValueError as error:
            told = f"seed{'s' if len(own) > 1 else ''} {', '.join(map(str, own))}"
            raise StageError(f"{told}: {error}") from error
        for path, rows, origin in zip(histories, columns, origins, strict=True):
            write_columns(path, rows, origin)
        snapshot.keep(name, files)
    snapshot.remove()
