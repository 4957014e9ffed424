"""Target training by gradient steps: all layers above the frozen ones learn, and a new head."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whypretrain.files.snapshots import State
from whypretrain.learning import regularising, runs, schedules, training
from whypretrain.learning.data import Columns, append
from whypretrain.learning.models import Network, Weights, in_batches, load_weights, weights_of
from whypretrain.learning.runs import Outcome, Request
from whypretrain.randomness import stream
from whypretrain.readouts.similarity import as_kernels, kernel_cosine

log = logging.getLogger("whypretrain")


def run_steps(recipe: Mapping[str, Any], images: int) -> tuple[int, int]:
    """Return the steps of a run and of one read-out epoch: whole passes, at least `epoch_steps` of them."""
    a_pass = schedules.steps_per_pass(images, recipe["batch_size"])
    steps = max(math.ceil(recipe["epochs"] * a_pass), recipe["min_steps"])
    return steps, a_pass * math.ceil(recipe["epoch_steps"] / a_pass)


def _record_kernels(kernels: Columns, request: Request, network: Network, epoch: int) -> None:
    current = weights_of(network)
    for layer in request.layers:
        name = f"layer{layer.number}.weight"
        pairing = stream("null", request.seed, layer.number).permutation(len(as_kernels(current[name])))
        cosine = kernel_cosine(request.start[name], current[name], pairing)
        append(kernels, {"target_epoch": epoch, "layer": layer.number, **cosine.columns()})


def _inputs(network: Network, images: Tensor, frozen: int) -> Tensor:
    """Return what the layer above the frozen ones takes: their outputs, or with none frozen the images."""
    return in_batches(lambda batch: network.outputs(batch, last=frozen), images) if frozen else images


def train_above(request: Request, frozen: int, head: Weights | None = None) -> Outcome:
    """Train one run, but for its first `frozen` layers, and return what is read out of it.

    Frozen layers are a fixed function, in evaluation mode: their outputs for training and validation
    images are computed once, and kept in memory. A run whose loss is not finite ends early with
    `diverged` and the chance score; one that ends near chance on its own training images is
    `collapsed`. Both are results. It starts from a new head, or from the one given, and goes on where
    it was stopped.
    Raises ValueError without a recipe or learning rate.
    """
    data, recipe, peak = request.data, request.recipe, request.learning_rate
    if recipe is None or peak is None:
        raise ValueError(f"mode '{request.mode.name}' learns by gradient steps; give it a recipe and a learning rate")
    network, first = runs.start_network(request), frozen + 1
    if head:
        load_weights(network, weights_of(network) | head)
    images, held_out = (_inputs(network, data.images[part], frozen) for part in ("train", "validation"))
    labels = data.labels["train"]
    steps, epoch_steps = run_steps(recipe, len(images))
    stopped = request.progress.state()
    nothing: dict[str, Any] = {"history": {}, "kernels": {}, "loss": 0.0, "correct": 0.0, "seen": 0, "step": 0}
    values = stopped.values if stopped else nothing
    history: Columns = values["history"]
    kernels: Columns = values["kernels"]

    def record(epoch: int, step: int, loss: float, top1: float) -> None:
        validation = training.evaluate(network, held_out, data.labels["validation"], first=first)
        row = {
            "target_epoch": epoch,
            "step": step,
            "loss_train": loss,
            "top1_train": top1,
            "loss_validation": validation.loss,
            "top1_validation": validation.top1,
        }
        append(history, row)
        _record_kernels(kernels, request, network, epoch)
        log.info(
            "rate %g seed %d epoch %d/%d step %d/%d: train loss %.3f top-1 %.3f, validation loss %.3f top-1 %.3f",
            *(peak, request.seed, epoch, math.ceil(steps / epoch_steps), step, steps),
            *(loss, top1, validation.loss, validation.top1),
        )

    if not stopped:
        start = training.evaluate(network, images, labels, first=first)
        record(0, 0, start.loss, start.top1)
    losses, correct = torch.tensor(values["loss"]), torch.tensor(values["correct"])
    seen, diverged, done = values["seen"], False, values["step"]

    def state() -> State:
        sums = {"loss": float(losses), "correct": float(correct), "seen": seen}
        return State(step.state(), {"history": history, "kernels": kernels, **sums, "step": step.number})

    for step in training.train(
        network,
        images,
        labels,
        rate=schedules.rate_of(recipe, peak, steps),
        steps=steps,
        batch_size=recipe["batch_size"],
        weight_decay=recipe["weight_decay"],
        order=stream("target-order", request.seed, request.task),
        first=first,
        regulariser=regularising.build(
            recipe["regulariser"], network, stream("regulariser", request.seed, request.task)
        ),
        done=done,
        state=stopped.arrays if stopped else None,
    ):
        done = step.number
        losses, correct, seen = losses + step.loss * step.images, correct + step.correct, seen + step.images
        if step.number % epoch_steps == 0 or step.number == steps:
            loss = float(losses) / seen
            diverged = not math.isfinite(loss)
            if diverged:
                break
            record(math.ceil(step.number / epoch_steps), step.number, loss, float(correct) / seen)
            losses, correct, seen = torch.zeros(()), torch.zeros(()), 0
        if step.number < steps:
            request.progress.offer(state)
    return _outcome(request, network, history, kernels, done, diverged)


def _outcome(
    request: Request, network: Network, history: Columns, kernels: Columns, steps: int, diverged: bool
) -> Outcome:
    data = request.data
    scored = {part: training.evaluate(network, data.images[part], data.labels[part]) for part in data.images}
    diverged = diverged or not all(math.isfinite(score.loss) for score in scored.values())
    if diverged:
        log.info("rate %g seed %d diverged after %d steps", request.learning_rate, request.seed, steps)
    row = runs.scores(
        data,
        {part: score.top1 for part, score in scored.items()},
        {part: score.loss for part, score in scored.items()},
        {part: score.predictions for part, score in scored.items()},
        steps=steps,
        diverged=diverged,
    )
    return Outcome(history, kernels, row, scored["test"].predictions.astype(np.uint8), weights_of(network))
