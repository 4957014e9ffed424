"""Collect the results of all jobs of one kind into one table, each held against what it should be.

A result whose own spec or code is not what config and code say now is stale: the stage
names the file and the command that makes it again.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from whypretrain.command import Job, StageError, log, run_stage
from whypretrain.coordinates import key_columns
from whypretrain.plan import PAIR_TABLES, RUN_TABLES, Plan
from whypretrain.planning import plan_of
from whypretrain.schemas import provenance_row, write_table
from whypretrain.storage import DamagedFile, canonical, read_columns

Part = tuple[str, dict[str, Any], str, str]  # path, coordinates, expected spec, expected code


def _run_parts(plan: Plan, kind: str) -> Iterator[Part]:
    for arm, rate, seed in plan.runs_with(kind):
        coordinates = {**key_columns(arm), "learning_rate": float("nan") if rate is None else rate, "seed": seed}
        yield (
            plan.run_file(kind, arm, rate, seed),
            coordinates,
            plan.specs.train(arm, (rate,), (seed,)),
            plan.train_code(arm),
        )


def _source_parts(plan: Plan) -> Iterator[Part]:
    for path, wildcards, annealed in plan.histories():
        keys = {name: getattr(wildcards, name) for name in ("architecture", "source")}
        seed = int(wildcards.seed)
        pretraining = plan.config.pretraining[plan.config.sources[wildcards.source].pretraining]
        coordinates = {**keys, "seed": seed, "annealed": annealed, "objective": pretraining.objective}
        spec = plan.specs.anneal if annealed else plan.specs.pretrain
        code = plan.source_code("anneal_source" if annealed else "pretrain_source")
        yield path, coordinates, spec(wildcards, (seed,)), code(wildcards)


def _start_parts(plan: Plan) -> Iterator[Part]:
    for path, arm, seed in plan.measured_starts():
        coordinates = {**key_columns(arm), "seed": seed}
        for key in ("mode", "recipe"):
            del coordinates[key]
        yield path, coordinates, plan.specs.measure_start(arm, (seed,)), plan.stage_code("measure_start")


def _measure_parts(plan: Plan, measure: str) -> Iterator[Part]:
    code = plan.measure_code(SimpleNamespace(measure=measure))
    for path, arm, seed in plan.measured_runs(measure):
        yield path, {**key_columns(arm), "seed": seed}, plan.specs.measure(measure, arm, (seed,)), code


def _pair_parts(plan: Plan, kind: str) -> Iterator[Part]:
    for path, pair, architecture, seed in plan.measured_pairs(kind):
        coordinates = {"pair": pair, "architecture": architecture, "seed": seed}
        yield path, coordinates, plan.specs.pair(pair, architecture, (seed,)), plan.stage_code("measure_pair")


def _parts(plan: Plan, table: str) -> Iterator[Part]:
    if table == "sources":
        return _source_parts(plan)
    if table == "starts":
        return _start_parts(plan)
    if table in RUN_TABLES:
        return _run_parts(plan, RUN_TABLES[table])
    if table in PAIR_TABLES:
        return _pair_parts(plan, PAIR_TABLES[table])
    return _measure_parts(plan, table)


def _check(path: str, found: tuple[str, str], expected: tuple[str, str]) -> None:
    for what, ours, theirs in zip(("config values", "code"), expected, found, strict=True):
        if ours != theirs:
            raise StageError(
                f"{path} is stale: it was made with other {what} than there are now. "
                f"Make it again: snakemake --cores all --force {path} (with the --configfile that you use, if any)"
            )


def _read_provenance(path: str) -> tuple[pd.DataFrame, str, str]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        spec, code = canonical(content["spec"]), content["code"]
    except (OSError, ValueError, KeyError) as error:
        raise DamagedFile(path, error) from error
    return pd.DataFrame([provenance_row({**content, "spec": spec})]), spec, code


def _read(path: str) -> tuple[pd.DataFrame, str, str]:
    if path.endswith(".json"):
        return _read_provenance(path)
    table, spec, code = read_columns(path)
    return table.to_pandas(), spec, code


def main(job: Job) -> None:
    """Read every part, check it, and write the table."""
    name = Path(job.file("table")).stem
    frames = []
    for path, coordinates, spec, code in _parts(plan_of(job.spec), name):
        frame, found_spec, found_code = _read(path)
        _check(path, (found_spec, found_code), (spec, code))
        frames.append(frame.assign(**coordinates))
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    write_table(job.file("table"), name, table, job.spec_text, job.code)
    log.info("%s: %d rows from %d files", name, len(table), len(frames))


if __name__ == "__main__":
    run_stage(main, ["table"])
