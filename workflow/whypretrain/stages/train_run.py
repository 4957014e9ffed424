"""Train a batch of runs of one arm: some learning rates of its recipe (a probe has none), and all seeds of a block."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from whypretrain import registry
from whypretrain.command import Job, log, run_stage
from whypretrain.data.tasks import Images, target_images, together
from whypretrain.files.batches import Run, join_batches, names_in, write_batch
from whypretrain.files.storage import read_tensors
from whypretrain.grid.coordinates import write_run
from whypretrain.networks.architecture import of_spec
from whypretrain.running.provenance import Watch, hardware
from whypretrain.training import moding
from whypretrain.training.data import TargetData
from whypretrain.training.runs import Outcome, Request
from whypretrain.training.torch_setup import set_up_torch


def main(job: Job) -> None:
    """Train every learning rate with every seed, `replicas` at once; those that are done are kept until all are."""
    spec = job.spec
    device = set_up_torch(spec)
    mode = moding.parse(spec["mode"])
    module = registry.load("modes", mode.name)
    card = of_spec(spec, job.files("card"))
    read = cache(read_tensors)
    task, recipe, seeds = spec["target"]["name"], spec["recipe"], spec["seeds"]
    files = {kind: job.file(kind) for kind in job.outputs}
    snapshot, origin = job.snapshot(hardware(device), "scores"), job.origin()
    starts = dict(zip(seeds, job.files("starts"), strict=True))
    parts = {seed: target_images(read(job.of_seed("dataset", seed)), spec["target"], seed) for seed in seeds}
    counts = {seed: tuple(len(each.labels) for each in parts[seed].values()) for seed in seeds}

    @cache
    def of_seed(seed: int) -> tuple[TargetData, dict[str, Any], dict[str, Any]]:
        data = TargetData.on(device, parts[seed], spec["target"]["class_count"], spec["normalisation"], card.channels)
        return data, read_tensors(starts[seed]), {}

    def train(group: Sequence[tuple[float | None, int]]) -> Path:
        """Train some runs together; return the folder of what they leave."""
        name = write_run(*group[0])
        if kept := snapshot.kept(name):
            return kept
        watch = Watch(device)
        progress = snapshot.begin(name, watch.so_far)
        watch.go_on(progress.resumed())
        requests = []
        for rate, seed in group:
            data, start, shared = of_seed(seed)
            options = device, mode, shared, progress, spec["precision"]
            requests.append(Request(start, card, data, task, recipe, rate, seed, *options))
        outcomes = module.run(*requests)
        told = watch.told(len(group))
        done = [_run(*run, each, parts[run[1]]["test"], told) for run, each in zip(group, outcomes, strict=True)]
        with snapshot.making(name) as folder:
            write_batch(names_in(folder, files), done, origin)
        return snapshot.folder / name

    groups = list(sets_of_runs(spec["learning_rates"], seeds, spec["replicas"], counts))
    join_batches([train(group) for group in groups], files, origin)
    snapshot.remove()


def _run(rate: float | None, seed: int, outcome: Outcome, test: Images, told: Mapping[str, Any]) -> Run:
    columns: dict[str, Mapping[str, Any]] = {
        "history": outcome.history,
        "kernels": outcome.kernels,
        "scores": {column: [value] for column, value in outcome.scores.items()},
        "predictions": {
            "image": test.indices.astype(np.int32),
            "label": test.labels.astype(np.uint8),
            "prediction": outcome.predictions,
        },
    }
    name = write_run(rate, seed)
    log.info("%s: test top-1 %.3f in %.1f s", name, outcome.scores["top1_test"], told["seconds"])
    return Run(name, rate, seed, columns, outcome.final, told)


def sets_of_runs(
    rates: Sequence[float | None], seeds: Sequence[int], replicas: int, counts: Mapping[int, tuple[int, ...]]
) -> Iterator[list[tuple[float | None, int]]]:
    """Yield the runs (learning rate, seed) that train together, at most `replicas`, those of a seed after one another.

    They are all rates of as many seeds as there is room for, or of one seed as many rates. Seeds with other `counts`
    of images train apart, since their batches don't fit together.
    """
    room = max(1, replicas // len(rates))
    for own in together(seeds, counts, room):
        for rate in range(0, len(rates), replicas):
            yield [(r, seed) for seed in own for r in rates[rate : rate + replicas]]


if __name__ == "__main__":
    logging.captureWarnings(True)
    run_stage(main, keeps=True)
