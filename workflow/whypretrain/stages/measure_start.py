"""Read out a start before target training: how good it is on its source, and how well it suits the target.

A random head says nothing, so the source's own is used, with the norms' statistics as stored
and re-estimated on the source's training images; a source without one (`none`) has no such score.
On the target there are a probe and transferability scores, on the statistics that a probe has, and
the distance of the two tasks, which has to do with neither the checkpoint nor its treatment.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from whypretrain.command import Job, log, run_stage
from whypretrain.data.partition import PARTS
from whypretrain.data.tasks import Images, source_images, target_images
from whypretrain.files.storage import Weights, read_tensors, write_columns
from whypretrain.measures.transferability import draw_apart, leep, log_me, proxy_a_distance
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.building import loaded, with_new_head
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import head_of
from whypretrain.networks.network import Network, in_batches, pooled_layers, reestimate_statistics
from whypretrain.randomness import stream
from whypretrain.training import loop as training
from whypretrain.training.data import Columns, TargetData, append
from whypretrain.training.probes import fit_probe
from whypretrain.training.torch_setup import set_up_torch

MOST_IMAGES = 500  # of each task, for the distance of the two


NOTHING = dict.fromkeys(("source_top1_stored", "source_top1_reestimated", "proxy_a_distance"), math.nan)


def _source_scores(card: Card, weights: Weights, data: TargetData) -> dict[str, float]:
    """Return the top-1 of the source's own head, where there is one for the classes of the source's task."""
    head = head_of(card, weights)
    if not head or len(head[f"{card.head}.weight"]) != data.classes:
        return {}
    network = loaded(card, weights).to(data.images["test"].device)
    stored = training.evaluate(network, data.images["test"], data.labels["test"])
    reestimate_statistics(network, data.images["train"])
    reestimated = training.evaluate(network, data.images["test"], data.labels["test"])
    return {"source_top1_stored": stored.top1, "source_top1_reestimated": reestimated.top1}


def _suitability(
    features: dict[str, np.ndarray], labels: dict[str, np.ndarray], card: Card, weights: Weights
) -> dict[str, Any]:
    """Return the probe's read-outs from all parts, and transferability scores from the training images."""
    probe = fit_probe(features, labels)["validation"]
    row: dict[str, Any] = {f"probe_top1_{part}": score.top1 for part, score in probe.scores.items()}
    row |= {"probe_strength": probe.strength, "probe_converged": probe.converged}
    row |= {"log_me": log_me(features["train"], labels["train"]), "leep": math.nan}
    if head := head_of(card, weights):
        weight, bias = head[f"{card.head}.weight"], head.get(f"{card.head}.bias", 0)
        logits = features["train"].astype(np.float64) @ weight.reshape(len(weight), -1).T + bias
        row["leep"] = leep(torch.from_numpy(logits).softmax(1).numpy(), labels["train"])
    return row


def _distance(network: Network, source: Images, target: Images, spec: Mapping[str, Any], seed: int) -> float:
    """Return the proxy A-distance of two tasks' images on all layers of the untrained network.

    Its norms' statistics are re-estimated on both tasks' images together. Images of one dataset are drawn so that
    none is on both sides.
    """
    names = spec["source_task"], spec["target"]
    rng = stream("probe-images", seed, *(task["name"] for task in names))
    elsewhere = 0 if names[0]["dataset"] == names[1]["dataset"] else int(source.indices.max()) + 1
    a, b = draw_apart(source.indices, target.indices + elsewhere, MOST_IMAGES, rng)
    device, channels = network.device, network.card.channels
    drawn = [source.images[a], target.images[b]]
    images = torch.cat([training.standardise(each, spec["normalisation"], device, channels) for each in drawn])
    reestimate_statistics(network, images)
    features = in_batches(lambda batch: pooled_layers(network, batch), images).cpu().numpy()
    return proxy_a_distance(features[: len(a)], features[len(a) :], rng)


def main(job: Job) -> None:
    """Measure the start of every seed of a block, a row each."""
    spec = job.spec
    device = set_up_torch(spec)
    card = of_spec(spec, job.files("card"))
    target, source = spec["target"], spec["source_task"]
    read = cache(read_tensors)
    untrained = job.files("untrained") if source else [""] * len(spec["seeds"])
    columns: Columns = {}
    for seed, start, extractor in zip(spec["seeds"], job.files("starts"), untrained, strict=True):
        weights: Weights = read_tensors(start)
        datasets = [job.of_seed(name, seed) for name in ("target_dataset", "source_dataset") if job.files(name)]
        tensors, *of_source = map(read, datasets)
        parts = target_images(tensors, target, seed)
        row: dict[str, Any] = dict(NOTHING)
        if source:
            images = source_images(of_source[0], source, seed)
            data = TargetData.on(device, images, source["class_count"], spec["normalisation"], card.channels)
            row |= _source_scores(card, weights, data)
            head = stream("head", seed, source["name"])
            network = with_new_head(card, read_tensors(extractor), data.classes, head).to(device)
            row["proxy_a_distance"] = _distance(network, images["test"], parts["test"], spec, seed)
        data = TargetData.on(device, parts, target["class_count"], spec["normalisation"], card.channels)
        network = with_new_head(card, weights, data.classes, stream("head", seed, target["name"])).to(device)
        reestimate_statistics(network, data.images["train"])
        features = {part: in_batches(network.features, data.images[part]).cpu().numpy() for part in PARTS}
        row |= _suitability(features, {part: parts[part].labels for part in PARTS}, card, weights)
        append(columns, {"seed": seed, **row})
        log.info(
            "seed %d: source top-1 %.3f, probe top-1 %.3f, LogME %.3f, LEEP %.3f, proxy A-distance %.2f",
            *(seed, row["source_top1_stored"], row["probe_top1_test"]),
            *(row["log_me"], row["leep"], row["proxy_a_distance"]),
        )
    write_columns(job.file("measured"), columns, job.origin())


if __name__ == "__main__":
    run_stage(main)
