"""Target training by gradient steps: all layers above the frozen ones learn, and a new head."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from whypretrain.networks.building import side_by_side
from whypretrain.networks.network import Entry, Network, Weights, in_batches
from whypretrain.randomness import stream
from whypretrain.training import loop as training
from whypretrain.training import regularising, runs, schedules
from whypretrain.training.cosine import layer_cosine
from whypretrain.training.data import append
from whypretrain.training.runs import Outcome, Request

log = logging.getLogger("whypretrain")


def run_steps(recipe: Mapping[str, Any], images: int) -> tuple[int, int]:
    """Return the steps of a run and of one read-out epoch: whole passes, at least `epoch_steps` of them."""
    a_pass = schedules.steps_per_pass(images, recipe["batch_size"])
    steps = max(math.ceil(recipe["epochs"] * a_pass), recipe["min_steps"])
    return steps, a_pass * math.ceil(recipe["epoch_steps"] / a_pass)


def _inputs(network: Network, images: Tensor, entry: Entry | None) -> Tensor:
    """Return what the network takes at its entry, or the images where it is run whole."""
    return in_batches(lambda batch: network.until(entry.place, batch), images) if entry else images


def train_above(requests: Sequence[Request], heads: Sequence[Weights] = ()) -> list[Outcome]:
    """Train runs of one arm, but for the layers that the mode freezes, as copies of one network; return their outcomes.

    Runs of a seed come one after another, as many for each seed: they share its batches. Frozen layers are a fixed
    function, in evaluation mode. Where one tensor alone crosses behind them, it is computed once a seed for training
    and validation images, and kept in memory; elsewhere they are run in each step, without gradients. A run whose loss
    is not finite is `diverged`, with the chance score, and is read out no more; the others go on. One that ends near
    chance on its own training images is `collapsed`. Both are results. Runs start from a new head, or from those given,
    and go on where they were stopped. Raises ValueError without a recipe or learning rate.
    """
    one, recipe, frozen = requests[0], requests[0].recipe, requests[0].mode.frozen
    peaks = [request.learning_rate for request in requests if request.learning_rate is not None]
    if recipe is None or len(peaks) < len(requests):
        raise ValueError(f"mode '{one.mode.name}' learns by gradient steps; give it a recipe and a learning rate")
    seeds = list({request.seed: request for request in requests}.values())
    networks = {request.seed: runs.start_network(request) for request in seeds}
    some = one.data.images["train"][:2]
    entry = networks[one.seed].entry(frozen, some) if frozen else None
    images, held_out = (
        [_inputs(networks[request.seed], request.data.images[part], entry) for request in seeds]
        for part in ("train", "validation")
    )
    labels, truth = ([request.data.labels[part] for request in seeds] for part in ("train", "validation"))
    network = side_by_side([networks[request.seed] for request in requests])
    if heads:
        network.load(network.weights() | {name: np.concatenate([h[name] for h in heads]) for name in heads[0]})
    if frozen:
        network.freeze(frozen, networks[one.seed].traced(some))
    draws = [stream("regulariser", request.seed, request.task) for request in seeds]
    steps, epoch_steps = run_steps(recipe, len(images[0]))
    stopped = one.progress.state()
    read: dict[str, Any] = {"history": [{} for _ in requests], "kernels": [{} for _ in requests]}
    read["diverged"] = [0] * len(requests)  # the step after which each was seen to be, 0 of those that aren't
    if stopped:
        read = {name: stopped.values[name] for name in read}
    diverged: list[int] = read["diverged"]

    def record(epoch: int, step: int, scores: Iterable[tuple[float, float]]) -> None:
        validated = training.evaluate_copies(network, held_out, truth)
        for copy, ((loss, top1), validation) in enumerate(zip(scores, validated, strict=True)):
            if diverged[copy]:
                continue
            row = {"target_epoch": epoch, "step": step, "loss_train": loss, "top1_train": top1}
            row |= {"loss_validation": validation.loss, "top1_validation": validation.top1}
            append(read["history"][copy], row)
            request, current = requests[copy], network.weights(copy)
            for layer in request.card.layers:
                cosines = layer_cosine(layer, request.seed, request.start, current)
                append(read["kernels"][copy], {"target_epoch": epoch, "layer": layer.number, **cosines})
            log.info(
                "rate %g seed %d epoch %d/%d step %d/%d: train loss %.3f top-1 %.3f, validation loss %.3f top-1 %.3f",
                *(peaks[copy], request.seed, epoch, math.ceil(steps / epoch_steps), step, steps),
                *(loss, top1, validation.loss, validation.top1),
            )

    with network.entered(entry):
        if not stopped:
            starts = training.evaluate_copies(network, images, labels)
            record(0, 0, [(start.loss, start.top1) for start in starts])
        for done, losses, correct, _, seen in training.follow(
            network,
            images,
            labels,
            steps=steps,
            reads=lambda step: step % epoch_steps == 0 or step == steps,
            progress=one.progress,
            stopped=stopped,
            by_image=True,
            kept=lambda: read,
            rates=[schedules.rate_of(recipe, peak, steps) for peak in peaks],
            batch_size=recipe["batch_size"],
            weight_decay=recipe["weight_decay"],
            orders=[stream("target-order", request.seed, request.task) for request in seeds],
            seed=int(stream("dropout", one.seed, one.task).integers(2**63)),
            regulariser=regularising.build(recipe["regulariser"], network, draws),
            precision=one.precision,
        ):
            pairs = zip(losses.tolist(), correct.tolist(), strict=True)
            means = [(loss / seen, right / seen) for loss, right in pairs]
            for copy, (loss, _) in enumerate(means):
                diverged[copy] = diverged[copy] or (0 if math.isfinite(loss) else done)
            if all(diverged):
                break
            record(math.ceil(done / epoch_steps), done, means)
    return _outcomes(requests, network, read, done)


def _outcomes(requests: Sequence[Request], network: Network, read: Mapping[str, Any], done: int) -> list[Outcome]:
    seeds = list({request.seed: request.data for request in requests}.values())
    parts = {
        part: training.evaluate_copies(
            network, [data.images[part] for data in seeds], [data.labels[part] for data in seeds]
        )
        for part in seeds[0].images
    }
    outcomes = []
    for copy, (request, diverged) in enumerate(zip(requests, read["diverged"], strict=True)):
        scored, steps = {part: scores[copy] for part, scores in parts.items()}, diverged or done
        failed = bool(diverged) or not all(math.isfinite(score.loss) for score in scored.values())
        if failed:
            log.info("rate %g seed %d diverged after %d steps", request.learning_rate, request.seed, steps)
        row = runs.scores(request.data, scored, steps=steps, diverged=failed)
        predictions = scored["test"].predictions.astype(np.uint8)
        history, kernels = read["history"][copy], read["kernels"][copy]
        outcomes.append(Outcome(history, kernels, row, predictions, network.weights(copy)))
    return outcomes
