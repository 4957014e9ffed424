"""Measure how fast the pipeline is, beside what it can't be faster than: python workflow/bench.py [--short].

It prints the table `bench`, and writes it to benchmarks/bench.parquet in the results folder. What is compared is
measured in turn, several times, and of the ratios the median is told, so that other work on the machine weighs on both.
With --short it measures less, compares each ratio with tests/data/bench.csv, and ends with status 1 where one is a
third worse.
"""

import argparse
import contextlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from whypretrain import registry  # noqa: E402
from whypretrain.command import Job  # noqa: E402
from whypretrain.config import models as config  # noqa: E402
from whypretrain.files.origins import Origin, canonical, content_digest, digest_of  # noqa: E402
from whypretrain.files.schemas import RUN_COLUMNS, TABLES, write_table  # noqa: E402
from whypretrain.files.storage import read_columns, write_columns, write_tensors  # noqa: E402
from whypretrain.jobs.fingerprints import fingerprint  # noqa: E402
from whypretrain.jobs.plan import Plan, pinned_versions  # noqa: E402

REFERENCE = ROOT / "tests/data/bench.csv"
SPANS = ["all", "top-1", *(f"{part}-{n}" for n in range(2, 8) for part in ("top", "bottom", "only"))]
# Snakemake's own waits a tenth of a second for each job that it touches
TOUCH = """from snakemake.executors.touch import Executor
Executor.SLEEPING_TIME = 0
from snakemake.cli import main
main()"""
BARE = """rule all:
    input: expand("out/{{job}}.{{file}}", job=range({jobs}), file=range({files}))
rule job:
    output: [f"out/{{{{job}}}}.{{file}}" for file in range({files})]
    shell: "touch {{output}}"
"""


@dataclass(frozen=True)
class Row:
    """One measurement, beside the goal that it should reach if it has one; NaN measured where it couldn't be."""

    what: str
    measured: float
    unit: str
    note: str = ""
    goal: float = math.nan
    better: str = "less"

    @property
    def ratio(self) -> float:
        """How far the goal is reached: 1 or more meets it, NaN without one."""
        return self.measured / self.goal if self.better == "more" else self.goal / max(self.measured, 1e-9)

    @property
    def met(self) -> str:
        """Say whether the goal is met: yes, no, `no goal` or `not run`."""
        if math.isnan(self.measured):
            return "not run"
        return "no goal" if math.isnan(self.goal) else "yes" if self.ratio >= 1 else "no"


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as the table `bench`."""
    return pd.DataFrame([asdict(row) | {"ratio": row.ratio, "met": row.met} for row in rows])[list(TABLES["bench"])]


def worse(table: pd.DataFrame, reference: pd.DataFrame) -> list[str]:
    """Say which of the reference's rows (`what`, `ratio`) are a third worse in a table, or aren't there."""
    found = table.set_index("what")["ratio"].reindex(reference["what"]).to_numpy()
    rows = zip(reference["what"], found, reference["ratio"], strict=True)
    return [f"{what}: {now:.3g}, was {was:.3g}" for what, now, was in rows if not now * 4 / 3 >= was]


def shown(table: pd.DataFrame) -> str:
    """Return a table as text."""
    sign = table["better"].map({"more": "≥", "less": "≤"})
    goal = [f"{s} {g:g}" if g == g else "" for s, g in zip(sign, table["goal"], strict=True)]
    numbers = {name: table[name].map(lambda x: f"{x:.3g}" if x == x else "") for name in ("measured", "ratio")}
    return table.drop(columns="better").assign(goal=goal, **numbers).to_string(index=False, justify="left")


def rounds(times: int, *measured: Callable[[], Any]) -> list[Any]:
    """Return what each call gives in several rounds, all in turn, as arrays; a round that doesn't count goes before."""
    found = [[each() for each in measured] for _ in range(times + 1)]
    return [np.array(each) for each in zip(*found[1:], strict=True)]


# --- training ------------------------------------------------------------------------------


