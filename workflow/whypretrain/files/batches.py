"""A batch of runs is a handful of files, however many runs it holds: rows and tensors say which run they are of."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whypretrain.files.origins import Origin
from whypretrain.files.storage import Weights, read_columns, read_tensors, write_card, write_columns, write_tensors


@dataclass(frozen=True)
class Run:
    """What one run leaves: columns by the kind of file, its final weights, and what is told of how it ran."""

    name: str
    learning_rate: float | None
    seed: int
    columns: Mapping[str, Mapping[str, Sequence[Any]]]
    final: Weights
    provenance: Mapping[str, Any]


def write_batch(files: Mapping[str, str | Path], runs: Iterable[Run], origin: Origin) -> None:
    """Write the files of some runs: a table for each kind of columns, `final` and `provenance`."""
    import pyarrow as pa

    tables: dict[str, list[Any]] = {}
    finals: Weights = {}
    told = []
    for run in runs:
        for kind, columns in run.columns.items():
            if kind in files:
                rows = len(next(iter(columns.values())))
                rate = pa.array([run.learning_rate] * rows, pa.float64())
                keys = {"learning_rate": rate, "seed": pa.array([run.seed] * rows, pa.int64())}
                tables.setdefault(kind, []).append(pa.table({**keys, **columns}))
        finals |= {f"{run.name}/{name}": array for name, array in run.final.items()}
        told.append({"learning_rate": run.learning_rate, "seed": run.seed, **run.provenance})
    _write(files, tables, finals, told, origin)


def join_batches(parts: Iterable[Path], files: Mapping[str, str], origin: Origin) -> None:
    """Write the files of a batch from those of its parts, folders in which each kind has its name alone."""
    tables: dict[str, list[Any]] = {}
    finals: Weights = {}
    told = []
    for part in parts:
        for kind, path in names_in(part, files).items():
            if kind == "final":
                finals |= read_tensors(path)
            elif kind == "provenance":
                told += json.loads(path.read_text(encoding="utf-8"))["runs"]
            else:
                tables.setdefault(kind, []).append(read_columns(path)[0].replace_schema_metadata())
    _write(files, tables, finals, told, origin)


def names_in(folder: Path, files: Iterable[str]) -> dict[str, Path]:
    """Return where each kind of file of a part lies."""
    endings = {"final": ".safetensors", "provenance": ".json"}
    return {kind: folder / f"{kind}{endings.get(kind, '.parquet')}" for kind in files}


def _write(
    files: Mapping[str, str | Path],
    tables: Mapping[str, Sequence[Any]],
    finals: Weights,
    told: Sequence[Mapping[str, Any]],
    origin: Origin,
) -> None:
    import pyarrow as pa

    for kind, parts in tables.items():
        table = pa.concat_tables(parts, promote_options="permissive")
        write_columns(files[kind], {name: table[name] for name in table.column_names}, origin)
    write_tensors(files["final"], finals, origin)
    write_card(files["provenance"], {"runs": told}, origin)


def read_run(path: str | Path, run: str) -> Weights:
    """Return the final weights of one run of a batch. Raises KeyError where it has none of that name."""
    return read_finals(path)[run]


def read_finals(path: str | Path) -> dict[str, Weights]:
    """Return the final weights of a batch by the name of the run."""
    found: dict[str, Weights] = {}
    for name, array in read_tensors(path).items():
        run, _, weight = name.partition("/")
        found.setdefault(run, {})[weight] = array
    return found
