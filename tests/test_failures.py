"""After a run with failures: one short list of what failed and why, with commands that work when pasted."""

import dataclasses
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Project, batch, plan_of, tiny
from made_runs import every_run

from whypretrain.grid.coordinates import Paths
from whypretrain.jobs.failures import Ended, Failure, command, coordinates, ending, in_words, report, without_message

pytestmark = pytest.mark.soak  # make test-cluster

PATHS = Paths("results")


def failure(folder: Path, number: int, text: str | None, rule: str = "train_run_short_s0") -> Failure:
    log = folder / f"{number}.log"
    if text is not None:
        log.write_text(text)
    run = {"architecture": "tiny", "source": "letters", "epoch": "1+anneal", "treatment": "intact", "span": "all"}
    run |= {"target": "digits.2", "mode": "finetune", "recipe": "short"}
    files = [PATHS.file("scores", **run, batch=f"r{rates}.p{number}") for rates in (0, 1)]
    return Failure(rule, tuple(files), str(log), blocked=number)


def told(failures: list[Failure], *arguments: str) -> tuple[str, str]:
    return report(Ended(tuple(failures), 3, 0, 10, 14), PATHS, arguments)


@pytest.mark.parametrize("kind", ["scores", "measured_run", "start", "checkpoint", "pair_barriers", "table"])
def test_coordinates_are_read_back_from_every_path(kind: str):
    given = {name: name[:4] for name in re.findall(r"\{(\w+)\}", PATHS[kind])}
    assert coordinates(PATHS, [PATHS.file(kind, **given)]) == {name: [value] for name, value in given.items()}


def test_the_coordinates_of_every_batch_of_a_plan_are_its_own():
    plan = plan_of(tiny())
    for arm, rate, _ in every_run(plan):
        found = coordinates(plan.paths, [batch(plan, "history", arm, rate)])
        assert found == {name: [value] for name, value in {**arm.columns(), "batch": f"lr-{rate}.s0"}.items()}


def test_several_values_of_a_coordinate_are_told_together(tmp_path: Path):
    words = in_words(coordinates(PATHS, failure(tmp_path, 0, "").outputs))
    assert words == (
        "architecture tiny, source letters, epoch 1+anneal, treatment intact, span all, target digits.2, "
        "mode finetune, recipe short, batches r0.p0 and r1.p0"
    )


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        ("", True),
        (None, True),
        ("12:00:01 rate 0.1 seed 0 epoch 1\n", True),
        ("12:00:01 rate 0.1 seed 0 epoch 1\nerror: it is damaged\n", False),
        ("Traceback (most recent call last):\n  File x\nRuntimeError: no\n", False),
        ("bash: line 1: python: command not found\n", False),
    ],
)
def test_a_log_that_ends_without_a_message_tells_of_a_kill(tmp_path: Path, text: str | None, silent: bool):
    found = failure(tmp_path, 1, text)
    said = without_message(found, ending(found.log))
    assert bool(said) == silent
    assert ("out of memory" in said and "execution.train.mem_mb" in said) == silent
    assert "out of memory" not in without_message(found, ["error: x"])


def test_of_a_long_log_the_message_alone_is_shown(tmp_path: Path):
    lines = [f"12:00:0{n % 10} line {n}" for n in range(10_000)]
    found = failure(tmp_path, 1, "\n".join([*lines, "error: the start is damaged", ""]))
    assert ending(found.log) == ["error: the start is damaged"]
    table = ["error: these don't fit:", *(f"  layer{n}.weight" for n in range(20))]
    found = failure(tmp_path, 1, "\n".join([*lines, *table, ""]))
    assert ending(found.log) == table
    found = failure(tmp_path, 2, "\n".join([*lines, "ValueError: no"]))
    assert ending(found.log) == [*lines[-4:], "ValueError: no"]


def test_hundreds_of_failures_stay_a_short_list_and_the_file_has_all(tmp_path: Path):
    failures = [failure(tmp_path, n, f"error: results/starts/s{n}/x.safetensors is damaged\n") for n in range(300)]
    failures += [failure(tmp_path, n, None, "pretrain_source_brief_s0") for n in range(300, 310)]
    failures += [failure(tmp_path, n, f"error: {'abcdefghij'[n % 10] * 5}\n") for n in range(310, 320)]
    failures[0] = dataclasses.replace(failures[0], blocked=1000)
    short, everything = told(failures)
    assert len(short.splitlines()) < 60
    assert short.startswith("320 jobs failed; 3 other jobs could not run because of them. 10 of 14 runs are complete.")
    assert "and 296 more alike" in short
    assert "16 more jobs ended in other ways" in short
    assert everything.count("retry: ") == 320
    assert all(f"batches r0.p{n} and r1.p{n}\n" in everything for n in range(320))


