"""A plan from a collector's spec: the collectors expand the grid again, from the config values they were told."""

from collections.abc import Mapping
from typing import Any

from whypretrain.command import StageError
from whypretrain.config import Config, ConfigError
from whypretrain.plan import Plan


def plan_of(spec: Mapping[str, Any]) -> Plan:
    """Return the plan that a collector's spec describes.

    Raises StageError where a folder of images that was there when the job was planned is not there now.
    """
    try:
        return Plan(Config.model_validate(spec["config"]), spec["versions"])
    except ConfigError as error:
        raise StageError(str(error)) from None
