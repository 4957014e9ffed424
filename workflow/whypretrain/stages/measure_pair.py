"""Compare two networks of a seed: layer by layer, and, where both have learnt the target, the barrier between them."""

from functools import cache
from typing import Any

import torch

from whypretrain.command import Job, log, run_stage
from whypretrain.data.tasks import target_images
from whypretrain.files.batches import read_finals
from whypretrain.files.storage import read_tensors, write_columns
from whypretrain.measures.barriers import barrier
from whypretrain.measures.comparing import MOST_IMAGES, compare_layers
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.building import loaded, with_new_head
from whypretrain.networks.card import Card
from whypretrain.networks.couplings import couplings, match
from whypretrain.networks.network import Network, Weights, reestimate_statistics
from whypretrain.randomness import stream
from whypretrain.training.data import Columns, Rows, TargetData, append
from whypretrain.training.torch_setup import set_up_torch

PLACES = ("first", "second")


def _network(card: Card, weights: Weights, data: TargetData, seed: int, trained: bool) -> Network:
    """Return a network in evaluation mode; one that hasn't learnt these images has its statistics re-estimated."""
    if trained:
        return loaded(card, weights).eval()
    network = with_new_head(card, weights, data.classes, stream("head", seed, "pair"))
    reestimate_statistics(network, data.images["train"])
    return network


def _some(data: TargetData, part: str, seed: int) -> torch.Tensor:
    order = stream("probe-images", seed, "target", part).permutation(len(data.labels[part]))
    return torch.from_numpy(order[:MOST_IMAGES]).to(data.labels[part].device)


def _barriers(network: Network, a: Weights, b: Weights, data: TargetData, pair: tuple[int, str]) -> Rows:
    """Yield the barriers on up to 500 training and 500 test images; without couplings none after matching."""
    others = {False: b}
    try:
        found = couplings(network.card, data.images["test"].shape[-1])
    except ValueError as error:
        log.warning("no barrier after weight matching: %s", error)
    else:
        others[True] = match(a, b, found, stream("matching", *pair))
    for part in ("train", "test"):
        some = _some(data, part, pair[0])
        for is_matched, other in others.items():
            for reestimated in (False, True) if network.card.has_statistics else (False,):
                statistics = data.images["train"] if reestimated else None
                least = barrier(network, a, other, data.images[part][some], data.labels[part][some], statistics)
                row: dict[str, Any] = {"images": part, "matched": is_matched, "reestimated": reestimated}
                yield row | {"barrier": least.height, "position": least.position}


def main(job: Job) -> None:
    """Compare the pair with every seed of a block, one under another."""
    spec = job.spec
    device = set_up_torch(spec)
    card, target = of_spec(spec, job.files("card")), spec["target"]
    read = cache(read_tensors)
    trained, seeds = spec["trained"], spec["seeds"]
    sides = [
        [finals[f"lr-{rate}.s{seed}"] for seed in seeds]
        if ready and (finals := read_finals(job.file(place)))
        else list(map(read_tensors, job.files(place)))
        for place, rate, ready in zip(PLACES, spec["rates"], trained, strict=True)
    ]
    layers: Columns = {}
    barriers: Columns = {}
    for seed, a, b in zip(seeds, *sides, strict=True):
        dataset = job.of_seed("dataset", seed)
        images = target_images(read(dataset), target, seed)
        data = TargetData.on(device, images, target["class_count"], spec["normalisation"], card.channels)
        first, second = (
            _network(card, found, data, seed, ready).to(device) for found, ready in zip((a, b), trained, strict=True)
        )
        for row in compare_layers(first, second, data.images["test"][_some(data, "test", seed)], seed):
            append(layers, {"seed": seed, **row})
        for row in _barriers(first, a, b, data, (seed, spec["pair"])) if all(trained) else ():
            append(barriers, {"seed": seed, **row})
        log.info("seed %d: compared", seed)
    write_columns(job.file("layers"), layers, job.origin())
    if all(trained):
        write_columns(job.file("barriers"), barriers, job.origin())


if __name__ == "__main__":
    run_stage(main)
