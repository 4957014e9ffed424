"""What all models of config share: their base, and the types of names and numbers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from whypretrain.data.problems import UnusableFiles

# logs are named by several
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
Positive = Annotated[float, Field(gt=0)]
Number = Annotated[float, Field(ge=0)]


LEAST, MOST = 8, 1024  # pixels
Size = Annotated[int, Field(ge=LEAST, le=MOST)]


def sized(text: str) -> int:
    """Return the size that stands after the `@` of a target, in pixels. Raises ValueError for one that can't be."""
    if not re.fullmatch("[1-9][0-9]{0,5}", text) or not LEAST <= int(text) <= MOST:
        raise ValueError(f"the size is '@{text}'; allowed: @{LEAST} to {MOST} pixels")
    return int(text)


def _named(target: str) -> str:
    """Return a target as paths and tables have it: the size is the task's, `task@size.shots` of `task.shots@size`."""
    name, at, size = target.partition("@")
    if not at or "." in size:  # written as it stands in tables
        return target
    task, _, shots = name.rpartition(".")
    return f"{task}@{sized(size)}.{shots}"


TargetName = Annotated[str, AfterValidator(_named)]


class ConfigError(Exception):
    """A mistake in config: one message with the key, the value and what is allowed."""


@contextmanager
def mistakes_at(key: str, more: str = "") -> Iterator[None]:
    """Tell of a value that can't be, or a file that can't be read, as of a mistake at a key of config."""
    try:
        yield
    except (OSError, ValueError, UnusableFiles) as error:
        raise ConfigError(f"{key}: {error}{more}") from None


class Strict(BaseModel):
    """A part of config: no unknown keys, defaults checked like values, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def several(value: Any) -> Any:
    """Return a list as it is, and anything else as the one entry of one: what stands alone needs no brackets."""
    return value if isinstance(value, list | tuple) else (value,)
