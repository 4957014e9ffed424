"""Lengths and learning-rate schedules of training, known without torch. Steps are counted from 1."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def steps_per_pass(images: int, batch_size: int) -> int:
    """Return the batches of one pass: a last batch of one image is dropped, a larger one is not."""
    whole, rest = divmod(images, min(batch_size, images))
    return whole + (rest >= 2)


def checkpoint_steps(checkpoints: Sequence[float], images: int, batch_size: int) -> dict[int, float]:
    """Return the step of each checkpoint after epoch 0, an epoch being a pass over the images.

    Fractions fall on the nearest step, at least the first. Raises ValueError where two fall on one.
    """
    a_pass = steps_per_pass(images, batch_size)
    steps = {max(1, round(epoch * a_pass)): epoch for epoch in checkpoints[1:]}
    if len(steps) < len(checkpoints) - 1:
        raise ValueError(f"two of the checkpoints {list(checkpoints)} fall on one step: a pass has {a_pass}")
    return steps


def layer_ends(steps: int, layers: int) -> list[int]:
    """Return the last step of each layer where layers learn one after another in even shares of all steps.

    Raises ValueError where there are fewer steps than layers.
    """
    if steps < layers:
        raise ValueError(f"{layers} layers that learn one after another need {layers} steps or more, not {steps}")
    return [number * steps // layers for number in range(1, layers + 1)]


def constant_after_warmup(peak: float, warmup: int) -> Callable[[int], float]:
    """Return the source's schedule: linear from 0 in `warmup` steps, then constant."""
    return lambda step: peak * min(1.0, step / max(1, warmup))


def linear_to_zero(peak: float, steps: int) -> Callable[[int], float]:
    """Return the schedule of an annealed branch: linear from `peak` to zero."""
    return lambda step: peak * (1 - (step - 1) / steps)


def warmup_then_cosine(peak: float, warmup: int, steps: int) -> Callable[[int], float]:
    """Return the target's usual schedule: linear from 0 in `warmup` steps, then a cosine to zero."""

    def rate(step: int) -> float:
        if step <= warmup:
            return peak * step / warmup
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return rate


def warmup_constant_linear(peak: float, warmup: int, decay: int, steps: int) -> Callable[[int], float]:
    """Return the source's schedule within one run: `constant_after_warmup`, and in the last `decay` steps a branch.

    The branch falls as `linear_to_zero` does, from the rate reached where it begins.
    """
    before = constant_after_warmup(peak, warmup)
    turn = steps - decay
    branch = linear_to_zero(before(max(1, turn)), decay)
    return lambda step: before(step) if step <= turn else branch(step - turn)


def rate_of(recipe: Mapping[str, Any], peak: float, steps: int) -> Callable[[int], float]:
    """Return the schedule of a recipe (`schedule`, `warmup_share`, `decay_share`) for a run of `steps` steps.

    Raises ValueError for a schedule that doesn't exist.
    """
    warmup = round(recipe["warmup_share"] * steps)
    match recipe["schedule"]:
        case "cosine":
            return warmup_then_cosine(peak, warmup, steps)
        case "constant":
            return warmup_constant_linear(peak, warmup, round(recipe["decay_share"] * steps), steps)
        case unknown:
            raise ValueError(f"unknown schedule '{unknown}'; allowed: cosine, constant")
