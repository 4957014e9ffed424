"""A plan from a collector's spec: the collectors expand the grid again, from the config values they were told."""

from collections.abc import Mapping
from typing import Any

from whypretrain.config import Config
from whypretrain.plan import Plan


def plan_of(spec: Mapping[str, Any]) -> Plan:
    """Return the plan that a collector's spec describes."""
    return Plan(Config.model_validate(spec["config"]), spec["versions"])
