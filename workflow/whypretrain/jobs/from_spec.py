"""A plan from a collector's spec: the collectors expand the grid again, from the config values they were told."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from whypretrain.command import StageError
from whypretrain.config.models import Config, ConfigError
from whypretrain.grid.coordinates import ARM_KEYS, key_of
from whypretrain.grid.grid import Grid
from whypretrain.jobs.plan import Plan


def plan_of(spec: Mapping[str, Any]) -> Plan:
    """Return the plan that a collector's spec describes.

    Raises StageError where a folder of images that was there when the job was planned is not there now.
    """
    try:
        return Plan(Config.model_validate(spec["config"]), spec["versions"])
    except ConfigError as error:
        raise StageError(str(error)) from None


def shown(plan: Plan, runs: pd.DataFrame) -> Grid:
    """Return the grid that tables are made of: of a partial plan the arms alone that have runs.

    So what isn't complete is summarised as if the studies asked for no more.
    """
    if not plan.config.partial:
        return plan.grid
    there = {tuple(map(str, keys)) for keys in runs[ARM_KEYS].drop_duplicates().itertuples(index=False, name=None)}
    arms = {arm: studies for arm, studies in plan.grid.arms.items() if key_of(arm) in there}
    return dataclasses.replace(plan.grid, arms=arms)
