"""What tests share: the tiny study, plans of changed configs, and real runs of the pipeline in copies of it."""

import atexit
import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
import yaml

from whypretrain.command import Job
from whypretrain.config import models as config
from whypretrain.files.origins import Origin, canonical
from whypretrain.grid.coordinates import Arm, write_rate
from whypretrain.jobs.plan import Plan, pinned_versions
from whypretrain.jobs.runs import TrainRun
from whypretrain.jobs.selections import Selection

# a loaded machine makes no test fail
hypothesis.settings.register_profile("loaded", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("loaded")

ROOT = Path(__file__).parents[1]
TINY = "tests/config/tiny.yaml"
SHIPPED = ("config/config.yaml", "config/evening.yaml", "config/laptop.yaml")  # the studies that come with the project
NOWHERE = Origin("{}", "0", "")  # of a file that a test writes itself
PROJECT = ("Snakefile", "workflow", "config", "envs", "profiles", "tests/config")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def tiny() -> dict[str, Any]:
    """Return the tiny study as YAML gives it, to be changed at will."""
    content: dict[str, Any] = yaml.safe_load((ROOT / TINY).read_text())
    return content


def curves() -> dict[str, Any]:
    """Return the tiny study with the one of layers, checkpoints and pairs beside it."""
    content = tiny()
    more: dict[str, Any] = yaml.safe_load((ROOT / "tests/config/curves.yaml").read_text())
    return content | {key: content.get(key, {}) | value for key, value in more.items()}


def put(raw: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy of a config with one value (a dotted key, numbers for places in lists) changed."""
    changed = copy.deepcopy(raw)
    *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
    inner: Any = changed
    for parent in parents:
        inner = inner[parent]
    if isinstance(inner, list) and last == len(inner):
        inner.append(value)
    else:
        inner[last] = value
    return changed


def plan_of(raw: dict[str, Any]) -> Plan:
    """Return the plan of a config, as the Snakefile makes it."""
    return Plan(config.load(raw, ROOT), pinned_versions(ROOT / "envs" / "requirements.txt"))


def at_every_rate(plan: Plan) -> Plan:
    """Let a plan train all arms at all rates of their grids, as if each had been selected for some study."""

    @cache
    def of(study: str) -> dict[Arm, Selection]:
        return {arm: Selection(rates[0], rates) for arm in plan.grid.arms_of(study) if (rates := plan.grid.rates(arm))}

    plan.selections.of = of  # type: ignore[method-assign]
    return plan


def told_to(plan: Plan, stage: str, seeds: tuple[int, ...] = (0,), **at: str) -> dict[str, Any]:
    """Return the spec of a job of the first form of a stage, for some coordinates and seeds."""
    found: dict[str, Any] = json.loads(canonical(plan.forms_of(stage)[0].spec(SimpleNamespace(**at), seeds)))
    return found


def trains(plan: Plan, arm: Arm) -> TrainRun:
    """Return the form by which the first block of seeds that decide trains an arm."""
    found: TrainRun = next(form for form in plan.forms_of("train_run", pilots=False) if form.recipe == arm.recipe)
    return found


def batch(plan: Plan, kind: str, arm: Arm, rate: float | None, block: str = "s0") -> str:
    """Return a file of the batch of an arm's runs at a rate."""
    return plan.paths.file(kind, **arm.columns(), batch=f"lr-{write_rate(rate)}.{block}")


def job(spec: dict[str, Any], outputs: dict[str, list[Any]], **inputs: list[Any]) -> Job:
    """Return what a stage is given."""
    files = ({name: [str(path) for path in paths] for name, paths in each.items()} for each in (inputs, outputs))
    return Job(canonical(spec), "code", *files)


@pytest.fixture(scope="session")
def default_config() -> dict[str, Any]:
    """The embedded default study."""
    return config.read_yaml(ROOT / "config" / "config.yaml")


@dataclass(frozen=True)
class Project:
    """A copy of the project in a folder of its own, in which Snakemake really runs."""

    path: Path

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a call with the tiny study."""
        return [sys.executable, "-m", "snakemake", f"--configfile={TINY}", *arguments]

    def environment(self) -> dict[str, str]:
        """Return the caller's environment, with this Python's programs first and wide lines."""
        # the tests may have been started by make
        ours = ("PYTHONPATH", "MAKELEVEL", "CUDA_VISIBLE_DEVICES")  # the last from stages that tests have called
        found = {name: value for name, value in os.environ.items() if name not in ours}
        path = f"{without_cluster()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        other = self.path / "installed"
        found |= {"PYTHONPATH": str(other)} if other.exists() else {}
        return found | {"PATH": path, "COLUMNS": "400"}

    def install(self, package: str, version: str) -> None:
        """Let another version of a package be found where snakemake runs; jobs find what there really is."""
        folder = self.path / "installed" / f"{package.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")

    def snakemake(self, *arguments: str, status: int | None = 0) -> str:
        """Call Snakemake, hold its exit status against `status` (None for any), return all it prints."""
        done = subprocess.run(
            self.command(*arguments), cwd=self.path, env=self.environment(), capture_output=True, text=True
        )
        text = done.stdout + done.stderr
        assert status is None or done.returncode == status, text
        return text

    def run(self, *words: str, status: int | None = None) -> str:
        """Call another program in the project's folder, and return all it prints."""
        done = subprocess.run(words, cwd=self.path, env=self.environment(), capture_output=True, text=True)
        text = done.stdout + done.stderr
        assert status is None or done.returncode == status, text
        return text

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return the jobs that a dry run lists, by rule; nothing where all is up to date."""
        text = self.snakemake("-n", "--cores", "2", *arguments)
        if "Nothing to be done" in text:
            return {}
        stats = text.split("Job stats")[1].split("total")[0]
        found = re.findall(r"^\s*([a-z0-9 _]+?)\s{2,}(\d+)\s*$", stats, re.MULTILINE)
        return {rule.replace(" ", "_"): int(count) for rule, count in found}

    def killed(self, *arguments: str, when: Callable[[], bool]) -> None:
        """Call Snakemake and kill it with all its jobs, by SIGKILL, as soon as `when` is true."""
        process = self.start(*arguments)
        deadline = time.monotonic() + 120
        while process.poll() is None and not when() and time.monotonic() < deadline:
            time.sleep(0.02)
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not ended, self.printed()

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Call Snakemake, in a session of its own, and don't wait for it."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.path,
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        """Where all calls print that nobody waited for."""
        return self.path / "printed.log"

    def printed(self) -> str:
        """Return all that those calls have printed by now."""
        return self.log.read_text() if self.log.exists() else ""

    def jobs_here(self, stage: str = "") -> list[int]:
        """Return the processes of the pipeline's jobs, or of one stage's, that work in this folder on this machine."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                if words[0] == "python" and words[2].startswith(f"whypretrain.stages.{stage}"):
                    found += [int(entry.name)] if (entry / "cwd").readlink() == self.path else []
            except (OSError, IndexError):  # it has ended
                continue
        return found

    def write_config(self, raw: dict[str, Any]) -> None:
        """Replace the tiny study."""
        (self.path / TINY).write_text(yaml.safe_dump(raw))

    def edit(self, file: str, before: str, after: str) -> None:
        """Replace a text in a file, which must be there."""
        text = (self.path / file).read_text()
        assert before in text, f"{file} has no {before!r}"
        (self.path / file).write_text(text.replace(before, after, 1))


@cache
def without_cluster() -> Path:
    """Return a folder with a `scontrol` that fails at once.

    Where SLURM's programs are installed and no controller answers, Snakemake would wait 9 s for it at each start.
    """
    folder = Path(tempfile.mkdtemp(prefix="whypretrain-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = folder / "scontrol"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return folder


@cache
def snapshot() -> Path:
    """Copy the project once, so that what is edited while tests run doesn't divide them."""
    folder = Path(tempfile.mkdtemp(prefix="whypretrain-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy_project(ROOT, folder)
    return folder


def fresh(folder: Path) -> Project:
    """Return a new copy of the project, as a clone has it: no results, new time stamps."""
    folder.mkdir(parents=True)
    copy_project(snapshot(), folder)
    return Project(folder)


def copy_project(root: Path, folder: Path) -> None:
    """Copy all that the pipeline needs, without results and with new time stamps."""
    for name in PROJECT:
        source, target = root / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, copy_function=shutil.copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study run to its end, once, on two cores. Don't change it: ask for `again`."""
    project = fresh(tmp_path_factory.mktemp("finished") / "project")
    project.snakemake("--cores", "2")
    return project


@pytest.fixture
def again(finished: Project, tmp_path: Path) -> Iterator[Project]:
    """A fresh clone beside the finished results, in another folder: every file of the code is new."""
    project = fresh(tmp_path / "again")
    for name in ("results", ".snakemake"):
        # as `cp -a`: what Snakemake goes by, times and its own records, stays
        shutil.copytree(finished.path / name, project.path / name, symlinks=True)
    yield project
    shutil.rmtree(project.path)


@pytest.fixture(scope="session")
def both(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A study of layers, checkpoints and pairs, run beside the finished one. Don't change it."""
    project = fresh(tmp_path_factory.mktemp("both") / "project")
    for name in ("results", ".snakemake"):
        shutil.copytree(finished.path / name, project.path / name, symlinks=True)
    project.write_config(curves())
    planned = project.planned()
    # of the three checkpoints that are fine-tuned one was, by the study before; nor is its source trained again
    assert planned["train_run_short_r0_p0"] == 2
    assert planned["pretrain_source_brief_s0"] == 2
    project.snakemake("--cores", "2")
    return project
