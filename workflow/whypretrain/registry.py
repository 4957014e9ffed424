"""A registry is a folder: the name in config selects the module of that name."""

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent


@cache
def names(kind: str) -> tuple[str, ...]:
    """Return the entries of a folder, as config spells them (`shuffle-kernels`)."""
    files = (PACKAGE / kind).glob("*.py")
    return tuple(sorted(f.stem.replace("_", "-") for f in files if f.stem != "__init__"))


def module_name(kind: str, name: str) -> str:
    """Return the dotted name of the module behind an entry."""
    return f"whypretrain.{kind}.{name.replace('-', '_')}"


def load(kind: str, name: str) -> ModuleType:
    """Import the entry `name` of the folder `kind`.

    Raises ValueError, with the names that exist, where there is none.
    """
    if name not in names(kind):
        raise ValueError(f"unknown {kind.removesuffix('s')} '{name}'; allowed: {', '.join(names(kind))}")
    return importlib.import_module(module_name(kind, name))
