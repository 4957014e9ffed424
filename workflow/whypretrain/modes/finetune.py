"""Fine-tuning: every layer learns, from the start's weights and under a new head."""

import logging
import math
from typing import Any

import numpy as np
import torch

from whypretrain import schedules, training
from whypretrain.initialisation import initialise_head
from whypretrain.models import Network, load_weights, reestimate_statistics, weights_of
from whypretrain.randomness import stream
from whypretrain.runs import Columns, Outcome, Request, append
from whypretrain.similarity import as_kernels, kernel_cosine

COLLAPSE = 0.05  # a run that ends with train top-1 below chance plus this is called collapsed

log = logging.getLogger("whypretrain")


def run_steps(recipe: Any, images: int) -> tuple[int, int]:
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


def run(request: Request) -> Outcome:
    """Train one run and return what is read out of it.

    The norms' statistics are re-estimated on the target's training images first. A run whose
    loss is not finite ends early with `diverged` and the chance score; one that ends near
    chance on its own training images is `collapsed`. Both are results.
    """
    data, recipe = request.data, request.recipe
    head = initialise_head(request.layers[-1].outputs, data.classes, stream("head", request.seed, request.task))
    network = Network(request.layers, data.classes)
    body = {name: array for name, array in request.start.items() if not name.startswith("head.")}
    load_weights(network, {**body, **head})
    network.to(request.device)
    reestimate_statistics(network, data.images["train"])

    images, labels = data.images["train"], data.labels["train"]
    steps, epoch_steps = run_steps(recipe, len(images))
    history: Columns = {}
    kernels: Columns = {}

    def record(epoch: int, step: int, loss: float, top1: float) -> None:
        validation = training.evaluate(network, data.images["validation"], data.labels["validation"])
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
            *(request.learning_rate, request.seed, epoch, math.ceil(steps / epoch_steps), step, steps),
            *(loss, top1, validation.loss, validation.top1),
        )

    start = training.evaluate(network, images, labels)
    record(0, 0, start.loss, start.top1)
    losses, correct, seen, diverged, step = torch.zeros(()), torch.zeros(()), 0, False, None
    warmup = round(recipe["warmup_share"] * steps)
    for step in training.train(
        network,
        images,
        labels,
        rate=schedules.warmup_then_cosine(request.learning_rate, warmup, steps),
        steps=steps,
        batch_size=recipe["batch_size"],
        weight_decay=recipe["weight_decay"],
        order=stream("target-order", request.seed, request.task),
    ):
        losses, correct, seen = losses + step.loss * step.images, correct + step.correct, seen + step.images
        if step.number % epoch_steps == 0 or step.number == steps:
            loss = float(losses) / seen
            diverged = not math.isfinite(loss)
            if diverged:
                break
            record(math.ceil(step.number / epoch_steps), step.number, loss, float(correct) / seen)
            losses, correct, seen = torch.zeros(()), torch.zeros(()), 0
    done = step.number if step else 0
    return _outcome(request, network, history, kernels, done, diverged)


def _outcome(
    request: Request, network: Network, history: Columns, kernels: Columns, steps: int, diverged: bool
) -> Outcome:
    data = request.data
    scored = {part: training.evaluate(network, data.images[part], data.labels[part]) for part in data.images}
    diverged = diverged or not all(math.isfinite(score.loss) for score in scored.values())
    chance = 1.0 / data.classes
    scores: dict[str, Any] = {
        "diverged": diverged,
        "collapsed": not diverged and scored["train"].top1 < chance + COLLAPSE,
    }
    for part, score in scored.items():
        scores[f"top1_{part}"] = chance if diverged else score.top1
        scores[f"loss_{part}"] = math.log(data.classes) if diverged else score.loss
    scores["steps"] = steps
    if diverged:
        log.info("rate %g seed %d diverged after %d steps", request.learning_rate, request.seed, steps)
    return Outcome(history, kernels, scores, scored["test"].predictions.astype(np.uint8), weights_of(network))
