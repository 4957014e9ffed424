"""Fingerprints: they change when, and only when, code that a job can reach does."""

import ast
import time
from pathlib import Path

import pytest

from whypretrain import registry
from whypretrain.jobs.fingerprints import (
    ASIDE,
    PACKAGE,
    closure,
    digest,
    fingerprint,
    imported,
    stage_fingerprint,
)

KNOWN = '''"""A module."""
from __future__ import annotations

import math as m

LIMIT: int = 3


class Thing:
    """A thing."""

    def size(self, *, scale: float = 1.5, **rest: object) -> float:
        """Return it."""
        # a comment
        return m.sqrt(LIMIT) * scale if rest else -1


async def wait(values):
    return [f"{v!r:>10}" async for v in values if v not in (None, b"x", 1j, ...)]
'''
# of the source above, on every version of Python from 3.11 on
PINNED = "9f2992791a350e919dd953f205abc20182e96dc6f7683a9f21474e3d0e252887"

FUNCTION = """
def f(x, y=2):
    z = x + y
    return z
"""


def digest_source(text: str) -> str:
    return digest(ast.parse(text))


def test_a_known_source_has_the_known_digest():
    assert digest_source(KNOWN) == PINNED


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\ndef f(x, y=2):  # another\n    z = x + y\n    return z\n",
        '"""A module."""\ndef f(x, y=2):\n    """A docstring."""\n    z = x + y\n    return z\n',
        "\n\n\ndef f(\n    x,\n    y=2,\n):\n    z = (x + y)\n\n    return z",
        "def f(x, y=0x2):\n    z = x + y; return z\n",
    ],
)
def test_comments_docstrings_and_formatting_change_nothing(text: str):
    assert digest_source(text) == digest_source(FUNCTION)


@pytest.mark.parametrize(
    "text",
    [
        "def f(x, y=3):\n    z = x + y\n    return z\n",
        "def f(x, y=2.0):\n    z = x + y\n    return z\n",
        "def f(x, y='2'):\n    z = x + y\n    return z\n",
        "def f(x, y=b'2'):\n    z = x + y\n    return z\n",
        "def f(x, y=True):\n    z = x + y\n    return z\n",
        "def f(x, y=None):\n    z = x + y\n    return z\n",
        "def f(x, *, y=2):\n    z = x + y\n    return z\n",
        "def f(x, y=2):\n    z = y + x\n    return z\n",
        "def f(x, y=2):\n    z = x - y\n    return z\n",
        "def f(x, y=2):\n    z = x + y\n    return x\n",
        "def f(x, y=2):\n    z = x + y\n",
        "def g(x, y=2):\n    z = x + y\n    return z\n",
        "async def f(x, y=2):\n    z = x + y\n    return z\n",
        "@cache\ndef f(x, y=2):\n    z = x + y\n    return z\n",
        "def f(x, y=2):\n    z = x + y\n    'not a docstring'\n    return z\n",
    ],
)
def test_a_change_of_code_is_another_digest(text: str):
    assert digest_source(text) != digest_source(FUNCTION)


def package(folder: Path, **modules: str) -> Path:
    """Write a small package named as ours, `a__b` being the module `a.b`."""
    root = folder / "whypretrain"
    root.mkdir(parents=True, exist_ok=True)
    (root / "__init__.py").touch()
    for name, source in modules.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(source)
    return root


@pytest.mark.parametrize(
    "source",
    [
        "import whypretrain.b",
        "import whypretrain.b as other",
        "from whypretrain import b",
        "from whypretrain.b import f",
        "def late():\n    from whypretrain import b\n",
        "if False:\n    import whypretrain.b\n",
        "class A:\n    def f(self):\n        import whypretrain.b\n",
        "from whypretrain.c import g",  # which imports b
    ],
)
def test_the_closure_follows_every_import(tmp_path: Path, source: str):
    root = package(tmp_path, a=source, b="X = 1", c="from whypretrain.b import X as g", d="import math")
    found = closure(["whypretrain.a"], root)
    assert "whypretrain.b" in found
    assert "whypretrain.d" not in found
    before = fingerprint(("whypretrain.a",), root)
    other = package(tmp_path / "..", a=source, b="X = 2", c="from whypretrain.b import X as g", d="")
    assert fingerprint(("whypretrain.a",), other) != before


