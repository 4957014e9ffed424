"""A registry is a folder: the name in config selects the module of that name."""

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).parent
FOLDERS = {
    "datasets": "data/datasets",
    "treatments": "treatments/ladder",
    "objectives": "training/objectives",
    "modes": "training/modes",
    "regularisers": "training/regularisers",
    "measures": "measures/readouts",
    "figures": "figures",
}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Return the entries of a kind, as config spells them (`shuffle-kernels`)."""
    files = (PACKAGE / FOLDERS[kind]).glob("*.py")
    return tuple(sorted(f.stem.replace("_", "-") for f in files if f.stem != "__init__"))


def module_name(kind: str, name: str) -> str:
    """Return the dotted name of the module behind an entry."""
    return f"whypretrain.{FOLDERS[kind].replace('/', '.')}.{name.replace('-', '_')}"


def load(kind: str, name: str) -> ModuleType:
    """Import the entry `name` of a kind.

    Raises ValueError, with the names that exist, where there is none.
    """
    if name not in names(kind):
        raise ValueError(f"unknown {kind.removesuffix('s')} '{name}'; allowed: {', '.join(names(kind))}")
    return importlib.import_module(module_name(kind, name))


@cache
def constants(kind: str, name: str) -> dict[str, Any]:
    """Return the literal constants of an entry (`TABLES = ("runs",)`), read without importing it.

    So the Snakefile can ask a figure what it reads, and doesn't import matplotlib.
    """
    path = PACKAGE / FOLDERS[kind] / f"{name.replace('-', '_')}.py"
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found
