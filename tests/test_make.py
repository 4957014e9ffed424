"""What make hands to Snakemake, below any path and in any environment of its caller."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import ROOT, TINY, Project, curves, fresh, plan_of, put, tiny
from made_runs import every_run

from whypretrain.config.models import ConfigError
from whypretrain.jobs.blocks import blocks_of

# tells what Snakemake is called with; all else is Python's
PYTHON = """#!/bin/sh
if [ "$2" = snakemake ]; then shift 2; echo "snakemake $*"; else exec '{python}' "$@"; fi
"""


@pytest.mark.parametrize(
    ("target", "given", "report", "config"),
    [
        ("run", (), "results/report.html", ""),
        ("run", (f"CONFIG={TINY}",), "elsewhere/report.html", ""),
        ("run", (f"CONFIG={TINY}", "RESULTS=other"), "other/report.html", " --config results=other"),
        ("partial", (f"CONFIG={TINY}",), "elsewhere/partial/report.html", " --config partial=true"),
        (
            "partial",
            (f"CONFIG={TINY}", "RESULTS=other", "STUDY=tiny"),
            "other/partial/report.html",
            " --config partial=true study=tiny results=other",
        ),
    ],
)
def test_the_report_is_beside_the_results(
    target: str, given: tuple[str, ...], report: str, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = fresh(tmp_path / "project")
    project.write_config(put(tiny(), "results", "elsewhere"))
    (project.path / "Makefile").write_text((ROOT / "Makefile").read_text())
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python").write_text(PYTHON.format(python=sys.executable))
    (programs / "python").chmod(0o755)
    path = f"{programs}:{project.environment()['PATH']}"
    told = project.run(
        "env", f"PATH={path}", "make", "--silent", target, "READY=envs/requirements.txt", *given, status=0
    )
    (made,) = (line for line in told.splitlines() if line.startswith("snakemake "))
    assert made.endswith(config)
    # make itself warns of what stands in for the environment
    assert [line for line in told.splitlines() if not line.startswith("make: ")][-1] == f"The report: {report}"


# --- any path, any caller ------------------------------------------------------------------

HOSTILE = """it's "a" $(touch PWNED) $HOME [b] `touch PWNED` 50% & #1"""


def make(project: Project, *words: str, status: int = 0, umask: int = -1, **environment: str | None) -> str:
    """Call make in a project, with variables of the environment set or, where None, taken out."""
    shutil.copy(ROOT / "Makefile", project.path)
    told = {name: value for name, value in (project.environment() | environment).items() if value is not None}
    command = ["make", *words]
    done = subprocess.run(command, cwd=project.path, env=told, umask=umask, capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert done.returncode == status, text
    return text


def foreign_package(folder: Path) -> str:
    """Return a folder with a pydantic that is none, as a user's PYTHONPATH may have."""
    folder.mkdir()
    (folder / "pydantic.py").write_text("raise ImportError('the wrong pydantic')\n")
    return str(folder)


@pytest.mark.soak
def test_a_whole_life_below_a_hostile_path_touches_nothing_else(tmp_path: Path):
    """From `make setup` to `make clean`: in a shared folder, with no home, from a notebook."""
    shared = tmp_path / "PhD"
    for neighbour in (shared, tmp_path / "it's", tmp_path / ".venv"):
        neighbour.mkdir()
        (neighbour / "thesis.tex").touch()
    parent = tmp_path / f"PhD {HOSTILE}"
    parent.mkdir()
    parent.chmod(0o2775)
    before = sorted(tmp_path.rglob("*"))
    project = fresh(parent / f"project {HOSTILE}")
    project.path.chmod(0o2775)
    (project.path / "envs/requirements.txt").rename(project.path / "envs/pins")
    (project.path / "envs/requirements.txt").touch()  # nothing is fetched
    wanted = {"HOME": "/dev/null", "XDG_CACHE_HOME": None, "MPLBACKEND": "module://no_such_backend"}
    make(project, "setup", f"PYTHON={sys.executable}", umask=0o002, **wanted)
    (packages,) = project.path.glob(".venv/lib/python*/site-packages")
    (packages / "these.pth").write_text(sysconfig.get_path("purelib"))
    (project.path / "envs/pins").rename(project.path / "envs/requirements.txt")
    (project.path / ".venv/.ready").touch()
    make(project, "run", f"CONFIG={TINY}", "CORES=2", umask=0o002, **wanted)
    assert (project.path / "results/report.html").stat().st_size > 100_000
    assert "fresh; 0 not made yet" in make(project, "audit", f"CONFIG={TINY}", **wanted)
    closed = [
        path
        for folder in ("results", ".snakemake")
        for path in (project.path / folder).rglob("*")
        if "cache" not in path.parts and path.stat().st_mode & 0o060 != 0o060
    ]
    assert closed == [], "a colleague can't go on from these"
    make(project, "clean")
    assert not (project.path / ".venv").exists()
    shutil.rmtree(project.path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["a:b", "a{b}"])
def test_a_path_that_cannot_be_is_told_in_one_message(name: str, tmp_path: Path):
    project = fresh(tmp_path / name)
    text = project.snakemake("-n", status=1)
    assert text.count(f"{project.path}: the path of the project has") == 1
    assert "Traceback" not in text


def test_a_foreign_pythonpath_is_not_asked(again: Project, tmp_path: Path):
    foreign = foreign_package(tmp_path / "foreign")
    assert "0 not made yet" in make(again, "audit", "READY=envs/requirements.txt", f"CONFIG={TINY}", PYTHONPATH=foreign)


def test_make_gives_a_user_without_a_name_one(again: Project):
    (again.path / "Makefile").write_text((ROOT / "Makefile").read_text() + '\ntell:\n\t@echo "user $$USER"\n')
    told = {name: value for name, value in again.environment().items() if name not in ("USER", "LOGNAME")}
    done = subprocess.run(["make", "tell"], cwd=again.path, env=told, capture_output=True, text=True)
    assert done.stdout.removeprefix("user ").strip(), os.getuid()


def test_without_a_home_to_write_to_the_cache_is_the_projects(again: Project):
    words = ("run", "READY=envs/requirements.txt", f"CONFIG={TINY}")
    text = make(again, *words, HOME="/dev/null", XDG_CACHE_HOME=None)
    assert "Nothing to be done" in text


def test_a_notebooks_backend_is_nothing_to_figures(again: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.no_such_backend")
    again.snakemake("--cores", "1", "--forcerun", "plot_accuracy_by_span")


def test_a_first_look_is_a_study_that_all_of_them_go_on_from():
    raw = curves()
    first, whole = plan_of(raw | {"study": "tiny"}), plan_of(raw)
    assert list(first.config.studies) == ["tiny"]
    assert set(every_run(first)) < set(every_run(whole))
    pilots = [{form.one("scores", at).path for form, at, _ in plan.batches(pilots=True)} for plan in (first, whole)]
    assert pilots[0] < pilots[1]
    assert blocks_of(first.config) == blocks_of(whole.config)
    with pytest.raises(ConfigError, match=r"study: is 'tyni'; allowed: .*tiny"):
        plan_of(raw | {"study": "tyni"})
