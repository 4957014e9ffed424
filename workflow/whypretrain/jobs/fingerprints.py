"""The fingerprint of the code that a job can reach.

A job's code is its stage, the modules that its spec selects, and all modules of this
package that those import, at any depth. The fingerprint is a hash of their syntax trees
without docstrings and comments, in a form of our own that leaves out empty fields, so
that neither a comment nor the version of Python changes it. A table that a module reads (`schemas.csv`, beside
`schemas.py`) is part of its code.
"""

import ast
import atexit
import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.name
# What looks after how a job runs, and what is told of it: no result depends on these, so they make none stale.
ASIDE = f"{ROOT}.running"


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body


def _dump(node: object) -> str:
    if isinstance(node, ast.AST):
        parts = []
        for name in sorted(node._fields):
            value = getattr(node, name, None)
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if name == "body" and documented:
                value = _without_docstring(value)  # type: ignore[arg-type]
            if name in ("ctx", "kind", "type_comment", "type_ignores") or value is None or value == []:
                continue
            parts.append(f"{name}={_dump(value)}")
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list):
        return f"[{','.join(map(_dump, node))}]"
    return f"{type(node).__name__}:{node!r}"


def digest(tree: ast.AST) -> str:
    """Return the digest of a syntax tree, without docstrings and comments."""
    return hashlib.sha256(_dump(tree).encode()).hexdigest()


def _path(module: str, package: Path) -> Path | None:
    path = package.joinpath(*module.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported(tree: ast.AST, package: Path = PACKAGE) -> Iterator[str]:
    """Yield the modules of this package that a module imports, wherever in it. Raises ValueError of a relative one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == ROOT)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"relative import of '{node.module}': write it absolute, fingerprints follow those")
            if (node.module or "").split(".")[0] == ROOT:
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                yield from (str(node.module), *(name for name in names if _path(name, package)))


class _Known:
    """Digests and imports of modules by the hash of their text, kept where Python keeps compiled modules.

    Parsing the whole package takes a second, which every job on a cluster would pay. What is kept is only of this very
    text of this very module and package, so it can be wrong of nothing; where it can't be written, nothing is kept.
    """

    def __init__(self, package: Path) -> None:
        self.file = package / "__pycache__" / "fingerprints.json"
        names = ",".join(sorted(str(path.relative_to(package)) for path in package.rglob("*.py")))
        # what an import names can be a module or a function: that depends on which files there are
        self.version = hashlib.sha256(Path(__file__).read_bytes() + names.encode()).hexdigest()
        self.entries: dict[str, list[Any]] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self.file.read_text(encoding="utf-8"))
            self.entries = found["modules"] if found["version"] == self.version else {}
        self.changed = False

    def of(self, source: bytes, package: Path) -> list[Any]:
        key = hashlib.sha256(source).hexdigest()
        if key not in self.entries:
            tree = ast.parse(source)
            self.entries[key] = [digest(tree), sorted(set(imported(tree, package)))]
            self.changed = True
        return self.entries[key]

    def keep(self) -> None:
        if self.changed:
            with contextlib.suppress(OSError):
                self.file.parent.mkdir(exist_ok=True)
                part = self.file.with_suffix(f".{os.getpid()}.part")
                part.write_text(json.dumps({"version": self.version, "modules": self.entries}), encoding="utf-8")
                part.replace(self.file)
        self.changed = False


@cache
def _known(package: Path) -> _Known:
    known = _Known(package)
    atexit.register(known.keep)
    return known


@cache
def _module(module: str, package: Path) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a module and of its table, and what it imports."""
    path = _path(module, package)
    if path is None:
        raise ValueError(f"no module {module} in {package}")
    found, imports = _known(package).of(path.read_bytes(), package)
    table = path.with_suffix(".csv")
    return found + (hashlib.sha256(table.read_bytes()).hexdigest() if table.exists() else ""), tuple(imports)


def closure(modules: Iterable[str], package: Path = PACKAGE) -> tuple[str, ...]:
    """Return the given modules and all that they import within the package, but those of ASIDE, sorted."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and not f"{module}.".startswith(f"{ASIDE}."):
            found.add(module)
            waiting.extend(_module(module, package)[1])
    return tuple(sorted(found))


@cache
def fingerprint(modules: tuple[str, ...], package: Path = PACKAGE) -> str:
    """Return 16 hexadecimal digits that change when, and only when, reachable code does."""
    lines = [f"{module} {_module(module, package)[0]}" for module in closure(modules, package)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def stage_fingerprint(stage: str, selected: Iterable[str] = ()) -> str:
    """Return the fingerprint of a stage and of the modules that its spec selects."""
    return fingerprint((f"{ROOT}.stages.{stage}", *sorted(set(selected))))