def training_rows(device: str, times: int, *, replicas: bool) -> Iterator[Row]:
    """Yield how fast one network trains, and with `replicas` several together and what the machine could do."""
    from bench_training import STEPS, Trained
    from whypretrain.data.tasks import target_images
    from whypretrain.training.torch_setup import set_up_torch

    plan = plan_of(study(1, 1, 1))
    arm = scratch(plan)
    form = next(form for form in plan.forms_of("train_run") if form.recipe == arm.recipe)
    spec = json.loads(canonical(form.spec(SimpleNamespace(**arm.columns(), learning_rate="0.12"), (0,))))
    module = registry.load("datasets", spec["target"]["dataset"])
    tensors = dict(zip(("images", "labels"), module.prepare(module.Parameters(), 16), strict=True))
    parts = target_images(tensors, spec["target"], 0)
    one, on = Trained(spec, parts, set_up_torch({"device": device, "threads": 1})), "" if device == "cpu" else ", GPU"
    runs, by_hand, loop, bare = rounds(times, one.run, one.by_hand, one.loop, one.bare)
    (run, top1), (hand, hand_top1) = runs.T, by_hand.T
    told, unit = f"bare: {STEPS / np.median(bare):.0f} steps/s", "ratio of steps/s"
    yield Row(f"training loop over bare step{on}", _median(bare / loop), unit, told, 0.9, "more")
    told = "it scores " + ", ".join(f"{len(part.labels):,} {name}" for name, part in parts.items())
    yield Row(f"run with all its scores over bare step{on}", _median(bare / run), unit, told)
    told = f"{_median(run):.2f} s, by hand {_median(hand):.2f} s"
    yield Row(f"run over loop by hand{on}", _median(hand / run), "times as fast", told, 3, "more")
    told, ratio = f"{top1.mean():.3f}, by hand {hand_top1.mean():.3f}, means of {times}", top1.mean() / hand_top1.mean()
    yield Row(f"top-1 of run over loop by hand{on}", ratio, "ratio of accuracies", told, 0.95, "more")
    if not replicas:
        return
    run4, hand = (each[:, 0] for each in rounds(times, lambda: one.run(4), one.by_hand))
    told = f"{_median(run4) / 4:.2f} s, by hand {_median(hand):.2f} s"
    yield Row(f"run of 4 replicas over loop by hand{on}", _median(4 * hand / run4), "times as fast", told)
    peak, bare, bare4 = rounds(times, one.peak, one.bare, lambda: one.bare(4))
    operations, unit = one.operations(), "share of FLOP/s"
    told = f"peak {np.max(peak) / 1e9:.0f} GFLOP/s; {operations / 1e6:.0f} MFLOP a step of one"
    for name, seconds, goal in (("bare step of 4 replicas", bare4 / 4, 0.5), ("bare step", bare, math.nan)):
        share = _median(operations * STEPS / seconds / peak)
        yield Row(f"{name} over matrix products{on}", share, unit, told, goal, "more")


def _median(values: Any) -> float:
    return float(np.median(values))


# --- jobs ----------------------------------------------------------------------------------


def called(*command: str | Path, folder: Path = ROOT / "workflow") -> tuple[float, str]:
    """Return the seconds of a call of this Python, and what it prints; its failure ends the program."""
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "workflow")}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, capture_output=True, text=True
    )
    seconds, text = time.perf_counter() - started, done.stdout + done.stderr
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))[:200]} failed: {text[-2000:]}")
    return seconds, text


def start_rows(times: int) -> Iterator[Row]:
    """Yield how long jobs take until they begin."""

    def stage(name: str) -> Callable[[], float]:
        return lambda: called("-m", f"whypretrain.stages.{name}", "--help")[0]

    def imports(name: str) -> Callable[[], float]:
        return lambda: called("-c", f"import {name}")[0]

    job, torch = rounds(times, stage("train_run"), imports("torch"))
    told = f"{np.median(job):.2f} s and {np.median(torch):.2f} s"
    yield Row("start of train_run over import torch", _median(job / torch), "ratio of s", told, 1.3)
    *light, numpy = rounds(times, *map(stage, ("select_rates", "collect_table")), imports("numpy"))
    for name, seconds in zip(("select_rates", "collect_table"), light, strict=True):
        told = f"{np.median(seconds):.2f} s and {np.median(numpy):.2f} s"
        yield Row(f"start of {name} beyond import numpy", _median(seconds - numpy), "s", told, 0.5)


# --- studies -------------------------------------------------------------------------------


