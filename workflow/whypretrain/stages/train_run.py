"""Train the runs of one arm: some learning rates of its recipe (a probe has none), and all seeds of a block."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from whypretrain import registry
from whypretrain.architectures.convnet import Parameters, layers
from whypretrain.command import Job, log, run_stage
from whypretrain.files.storage import read_tensors, write_card, write_columns, write_tensors
from whypretrain.learning.data import TargetData
from whypretrain.learning.runs import Request
from whypretrain.learning.sources import set_up_torch
from whypretrain.learning.tasks import target_images
from whypretrain.running.provenance import Watch, hardware
from whypretrain.study import moding
from whypretrain.study.coordinates import write_rate


def main(job: Job) -> None:
    """Train every learning rate with every seed; each run writes its own files as soon as it ends."""
    spec = job.spec
    device = set_up_torch(spec)
    mode = moding.parse(spec["mode"])
    module = registry.load("modes", mode.name)
    architecture = {key: value for key, value in spec["architecture"].items() if key != "name"}
    described = layers(Parameters(**architecture))
    tensors = read_tensors(job.file("dataset"))
    rates, seeds = spec["learning_rates"], spec["seeds"]
    kinds = [kind for kind in FILES if kind not in BY_STEPS or moding.by_steps(spec["mode"])]
    runs = [(rate, seed) for rate in rates for seed in seeds]
    outputs = {run: {kind: job.files(kind)[place] for kind in kinds} for place, run in enumerate(runs)}
    snapshot = job.snapshot(hardware(device), "scores", "dataset", "starts")
    for seed, start_path in zip(seeds, job.files("starts"), strict=True):
        left = [rate for rate in rates if not snapshot.restore(_name(rate, seed), outputs[rate, seed].values())]
        if not left:
            continue
        parts = target_images(tensors, spec["target"], seed)
        data = TargetData.on(device, parts, spec["target"]["class_count"], spec["normalisation"])
        start = read_tensors(start_path)
        shared: dict[str, Any] = {}
        for rate in left:
            watch = Watch(device)
            task, recipe, path = spec["target"]["name"], spec["recipe"], outputs[rate, seed]
            progress = snapshot.begin(_name(rate, seed), watch.so_far)
            watch.go_on(progress.resumed())
            outcome = module.run(
                Request(start, described, data, task, recipe, rate, seed, device, mode, shared, progress)
            )
            own = job.origin(job.file("dataset"), start_path, learning_rates=[rate], seeds=[seed])
            test = parts["test"]
            predictions = {
                "image": test.indices.astype(np.int32),
                "label": test.labels.astype(np.uint8),
                "prediction": outcome.predictions,
            }
            scores = {name: [value] for name, value in outcome.scores.items()}
            columns = {"history": outcome.history, "kernels": outcome.kernels}
            columns |= {"scores": scores, "predictions": predictions}
            for kind, content in columns.items():
                if kind in path:
                    write_columns(path[kind], content, own)
            write_tensors(path["final"], outcome.final, own)
            told = watch.told()
            write_card(path["provenance"], told, own)
            snapshot.keep(_name(rate, seed), path.values())
            top1 = scores["top1_test"][0]
            log.info("%s: test top-1 %.3f in %.1f s", Path(path["scores"]).parent, top1, told["seconds"])
    snapshot.remove()


def _name(rate: float | None, seed: int) -> str:
    return f"lr-{write_rate(rate)}-s{seed}"


FILES = ("history", "scores", "kernels", "predictions", "final", "provenance")
BY_STEPS = ("history", "kernels")  # read out along the way, where there is one

if __name__ == "__main__":
    logging.captureWarnings(True)
    run_stage(main, ["dataset", "starts"], [*FILES], keeps=True)
