"""Collect the results of all jobs of one kind into one table, each held against what it should be.

A result whose own spec or code is not what config and code say now is stale: the stage
names the file and the command that makes it again.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from whypretrain.command import Job, StageError, log, run_stage
from whypretrain.coordinates import key_columns
from whypretrain.plan import Plan
from whypretrain.planning import plan_of
from whypretrain.schemas import write_table
from whypretrain.storage import DamagedFile, read_columns

Part = tuple[str, dict[str, Any], str, str]  # path, coordinates, expected spec, expected code


def _run_parts(plan: Plan, kind: str) -> Iterator[Part]:
    for arm, rate, seed in plan.runs():
        coordinates = {**key_columns(arm), "learning_rate": rate, "seed": seed}
        spec = plan.train_spec(arm, (rate,), (seed,))
        yield plan.run_file(kind, arm, rate, seed), coordinates, spec, plan.train_code(arm)


def _source_parts(plan: Plan) -> Iterator[Part]:
    for path, wildcards, annealed in plan.histories():
        keys = {name: getattr(wildcards, name) for name in ("architecture", "source")}
        coordinates = {**keys, "seed": int(wildcards.seed), "annealed": annealed}
        if annealed:
            yield path, coordinates, plan.anneal_spec(wildcards), plan.stage_code("anneal_source")
        else:
            yield path, coordinates, plan.pretrain_spec(wildcards), plan.stage_code("pretrain_source")


def _start_parts(plan: Plan) -> Iterator[Part]:
    for path, arm, seed in plan.measured_starts():
        coordinates = {**key_columns(arm), "seed": seed}
        for key in ("mode", "recipe"):
            del coordinates[key]
        yield path, coordinates, plan.measure_spec(arm, (seed,)), plan.stage_code("measure_start")


def _parts(plan: Plan, table: str) -> Iterator[Part]:
    if table == "sources":
        return _source_parts(plan)
    if table == "starts":
        return _start_parts(plan)
    return _run_parts(plan, {"runs": "scores"}.get(table, table))


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
        spec, code = content.pop("spec"), content["code"]
    except (OSError, ValueError, KeyError) as error:
        raise DamagedFile(path, error) from error
    from whypretrain.storage import canonical

    del content["process"]
    return pd.DataFrame([content]), canonical(spec), code


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
