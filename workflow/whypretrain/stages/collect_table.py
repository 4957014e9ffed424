"""Collect the results of all jobs of one kind into one table, each held against what it should be.

A result whose own spec or code is not what config and code say now is stale: the stage
names the file and the command that makes it again.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from whypretrain.command import Job, StageError, log, run_stage
from whypretrain.evidence.missing import left_out
from whypretrain.files.origins import Origin, Unreadable, read_origin
from whypretrain.files.schemas import provenance_row, write_table
from whypretrain.files.storage import DamagedFile, read_columns
from whypretrain.grid.coordinates import NO_RATE, Arm, key_columns
from whypretrain.jobs import expected
from whypretrain.jobs.expected import Expected, staleness
from whypretrain.jobs.from_spec import plan_of
from whypretrain.jobs.plan import PAIR_TABLES, RUN_TABLES, Plan

SELECTED = ("learning_rate", "grid_edge")
Part = tuple[Expected, dict[str, Any]]  # what it should be, and its coordinates


def _run_parts(plan: Plan, table: str) -> Iterator[Part]:
    for arm, rate, seed in plan.runs_of(table):
        yield expected.run(plan, RUN_TABLES[table], arm, rate, seed), _coordinates(arm, rate, seed)


def _coordinates(arm: Arm, rate: float | None, seed: int) -> dict[str, Any]:
    return {**key_columns(arm), "learning_rate": float("nan") if rate is None else rate, "seed": seed}


def _source_parts(plan: Plan) -> Iterator[Part]:
    for path, wildcards, annealed in plan.histories():
        keys = {name: getattr(wildcards, name) for name in ("architecture", "source")}
        pretraining = plan.config.pretraining[plan.config.sources[wildcards.source].pretraining]
        told = {"seed": int(wildcards.seed), "annealed": annealed, "objective": pretraining.objective}
        yield expected.source(plan, path, wildcards, annealed), keys | told


def _start_parts(plan: Plan) -> Iterator[Part]:
    for path, arm, seed in plan.measured_starts():
        coordinates = {**key_columns(arm), "seed": seed}
        for key in ("mode", "recipe"):
            del coordinates[key]
        yield expected.measured_start(plan, path, arm, seed), coordinates


def _measure_parts(plan: Plan, measure: str) -> Iterator[Part]:
    for path, arm, rate, seed in plan.measured_runs(measure):
        yield expected.measured_run(plan, measure, path, arm, rate, seed), _coordinates(arm, rate, seed)


def _pair_parts(plan: Plan, kind: str) -> Iterator[Part]:
    for path, wildcards in plan.measured_pairs(kind):
        rates = {
            name: float(rate) if (rate := getattr(wildcards, name)) != NO_RATE else float("nan")
            for name in ("first_rate", "second_rate")
        }
        yield expected.measured_pair(plan, path, wildcards), {**vars(wildcards), **rates}


def parts(plan: Plan, table: str) -> Iterator[Part]:
    """Yield all that a table is put together from."""
    if table == "selected":
        return ((expected.selection(plan, study), {"study": study}) for study in sorted(plan.config.studies))
    if table == "sources":
        return _source_parts(plan)
    if table == "starts":
        return _start_parts(plan)
    if table in RUN_TABLES:
        return _run_parts(plan, table)
    if table in PAIR_TABLES:
        return _pair_parts(plan, PAIR_TABLES[table])
    return _measure_parts(plan, table)


def _read_card(path: str) -> tuple[pa.Table, Origin]:
    try:
        origin = read_origin(path)
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, Unreadable) as error:
        raise DamagedFile(path, error) from error
    if "arms" in content:  # a selection
        rows = [{**key_columns(Arm(**_arm(row))), **{name: row[name] for name in SELECTED}} for row in content["arms"]]
        frame = pd.DataFrame(rows).astype({"learning_rate": float})
        return pa.Table.from_pandas(frame).replace_schema_metadata(), origin
    return pa.Table.from_pylist([provenance_row({**content, "spec": origin.spec})]), origin


def _arm(row: dict[str, Any]) -> dict[str, str]:
    return {name: row[name] for name in Arm.__dataclass_fields__}


def _read(path: str) -> tuple[pa.Table, Origin]:
    return _read_card(path) if path.endswith(".json") else read_columns(path)


def _joined(tables: list[pa.Table], coordinates: list[dict[str, Any]]) -> pd.DataFrame:
    """Return tables under one another, each row with the coordinates of its own: once for all, not file by file."""
    if not tables:
        return pd.DataFrame()
    rows = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    places = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables])
    keys = pd.DataFrame(coordinates).iloc[places].reset_index(drop=True)
    rows[list(keys)] = keys
    return rows


def main(job: Job) -> None:
    """Read every part, check it, and write the table."""
    name = Path(job.file("table")).stem
    tables, coordinates, files, plan = [], [], [], plan_of(job.spec)
    missing = left_out(plan.stock())
    for part, own in parts(plan, name):
        if missing(part.path):
            continue
        try:
            rows, origin = _read(part.path)
        except DamagedFile:
            if Path(part.path).exists():
                raise
            raise StageError(f"{part.path} was there a moment ago: a job is making it again. Call once more") from None
        if stale := staleness(part, origin, job.content):
            raise StageError(
                f"{part.path} is stale: {stale}. "
                f"Make it again: snakemake --cores all --force {part.path} (with the --configfile that you use, if any)"
            )
        tables.append(rows)
        coordinates.append(own)
        files.append(part.path)
    table = _joined(tables, coordinates)
    write_table(job.file("table"), name, table, job.origin(*files))
    log.info("%s: %d rows from %d files", name, len(table), len(tables))


if __name__ == "__main__":
    run_stage(main, [], ["table"])
