"""Read out a start before target training: the source's head on the source's test images, a probe on the target.

A random head says nothing, so the source's own is used, with the norms' statistics as stored
and re-estimated on the source's training images; a source without one (`none`) has no such score.
"""

from typing import Any

import numpy as np
import torch

from whypretrain import training
from whypretrain.architectures.convnet import Parameters, layers
from whypretrain.command import Job, log, run_stage
from whypretrain.data import TargetData
from whypretrain.initialisation import initialise_head
from whypretrain.models import Network, load_weights, reestimate_statistics
from whypretrain.probes import fit_probe
from whypretrain.randomness import stream
from whypretrain.sources import set_up_torch
from whypretrain.storage import Weights, canonical, read_tensors, write_columns
from whypretrain.tasks import source_images, target_images


def _source_scores(network: Network, data: TargetData) -> dict[str, float]:
    stored = training.evaluate(network, data.images["test"], data.labels["test"])
    reestimate_statistics(network, data.images["train"])
    reestimated = training.evaluate(network, data.images["test"], data.labels["test"])
    return {"source_top1_stored": stored.top1, "source_top1_reestimated": reestimated.top1}


@torch.no_grad()
def _features(network: Network, data: TargetData) -> dict[str, np.ndarray]:
    reestimate_statistics(network, data.images["train"])
    return {
        part: torch.cat([network.features(batch) for batch in images.split(256)]).cpu().numpy()
        for part, images in data.images.items()
    }


def main(job: Job) -> None:
    """Measure the start of every seed of a block; each seed has a file of its own."""
    spec = job.spec
    device = set_up_torch(spec)
    architecture = {key: value for key, value in spec["architecture"].items() if key != "name"}
    described = layers(Parameters(**architecture))
    target, source = spec["target"], spec["source_task"]
    tensors, *of_source = (read_tensors(path) for path in job.files("datasets"))
    for seed, start, output in zip(spec["seeds"], job.files("starts"), job.files("measured"), strict=True):
        weights: Weights = read_tensors(start)
        row: dict[str, Any] = {"source_top1_stored": float("nan"), "source_top1_reestimated": float("nan")}
        if source and "head.weight" in weights:
            data = TargetData.on(
                device,
                source_images(of_source[0], source, seed),
                source["class_count"],
                spec["normalisation"],
            )
            network = Network(described, data.classes)
            load_weights(network, weights)
            row = dict(_source_scores(network.to(device), data))
        parts = target_images(tensors, target, seed)
        data = TargetData.on(device, parts, target["class_count"], spec["normalisation"])
        network = Network(described, data.classes)
        body = {name: array for name, array in weights.items() if not name.startswith("head.")}
        head = initialise_head(described[-1].outputs, data.classes, stream("head", seed, target["name"]))
        load_weights(network, {**body, **head})
        probe = fit_probe(_features(network.to(device), data), {part: images.labels for part, images in parts.items()})
        row |= {f"probe_top1_{part}": value for part, value in probe.top1.items()}
        row |= {"probe_strength": probe.strength, "probe_converged": probe.converged}
        own = canonical({**spec, "seeds": [seed]})
        write_columns(output, {name: [value] for name, value in row.items()}, own, job.code)
        log.info(
            "seed %d: source top-1 %.3f, probe top-1 %.3f",
            seed,
            row["source_top1_stored"],
            probe.top1["test"],
        )


if __name__ == "__main__":
    run_stage(main, ["datasets", "starts", "measured"])
