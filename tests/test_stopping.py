"""Real runs that are killed, told to stop, started twice or out of room: nothing is lost, and nothing differs."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, fresh, put, tiny
from test_workflow import rows, tables

pytestmark = pytest.mark.soak  # make test-cluster

KILLS = 20
PATIENCE = 600


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def long() -> dict[str, Any]:
    """Return the tiny study with a training that takes seconds, whose state is kept ten times a second."""
    raw = put(tiny(), "execution", {"snapshot_minutes": 0.1 / 60})
    raw["recipes"]["short"] |= {"min_steps": 600, "learning_rate_blocks": [[0.1]]}
    return raw


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = fresh(tmp_path_factory.mktemp("undisturbed") / "project")
    project.write_config(long())
    project.snakemake("--cores", "2")
    return project


@pytest.fixture
def untrained(undisturbed: Project, tmp_path: Path) -> Iterator[Project]:
    """The same project before its runs were trained."""
    project = fresh(tmp_path / "untrained")
    project.write_config(long())
    for name in ("results", ".snakemake"):
        shutil.copytree(undisturbed.path / name, project.path / name, symlinks=True)
    shutil.rmtree(project.path / "results/runs")
    shutil.rmtree(project.path / "results/tables")
    yield project
    for job in project.jobs_here():
        os.kill(job, signal.SIGKILL)


def states(project: Project) -> list[Path]:
    return list((project.path / "results/runs").rglob(".*.snapshot/state.safetensors"))


def logs(project: Project) -> str:
    told = []
    for path in (project.path / "results/logs/train_run").rglob("*.log"):
        with contextlib.suppress(FileNotFoundError):  # a job that begins deletes that of the one before
            told.append(path.read_text())
    return "\n".join(told)


def nothing_is_left_over(project: Project) -> None:
    hidden = [path for path in (project.path / "results").rglob(".*") if path.name != ".snakemake_timestamp"]
    assert hidden == []
    project.run("python", "workflow/audit.py", "--configfile", "tests/config/tiny.yaml", status=0)


def test_jobs_told_to_stop_in_the_middle_go_on_from_there(untrained: Project, undisturbed: Project):
    for _ in range(2):
        head = untrained.start("--cores", "1")
        wait_for(lambda: states(untrained) and untrained.jobs_here("train_run"), "a state")
        for job in untrained.jobs_here("train_run"):
            os.kill(job, signal.SIGTERM)
        wait_for(lambda: "told to stop (SIGTERM). What it had is kept" in untrained.printed(), "the job's last words")
        os.killpg(head.pid, signal.SIGINT)  # as Ctrl-C does: Snakemake and all its jobs are told
        assert head.wait(PATIENCE) == 1
        assert states(untrained)
        wait_for(lambda: not untrained.jobs_here(), "the end of its jobs")
    untrained.snakemake("--cores", "2")
    assert "goes on from step" in logs(untrained)
    assert tables(untrained) == tables(undisturbed)
    nothing_is_left_over(untrained)


def test_a_new_call_takes_over_from_the_jobs_that_a_killed_one_left(untrained: Project, undisturbed: Project):
    head = untrained.start("--cores", "1")
    wait_for(lambda: states(untrained) and untrained.jobs_here("train_run"), "a state")
    os.kill(head.pid, signal.SIGKILL)
    head.wait()
    left = untrained.jobs_here("train_run")
    assert left, "it goes on without its head"
    for job in left:  # so that it doesn't end before the new call is there
        os.kill(job, signal.SIGSTOP)
    second = untrained.start("--cores", "2")  # nothing needs to be unlocked
    wait_for(lambda: "left over from an earlier call: stopping it" in logs(untrained), "the new job")
    for job in left:
        os.kill(job, signal.SIGCONT)
    assert second.wait(PATIENCE) == 0, untrained.printed()[-3000:]
    told = logs(untrained)
    assert "goes on from step" in told
    assert tables(untrained) == tables(undisturbed)
    nothing_is_left_over(untrained)


def test_two_calls_on_one_results_folder_don_t_meet(untrained: Project, undisturbed: Project, tmp_path: Path):
    head = untrained.start("--cores", "1")
    wait_for(lambda: untrained.jobs_here("train_run"), "a job")
    elsewhere = fresh(tmp_path / "elsewhere")  # another clone, the same results
    elsewhere.write_config(long())
    (elsewhere.path / "results").symlink_to(untrained.path / "results")
    shutil.copytree(untrained.path / ".snakemake", elsewhere.path / ".snakemake", symlinks=True)
    for second in (untrained, elsewhere):
        text = second.snakemake("--cores", "1", status=1)
        assert f"results is in use by another snakemake: process {head.pid} on " in text
        assert "Nothing was started" in text
        assert "Traceback" not in text
        assert "Would" not in text
    assert head.wait(PATIENCE) == 0
    assert tables(untrained) == tables(undisturbed)


def test_kill_9_at_random_moments_twenty_times_in_one_run_changes_no_byte(tmp_path: Path, finished: Project):
    project = fresh(tmp_path / "killed")
    project.write_config(put(tiny(), "execution", {"snapshot_minutes": 1e-9}))
    draw = random.Random()
    killed: list[str] = []
    head = project.start("--cores", "2", "--retries", "2")
    while len(killed) < KILLS:
        time.sleep(draw.uniform(0.2, 5))
        if head.poll() is not None:  # ended, by too many killed jobs or because it was done
            if head.returncode == 0:
                shutil.rmtree(project.path / "results/runs", ignore_errors=True)
            head = project.start("--cores", "2", "--retries", "2")
            continue
        whom = draw.choice(["head", "all", "job", "job"])
        running = project.jobs_here()
        if whom == "job" and not running:
            continue
        if whom == "job":
            victim = draw.choice(running)
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        elif whom == "head":
            os.kill(head.pid, signal.SIGKILL)
        else:
            os.killpg(head.pid, signal.SIGKILL)
        killed.append(whom)
    head.wait(PATIENCE) if head.poll() is None else None
    for _ in range(3):  # jobs that were left over may still be told to stop, which is a failure of theirs
        if head.returncode == 0:
            break
        head = project.start("--cores", "2", "--retries", "2")
        head.wait(PATIENCE)
    assert head.returncode == 0, (killed, project.printed()[-3000:])
    assert tables(project) == tables(finished), killed
    nothing_is_left_over(project)


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A results folder with little room."""
    folder = tmp_path / "small/results"
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a full disk needs a file system of its own, which only root may mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_nothing_is_lost_and_with_room_it_goes_on(tmpfs: Path, finished: Project):
    project = fresh(tmpfs.parent / "project")
    (project.path / "results").symlink_to(tmpfs)
    text = project.snakemake("--cores", "2", status=1)
    assert "No space left on device" in text
    assert "Nothing partial was kept; mend it and run snakemake again, it goes on from here." in text
    assert not list(tmpfs.rglob("*.part"))
    done = {path: path.stat().st_mtime_ns for path in tmpfs.rglob("*.safetensors")}
    assert done
    subprocess.run(["mount", "-o", "remount,size=64m", tmpfs], check=True)
    project.snakemake("--cores", "2")
    assert tables(project) == tables(finished)
    assert rows(project, "runs")
    kept = [path for path, moment in done.items() if path.stat().st_mtime_ns == moment]
    assert kept, "what was finished is not made again"
