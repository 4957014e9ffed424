"""Runs of a plan as tests make them up: every arm at every rate of its grid, which no pilot need select from."""

from collections.abc import Iterator

from whypretrain.grid.coordinates import Arm
from whypretrain.jobs.plan import Plan


def every_run(plan: Plan) -> Iterator[tuple[Arm, float | None, int]]:
    """Yield arm, learning rate and seed of all runs of the whole grid."""
    for arm in plan.arms:
        for rate in plan.grid.rates(arm):
            for seed in plan.config.seeds:
                yield arm, rate, seed
