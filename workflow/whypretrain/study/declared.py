"""What a module declares about itself in literal constants, read without importing it.

So the Snakefile can ask a figure what it reads and doesn't import matplotlib.
"""

import ast
from functools import cache
from typing import Any

from whypretrain.registry import PACKAGE


@cache
def constants(kind: str, name: str) -> dict[str, Any]:
    """Return the literal constants (`TABLES = ("runs",)`) of the entry `name` of the folder `kind`."""
    path = PACKAGE / kind / f"{name.replace('-', '_')}.py"
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found
