"""Compare two networks of a seed: layer by layer, and, where both have learnt the target, the barrier between them."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from whypretrain.command import Job, log, run_stage
from whypretrain.data.tasks import target_images
from whypretrain.files.storage import read_tensors, write_columns
from whypretrain.measures.barriers import barrier
from whypretrain.measures.comparing import MOST_IMAGES, compare_layers
from whypretrain.networks.convnet import Layer, Parameters, layers
from whypretrain.networks.initialisation import initialise_head
from whypretrain.networks.matching import match
from whypretrain.networks.models import Network, Weights, load_weights, reestimate_statistics
from whypretrain.randomness import stream
from whypretrain.training.data import Columns, TargetData, append
from whypretrain.training.torch_setup import set_up_torch

PLACES = ("first", "second")


def _network(described: tuple[Layer, ...], weights: Weights, data: TargetData, seed: int, trained: bool) -> Network:
    """Return a network in evaluation mode; one that hasn't learnt these images has its statistics re-estimated."""
    network = Network(described, data.classes)
    if not trained:
        head = initialise_head(described[-1].outputs, data.classes, stream("head", seed, "pair"))
        weights = {name: array for name, array in weights.items() if not name.startswith("head.")} | head
    load_weights(network, weights)
    if not trained:
        reestimate_statistics(network, data.images["train"])
    return network.eval()


def _some(data: TargetData, part: str, seed: int) -> torch.Tensor:
    order = stream("probe-images", seed, "target", part).permutation(len(data.labels[part]))
    return torch.from_numpy(order[:MOST_IMAGES]).to(data.labels[part].device)


def _barriers(network: Network, a: Weights, b: Weights, data: TargetData, pair: tuple[int, str]) -> Columns:
    """Return the barriers on up to 500 training and 500 test images."""
    columns: Columns = {}
    numbers = [layer.number for layer in network.layers]
    matched = match(a, b, numbers, stream("matching", *pair))
    has_norm = any(layer.norm for layer in network.layers)
    for part in ("train", "test"):
        some = _some(data, part, pair[0])
        for is_matched, other in ((False, b), (True, matched)):
            for reestimated in (False, True) if has_norm else (False,):
                statistics = data.images["train"] if reestimated else None
                found = barrier(network, a, other, data.images[part][some], data.labels[part][some], statistics)
                row: dict[str, Any] = {"images": part, "matched": is_matched, "reestimated": reestimated}
                append(columns, row | {"barrier": found.height, "position": found.position})
    return columns


def _described(architecture: Mapping[str, Any]) -> tuple[Layer, ...]:
    return layers(Parameters(**{key: value for key, value in architecture.items() if key != "name"}))


def main(job: Job) -> None:
    """Compare the pair with every seed of a block; each seed has files of its own."""
    spec = job.spec
    device = set_up_torch(spec)
    described, target = _described(spec["architecture"]), spec["images"]
    read = cache(read_tensors)
    trained = spec["trained"]
    weights = zip(job.files("first"), job.files("second"), strict=True)
    # the scores of a trained network are made with its final, which can be gone by now
    told = [job.files(f"{place}_scores" if ready else place) for place, ready in zip(PLACES, trained, strict=True)]
    for number, (seed, paths) in enumerate(zip(spec["seeds"], weights, strict=True)):
        dataset = job.of_seed("dataset", seed)
        images = target_images(read(dataset), target, seed)
        data = TargetData.on(device, images, target["class_count"], spec["normalisation"])
        a, b = (read_tensors(path) for path in paths)
        first, second = (
            _network(described, found, data, seed, ready).to(device)
            for found, ready in zip((a, b), trained, strict=True)
        )
        own = job.origin(dataset, *(files[number] for files in told), seeds=[seed])
        columns = compare_layers(first, second, data.images["test"][_some(data, "test", seed)], seed)
        write_columns(job.files("layers")[number], columns, own)
        if all(trained):
            found = _barriers(first, a, b, data, (seed, spec["pair"]))
            write_columns(job.files("barriers")[number], found, own)
        log.info("seed %d: compared", seed)


if __name__ == "__main__":
    run_stage(main, ["dataset", "first", "first_scores", "second", "second_scores"], ["layers", "barriers"])
