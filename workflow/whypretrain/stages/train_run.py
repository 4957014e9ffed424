"""Train the runs of one arm: some learning rates of its recipe (a probe has none), and all seeds of a block."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from whypretrain import moding, registry
from whypretrain.architectures.convnet import Parameters, layers
from whypretrain.command import Job, log, run_stage
from whypretrain.data import TargetData
from whypretrain.provenance import Watch
from whypretrain.runs import Request
from whypretrain.sources import set_up_torch
from whypretrain.storage import canonical, read_tensors, write_columns, write_json, write_tensors
from whypretrain.tasks import target_images


def main(job: Job) -> None:
    """Train every learning rate with every seed; each run writes its own files as soon as it ends."""
    spec = job.spec
    device = set_up_torch(spec)
    mode = moding.parse(spec["mode"])
    module = registry.load("modes", mode.name)
    architecture = {key: value for key, value in spec["architecture"].items() if key != "name"}
    described = layers(Parameters(**architecture))
    tensors = read_tensors(job.file("dataset"))
    runs = [(rate, seed) for rate in spec["learning_rates"] for seed in spec["seeds"]]
    starts = dict(zip(spec["seeds"], job.files("starts"), strict=True))
    kinds = [kind for kind in FILES if kind not in BY_STEPS or moding.by_steps(spec["mode"])]
    outputs = {kind: dict(zip(runs, job.files(kind), strict=True)) for kind in kinds}
    for seed in spec["seeds"]:
        parts = target_images(tensors, spec["target"], seed)
        data = TargetData.on(device, parts, spec["target"]["class_count"], spec["normalisation"])
        start = read_tensors(starts[seed])
        shared: dict[str, Any] = {}
        for rate in spec["learning_rates"]:
            watch = Watch(device)
            task, recipe = spec["target"]["name"], spec["recipe"]
            outcome = module.run(Request(start, described, data, task, recipe, rate, seed, device, mode, shared))
            own = canonical({**spec, "learning_rates": [rate], "seeds": [seed]})
            path = {kind: files[rate, seed] for kind, files in outputs.items()}
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
                    write_columns(path[kind], content, own, job.code)
            write_tensors(path["final"], outcome.final, own, job.code)
            told = watch.told()
            write_json(path["provenance"], {"spec": json.loads(own), "code": job.code, **told})
            top1 = scores["top1_test"][0]
            log.info("%s: test top-1 %.3f in %.1f s", Path(path["scores"]).parent, top1, told["seconds"])


FILES = ("history", "scores", "kernels", "predictions", "final", "provenance")
BY_STEPS = ("history", "kernels")  # read out along the way, where there is one

if __name__ == "__main__":
    logging.captureWarnings(True)
    run_stage(main, ["dataset", "starts", *FILES])