def test_what_holds_up_most_stands_first(tmp_path: Path):
    short, _ = told([failure(tmp_path, 1, "error: a\n"), failure(tmp_path, 2, "error: b\n")])
    assert short.index("error: b") < short.index("error: a")


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ("", ""),
        ("--cores 2 -n --forceall other", "--cores 2"),
        ("-c1 --configfile a.yaml b.yaml", "--cores 1 --configfile a.yaml b.yaml"),
        ("--configfile=a.yaml --profile profiles/slurm --jobs 4", "--profile profiles/slurm --configfile a.yaml"),
        (
            "-s ../Snakefile --config 'seed_blocks=[[0, 1]]' x=1",
            "--snakefile ../Snakefile --config 'seed_blocks=[[0, 1]]' x=1",
        ),
    ],
)
def test_the_command_keeps_config_and_place_of_the_call(arguments: str, kept: str):
    target = "results/sources/tiny/letters/s0/epoch-1+anneal.safetensors"
    assert command(shlex.split(arguments), target) == f"snakemake {target} {kept}".strip()
    assert "it's" in shlex.split(command(["--configfile", "a b.yaml"], "it's"))


def test_a_stopped_run_is_no_failure():
    short, _ = report(Ended((), 0, 4, 1, 1), PATHS, [])
    assert short.startswith("The run was stopped before its end; 4 jobs had no turn yet. 1 of 1 run is complete.")


# --- real runs -----------------------------------------------------------------------------


@pytest.fixture
def failed(again: Project) -> tuple[Project, str]:
    """The finished study in which one start was damaged and one source is to be trained again but can't."""
    start = next((again.path / "results/starts/tiny/letters/s1").rglob("shuffle-kernels.all.safetensors"))
    start.write_bytes(start.read_bytes()[:-100])
    shutil.rmtree(again.path / "results/runs/tiny/none")
    return again, again.snakemake("--cores", "2", status=1)


def test_the_list_stands_at_the_end_and_its_commands_work(failed: tuple[Project, str]):
    project, text = failed
    listed = text[text.rindex("At least one job did not complete") :]
    assert "2 jobs failed; " in listed
    # scratch, which had been deleted and doesn't rest on what failed, was trained
    assert "4 of 6 runs are complete" in listed
    assert (
        "1. train_run_short_s0: architecture tiny, source letters, epoch 1+anneal, treatment shuffle-kernels" in listed
    )
    assert "also measure_start_s0" in listed
    assert "Traceback" not in listed
    mend = re.search(r"Rebuild it: (snakemake .*? --force \S+)", listed)
    (retry,) = re.findall(r"retry: (.*)", listed)
    assert mend
    file = project.path / "results/failures.txt"
    assert file.read_text().count("retry: ") == 2
    project.snakemake(*shlex.split(mend[1])[1:])
    assert not file.exists(), "what failed before is no news"
    call = subprocess.run(["bash", "-c", retry], cwd=project.path, env=project.environment(), capture_output=True)
    assert call.returncode == 0, call.stderr.decode()
    project.snakemake("--cores", "2")
    assert project.planned() == {}


def test_a_killed_job_and_an_interrupted_run_are_told_of(again: Project):
    shutil.rmtree(again.path / "results/runs/tiny/none")
    (again.path / "results/tables/runs.parquet").unlink()
    # a python that ends as one that runs out of memory does, in the middle of its log
    killer = again.path / "bin"
    killer.mkdir()
    (killer / "python").write_text('#!/bin/bash\necho "12:00:00 rate 0.1 seed 0"\nkill -9 $$\n')
    (killer / "python").chmod(0o755)
    environment = again.environment()
    slow = environment | {"PATH": f"{killer}:{environment['PATH']}"}
    done = subprocess.run(again.command("--cores", "1"), cwd=again.path, env=slow, capture_output=True, text=True)
    assert done.returncode == 1
    listed = done.stderr[done.stderr.rindex("At least one job did not complete") :]
    assert "| 12:00:00 rate 0.1 seed 0" in listed
    assert "killed from outside, perhaps out of memory" in listed
    assert "execution.train.mem_mb" in listed

    (killer / "python").write_text("#!/bin/bash\ntouch begun\nexec sleep 60\n")
    process = subprocess.Popen(
        again.command("--cores", "1"),
        cwd=again.path,
        env=slow,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (again.path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in told
    assert "4 of 6 runs are complete" in told
    assert "The same call again goes on from here." in told