def test_a_table_beside_a_module_is_part_of_its_code(tmp_path: Path):
    first, second = (package(tmp_path / name, a="X = 1", b="Y = 1") for name in ("first", "second"))
    (first / "a.csv").write_text("table,column\n")
    (second / "a.csv").write_text("table,description\n")
    assert fingerprint(("whypretrain.a",), first) != fingerprint(("whypretrain.a",), second)
    assert fingerprint(("whypretrain.b",), first) == fingerprint(("whypretrain.b",), second)


def test_a_circle_of_imports_is_followed_once(tmp_path: Path):
    root = package(tmp_path, a="import whypretrain.b", b="import whypretrain.a")
    assert {"whypretrain.a", "whypretrain.b"} <= set(closure(["whypretrain.a"], root))


def test_a_relative_import_is_refused_and_not_overlooked(tmp_path: Path):
    root = package(tmp_path, a="from .b import X", b="X = 1")
    with pytest.raises(ValueError, match="write it absolute"):
        closure(["whypretrain.a"], root)


def test_what_only_looks_after_jobs_is_in_no_fingerprint_and_leads_to_nothing_that_is(tmp_path: Path):
    root = package(tmp_path, a="import whypretrain.running.devices", running__devices="X = 1")
    before = fingerprint(("whypretrain.a",), root)
    other = package(tmp_path / "other", a="import whypretrain.running.devices", running__devices="X = 2")
    assert fingerprint(("whypretrain.a",), other) == before


def test_no_job_reaches_code_by_way_of_what_looks_after_jobs_alone():
    def imports(module: str) -> set[str]:
        path = PACKAGE.joinpath(*module.split(".")[1:])
        found = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        return {
            module for module in imported(ast.parse(found)) if not (PACKAGE.joinpath(*module.split(".")[1:])).is_dir()
        }

    stages = [f"whypretrain.stages.{path.stem}" for path in (PACKAGE / "stages").glob("[a-z]*.py")]
    waiting = {each for module in closure(stages) for each in imports(module) if each.startswith(ASIDE)}
    assert {f"{ASIDE}.{name}" for name in ("devices", "locking", "memory", "provenance")} <= waiting
    seen = set[str]()
    while waiting:
        module = waiting.pop()
        assert [each for each in imports(module) if not each.startswith(ASIDE)] == [], module
        seen.add(module)
        waiting |= imports(module) - seen


def test_a_module_that_isnt_there_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no module whypretrain\.lost"):
        fingerprint(("whypretrain.lost",), package(tmp_path))


def test_a_job_reaches_what_it_runs_and_no_other_stage():
    train = set(closure(("whypretrain.stages.train_run", "whypretrain.training.modes.finetune")))
    assert {"loop", "network", "cosine", "tasks", "partition", "randomness", "storage"} <= {
        name.split(".")[-1] for name in train
    }
    for foreign in ("treatments", "figures", "data.datasets", "jobs", "evidence"):
        assert not [name for name in train if name.startswith(f"whypretrain.{foreign}.")]
    assert not {"whypretrain.config.models", "whypretrain.grid.grid", "whypretrain.files.schemas"} & train


def test_plotting_reaches_no_training_and_training_no_plotting():
    plotted = closure(("whypretrain.stages.plot_figure",))
    assert not [name for name in plotted if name.startswith(("whypretrain.training.", "whypretrain.networks."))]


@pytest.mark.parametrize("treatment", registry.names("treatments"))
def test_the_code_of_a_treatment_holds_that_treatment_alone(treatment: str):
    module = registry.module_name("treatments", treatment)
    found = closure(("whypretrain.stages.treat_checkpoint", module))
    of_treatments = {name for name in found if name.startswith("whypretrain.treatments.ladder.")}
    assert of_treatments <= set(closure((module,))), "the stage itself reaches no treatment"
    others = {
        stage_fingerprint("treat_checkpoint", [registry.module_name("treatments", other)])
        for other in registry.names("treatments")
        if other != treatment
    }
    assert stage_fingerprint("treat_checkpoint", [module]) not in others


def test_a_thousand_fingerprints_take_no_time():
    stage_fingerprint("train_run", ["whypretrain.training.modes.finetune"])
    start = time.perf_counter()
    for _ in range(1000):
        stage_fingerprint("train_run", ["whypretrain.training.modes.finetune"])
    assert time.perf_counter() - start < 0.2
