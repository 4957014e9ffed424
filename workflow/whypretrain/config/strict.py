"""What all models of config share: their base, and the types of names and numbers."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)
]  # logs are named by several
Positive = Annotated[float, Field(gt=0)]
Number = Annotated[float, Field(ge=0)]


class ConfigError(Exception):
    """A mistake in config: one message with the key, the value and what is allowed."""


class Strict(BaseModel):
    """A part of config: no unknown keys, defaults checked like values, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def several(value: Any) -> Any:
    """Return a list as it is, and anything else as the one entry of one: what stands alone needs no brackets."""
    return value if isinstance(value, list | tuple) else (value,)