def study(spans: int, shots: int, blocks: int = 4) -> dict[str, Any]:
    """Return the config of a study: an arm for each span and number of shots, and scratch; five seeds a block."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "tests/config/bench.yaml").read_text())
    targets = [f"mnist5k.{count}" for count in range(1, shots + 1)]
    raw["studies"]["bench"]["grid"][1] |= {"spans": SPANS[:spans], "targets": targets}
    return raw | {"seed_blocks": np.arange(5 * blocks).reshape(-1, 5).tolist()}


def plan_of(raw: dict[str, Any]) -> Plan:
    """Return the plan of a config."""
    return Plan(config.load(raw, ROOT), pinned_versions(ROOT / "envs/requirements.txt"))


def scratch(plan: Plan) -> Any:
    """Return the arm of a plan that starts from nothing."""
    return next(arm for arm in plan.arms if arm.source == "none")


@contextlib.contextmanager
def planned(*shape: int) -> Iterator[tuple[Plan, Path]]:
    """Give a plan and the folder, which goes with it, where its rates are selected and nothing else is made."""
    with tempfile.TemporaryDirectory(prefix="whypretrain-") as name:
        folder, raw = Path(name), study(*shape)
        plan = plan_of(raw)
        (folder / "bench.yaml").write_text(yaml.safe_dump(raw))
        (folder / "scontrol").write_text("#!/bin/sh\nexit 1\n")  # of a cluster Snakemake would wait for an answer
        (folder / "scontrol").chmod(0o755)
        for path in (Path(pattern) for pattern in plan.paths.patterns.values() if pattern.count("/") > 1):
            (folder / Path(*path.parts[:2])).mkdir(parents=True, exist_ok=True)  # what these held first is noted
        with contextlib.chdir(folder):
            snakemake(folder, *(result.path for result in plan.form("select_rates").results()))
            yield plan, folder


def snakemake(folder: Path, *arguments: str, program: Sequence[str] = ("-m", "snakemake")) -> tuple[float, str]:
    """Call Snakemake with the study of a folder; return the seconds and what it prints."""
    told = ("--workflow-profile", ROOT / "profiles/default", "--cores", "2")
    own = () if (folder / "Snakefile").exists() else ("-s", ROOT / "Snakefile", "--configfile", "bench.yaml")
    return called(*program, *own, *told, *arguments, folder=folder)


def planning_row(shots: Sequence[int], times: int) -> Row:
    """Return how planning grows with the number of runs; what a study of one arm takes is taken off."""
    with contextlib.ExitStack() as stack:
        runs, calls = [], []
        for shape in [(1, 1, 1), *((20, size) for size in shots)]:
            plan, folder = stack.enter_context(planned(*shape))
            runs.append(len(list(plan.runs())))
            calls.append(lambda folder=folder: snakemake(folder, "-n", "--quiet", "all")[0])
        none, few, many = rounds(times, *calls)
    per_run = [(seconds - none) / (count - runs[0]) for seconds, count in ((few, runs[1]), (many, runs[2]))]
    told = ", ".join(f"{np.median(s):.1f} s for {n:,}" for s, n in zip((none, few, many), runs, strict=True))
    return Row("planning a run of many over one of few", _median(per_run[1] / per_run[0]), "ratio of s", told, 1.2)


def nothing_rows(shots: int, times: int) -> Iterator[Row]:
    """Yield what a call costs that has nothing to do, beside bare Snakefiles."""
    with planned(20, shots) as (plan, folder), contextlib.ExitStack() as stack:
        jobs = int(re.findall(r"^ *total +(\d+)", snakemake(folder, "-n", "--quiet", "rules")[1], re.MULTILINE)[0])
        paths = [Path(result.path) for result in plan.results()]
        folders = [_touched(folder, paths)]
        for files in (1, round(len(paths) / jobs)):
            bare = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="whypretrain-")))
            (bare / "Snakefile").write_text(BARE.format(jobs=jobs, files=files))
            folders.append(_touched(bare, [bare / f"out/{job}.{n}" for job in range(jobs) for n in range(files)]))
        ours, few, many = rounds(times, *(lambda each=each: _idle(each) for each in folders))
        told = f"{len(list(plan.runs())):,} runs, {jobs:,} jobs, {len(paths):,} files: {np.median(ours):.1f} s"
    few_told, many_told = (f"{told}; bare {np.median(each):.1f} s" for each in (few, many))
    yield Row("nothing to do over as many bare jobs", _median(ours / few), "ratio of s", few_told, 1.5)
    yield Row("nothing to do over as many bare jobs and files", _median(ours / many), "ratio of s", many_told)


def _touched(folder: Path, paths: Sequence[Path]) -> Path:
    for path in (path for path in paths if not path.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    snakemake(folder, "--touch", "--forceall", "--quiet", "all", program=("-c", TOUCH))
    return folder


def _idle(folder: Path) -> float:
    seconds, text = snakemake(folder)
    if "Nothing to be done" not in text:
        sys.exit(f"error: a call in {folder} has something to do: {text[-2000:]}")
    return seconds


def table_row(shots: int, times: int) -> Row:
    """Return how long it takes to collect the scores of many runs, beside reading their files."""
    from whypretrain.stages import collect_table

    kinds = {name: str(kind.dtype) for name, kind in TABLES["runs"].items() if name not in RUN_COLUMNS}
    with planned(20, shots) as (plan, _):
        digest, files = cache(content_digest), []
        for form, at, _ in plan.batches():
            result, seeds = form.one("scores", at), form.block.seeds
            for path in (path for path in result.made.inputs if not Path(path).exists()):
                write_tensors(path, {"made": np.zeros(1)}, Origin("{}", "", ""))
            columns = {name: np.ones(len(seeds), kind) for name, kind in kinds.items()}
            columns |= {"learning_rate": np.full(len(seeds), float(at.learning_rate)), "seed": np.array(seeds)}
            made = result.made
            write_columns(result.path, columns, Origin(made.spec, made.code, digest_of(map(digest, made.inputs))))
            files.append(Path(result.path))
        told = plan.form("collect_table").told(SimpleNamespace(table="runs"))
        job = Job(told, "", {}, {"table": [plan.paths.file("table", table="runs")]})

        def seconds(call: Callable[[], object]) -> float:
            started = time.perf_counter()
            call()
            return time.perf_counter() - started

        collects, reads = rounds(
            times,
            lambda: seconds(lambda: collect_table.main(job)),
            lambda: seconds(lambda: [file.read_bytes() for file in files]),
        )
        size = sum(file.stat().st_size for file in files) / 1e6
    told = f"{len(files):,} runs, {size:.1f} MB: {np.median(collects):.1f} s, reading {np.median(reads):.2f} s"
    return Row("collect_table over reading its bytes", _median(collects / reads), "ratio of s", told, 3)


def cost_rows() -> Iterator[Row]:
    """Yield what a job of training needs and leaves, from a real one."""
    with planned(1, 1, 1) as (plan, folder):
        form, at = next((form, at) for form, at, arm in plan.batches() if arm == scratch(plan))
        card = Path(form.one("provenance", at).path)
        snakemake(folder, str(card))
        peak = json.loads(card.read_text())["runs"][0]["peak_memory_mb"]
        files = [path.stat().st_size for path in card.parent.iterdir() if path.is_file()]
        runs, asked = len(form.block.seeds), plan.config.execution.train.mem_mb
    yield Row("peak memory of a training job", peak, "MB", "goal: what is asked of a cluster", asked)
    yield Row("files of a run", len(files) / runs, "files", f"of a batch of {runs}: {len(files)}")
    yield Row("bytes of a run", sum(files) / runs, "bytes")


def default_row(results: str) -> Row:
    """Return how long the default study took that is there, from first to last job, over its training on all cores."""
    row = Row("default study over its training", math.nan, "ratio of s", f"no finished one in {results}", 1.3)
    plan = plan_of(config.read_yaml(ROOT / "config/config.yaml") | {"results": results})
    runs = (part.path for part, _ in plan.form("collect_table").parts_of("provenance"))
    if not all(Path(path).exists() for path in (*plan.tables(), *runs)):
        return row
    paths = (path for path in Path(results, "benchmarks").rglob("*.jsonl") if path.stem != "calibrate_verdicts")
    found = {path: json.loads(path.read_text())["s"] for path in paths}
    ends = {path: path.stat().st_mtime for path in found}
    wall = max(ends.values()) - min(end - found[path] for path, end in ends.items())
    table = read_columns(plan.paths.file("table", table="provenance"))[0].to_pandas()
    sources = sum(s for path, s in found.items() if {"pretrain_source", "anneal_source"} & set(path.parts))
    training, cores = table["seconds"].sum() + sources, len(os.sched_getaffinity(0))
    told = f"{wall:.0f} s; training {training:.0f} s, jobs of sources whole, on {cores} cores; a stop counts"
    return replace(row, measured=wall * cores / training, note=told)


# --- the program ---------------------------------------------------------------------------


def all_rows(short: bool, results: str) -> Iterator[Row]:
    """Yield all rows, or those of the short form."""
    import torch

    times = 3 if short else 5
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() and not short else [])):
        yield from training_rows(device, times, replicas=not short)
    yield from start_rows(times)
    yield planning_row((2, 7) if short else (3, 25), 2)
    yield table_row(2 if short else 25, 3)
    if not short:
        yield default_row(results)
        yield from nothing_rows(25, 2)
        yield from cost_rows()


def main() -> int:
    """Measure, write and print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default="results", help="the folder of results")
    parser.add_argument("--short", action="store_true", help="measure less, and compare it with the reference")
    asked = parser.parse_args()
    from whypretrain.running.provenance import CPU_INFO, processor_name

    rows = []
    for row in all_rows(asked.short, asked.results):
        print(f"{row.what}: {row.measured:.3g}", file=sys.stderr)
        rows.append(row)
    table = table_of(rows)
    told = {"short": asked.short, "processor": processor_name(CPU_INFO.read_text()), "cores": os.cpu_count()}
    spec = canonical({**told, "versions": pinned_versions(ROOT / "envs/requirements.txt")})
    code = fingerprint(("whypretrain.training.supervised",))
    write_table(Path(asked.results, "benchmarks/bench.parquet"), "bench", table, Origin(spec, code, ""))
    print(shown(table))
    found = worse(table, pd.read_csv(REFERENCE)) if asked.short else []
    for line in found:
        print(f"a third worse: {line}", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
