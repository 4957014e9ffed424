"""Collect the results of all jobs of one kind into one table, each held against what it should be.

A result whose own spec or code is not what config and code say now is stale: the stage
names the file and the command that makes it again.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from whypretrain.command import Job, StageError, log, run_stage
from whypretrain.evidence.missing import left_out
from whypretrain.files.origins import Origin, Unreadable, canonical, read_origin
from whypretrain.files.schemas import provenance_row, write_table
from whypretrain.files.storage import DamagedFile, read_columns
from whypretrain.grid.coordinates import Arm, key_columns
from whypretrain.jobs.plan import Plan

SELECTED = ("learning_rate", "grid_edge")


def _read_json(path: str) -> tuple[pa.Table, Origin]:
    """Return the rows of a selection, or of the provenance of a batch, where each run has a spec of its own."""
    try:
        origin = read_origin(path)
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, Unreadable) as error:
        raise DamagedFile(path, error) from error
    if "arms" in content:
        arms = [Arm(**{name: row[name] for name in Arm.__dataclass_fields__}) for row in content["arms"]]
        chosen = [{name: row[name] for name in SELECTED} for row in content["arms"]]
        rows = [{**key_columns(arm), **each} for arm, each in zip(arms, chosen, strict=True)]
    else:
        rows = []
        for run in content["runs"]:
            key = {"learning_rate": run["learning_rate"], "seed": run["seed"]}
            spec = canonical({**content["spec"], "learning_rates": [key["learning_rate"]], "seeds": [key["seed"]]})
            rows.append({**key, **provenance_row({**run, "spec": spec, "code": origin.code})})
    frame = pd.DataFrame(rows).astype({"learning_rate": float})
    return pa.Table.from_pandas(frame).replace_schema_metadata(), origin


def _joined(tables: list[pa.Table], coordinates: list[dict[str, Any]]) -> pd.DataFrame:
    """Return tables under one another, each row with the coordinates that its table lacks.

    Rows are in the order of their coordinates, then learning rates and seeds, however these were cut into blocks.
    """
    if not tables:
        return pd.DataFrame()
    order = sorted(range(len(tables)), key=lambda number: list(map(_rank, coordinates[number].values())))
    told = [coordinates[number] for number in order]
    rows = pa.concat_tables([tables[number] for number in order], promote_options="permissive").to_pandas()
    places = np.repeat(np.arange(len(tables)), [tables[number].num_rows for number in order])
    keys = pd.DataFrame(told).iloc[places].reset_index(drop=True)
    rows[list(keys)] = keys
    alike = np.cumsum([number > 0 and told[number] != told[number - 1] for number in range(len(told))])[places]
    within = [
        rows[name].to_numpy()
        for name in ("seed", "learning_rate")
        if "seed" in rows and name in rows and name not in keys
    ]
    return rows.iloc[np.lexsort([*within, alike])].reset_index(drop=True)


def _rank(value: Any) -> Any:
    return (math.isnan(value), value) if isinstance(value, float) else value


def main(job: Job) -> None:
    """Read every part, check it, and write the table."""
    name = Path(job.file("table")).stem
    tables, coordinates, files, plan = [], [], [], Plan.of_spec(job.spec)
    missing = left_out(plan.partial_tables())
    for part, own in plan.form("collect_table").parts_of(name):
        if missing(part.path):
            continue
        try:
            rows, origin = _read_json(part.path) if part.path.endswith(".json") else read_columns(part.path)
        except DamagedFile:
            if Path(part.path).exists():
                raise
            raise StageError(f"{part.path} was there a moment ago: a job is making it again. Call once more") from None
        if stale := part.staleness(origin, job.content):
            raise StageError(
                f"{part.path} is stale: {stale}. "
                f"Make it again: snakemake --cores all --force {part.path} (with the --configfile that you use, if any)"
            )
        tables.append(rows)
        coordinates.append(own)
        files.append(part.path)
    table = _joined(tables, coordinates)
    write_table(job.file("table"), name, table, job.origin_of(files))
    log.info("%s: %d rows from %d files", name, len(table), len(tables))


if __name__ == "__main__":
    run_stage(main)
