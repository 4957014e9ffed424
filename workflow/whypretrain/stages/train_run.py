"""Train the runs of one arm: some learning rates of its recipe (a probe has none), and all seeds of a block."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from whypretrain import registry
from whypretrain.command import Job, log, run_stage
from whypretrain.data.tasks import target_images, together
from whypretrain.files.storage import read_tensors, write_card, write_columns, write_tensors
from whypretrain.grid.coordinates import write_rate
from whypretrain.networks.architecture import of_spec
from whypretrain.running.provenance import Watch, hardware
from whypretrain.training import moding
from whypretrain.training.data import TargetData
from whypretrain.training.runs import Request
from whypretrain.training.torch_setup import set_up_torch


def main(job: Job) -> None:
    """Train every learning rate with every seed, `replicas` at once; runs write their files as soon as they end."""
    spec = job.spec
    device = set_up_torch(spec)
    mode = moding.parse(spec["mode"])
    module = registry.load("modes", mode.name)
    card = of_spec(spec, job.files("card"))
    read = cache(read_tensors)
    task, recipe, seeds = spec["target"]["name"], spec["recipe"], spec["seeds"]
    kinds = [kind for kind in FILES if kind not in BY_STEPS or moding.by_steps(spec["mode"])]
    runs = [(rate, seed) for rate in spec["learning_rates"] for seed in seeds]
    outputs = {run: {kind: job.files(kind)[place] for kind in kinds} for place, run in enumerate(runs)}
    snapshot = job.snapshot(hardware(device), "scores", "card", "dataset", "starts")
    starts = dict(zip(seeds, job.files("starts"), strict=True))
    datasets = {seed: job.of_seed("dataset", seed) for seed in seeds}
    parts = {seed: target_images(read(datasets[seed]), spec["target"], seed) for seed in seeds}
    counts = {seed: tuple(len(each.labels) for each in parts[seed].values()) for seed in seeds}

    @cache
    def of_seed(seed: int) -> tuple[TargetData, dict[str, Any], dict[str, Any]]:
        data = TargetData.on(device, parts[seed], spec["target"]["class_count"], spec["normalisation"], card.channels)
        return data, read_tensors(starts[seed]), {}

    for group in sets_of_runs(spec["learning_rates"], seeds, _replicas(spec), counts):
        name = _name(*group[0])
        files = [path for run in group for path in outputs[run].values()]
        if snapshot.restore(name, files):
            continue
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
        for run, outcome in zip(group, outcomes, strict=True):
            rate, seed = run
            path, test = outputs[run], parts[seed]["test"]
            own = job.origin(*job.given(seed, "card", "dataset", "starts"), learning_rates=[rate], seeds=[seed])
            predictions = {
                "image": test.indices.astype(np.int32),
                "label": test.labels.astype(np.uint8),
                "prediction": outcome.predictions,
            }
            scores = {column: [value] for column, value in outcome.scores.items()}
            columns = {"history": outcome.history, "kernels": outcome.kernels}
            columns |= {"scores": scores, "predictions": predictions}
            for kind, content in columns.items():
                if kind in path:
                    write_columns(path[kind], content, own)
            write_tensors(path["final"], outcome.final, own)
            write_card(path["provenance"], told, own)
            top1 = scores["top1_test"][0]
            log.info("%s: test top-1 %.3f in %.1f s", Path(path["scores"]).parent, top1, told["seconds"])
        snapshot.keep(name, files)
    snapshot.remove()


def _replicas(spec: Mapping[str, Any]) -> int:
    """Return how many runs train together: one by one where the regulariser draws at random."""
    chosen = spec["recipe"] and spec["recipe"]["regulariser"]
    draws = chosen and getattr(registry.load("regularisers", chosen["name"]), "DRAWS", False)
    return 1 if draws else spec["replicas"]


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


def _name(rate: float | None, seed: int) -> str:
    return f"lr-{write_rate(rate)}-s{seed}"


FILES = ("history", "scores", "kernels", "predictions", "final", "provenance")
BY_STEPS = ("history", "kernels")  # read out along the way, where there is one

if __name__ == "__main__":
    logging.captureWarnings(True)
    run_stage(main, ["card", "dataset", "starts"], [*FILES], keeps=True)
