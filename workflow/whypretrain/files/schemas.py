"""The tables: their columns, what each means, and what may stand in it (pandera), checked on writing.

`schemas.csv` has a row for each column: its type, the values that it may have, and whether it may be empty. `*run` in
place of a column stands for all columns that stand under `*run` in place of a table. All tables are long and tidy, one
fact a row. Accuracies (`top1_…`) are fractions of 1, losses are cross-entropies in nats.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera import Check, Column

from whypretrain.files.origins import Origin
from whypretrain.files.storage import write_columns

TYPES = {"str": str, "float": float, "int": int, "bool": bool, "object": object}
PARTS = {"train": "training images", "validation": "validation images", "test": "test images"}
FEW = {
    "validation_few": "as few validation images as a user has; of a probe or SVM with the C that they select",
    "test_few": "test images, of what these few select: of a probe or SVM with another C, else the same",
}


def _checks(values: str) -> Iterator[Check]:
    """Yield the checks of `> 0`, `>= 0; <= 1`, or `train | test`."""
    limits = dict(limit.split() for limit in values.split("; ")) if values[:1] in ("<", ">") else {}
    numbers = {sign: json.loads(number) for sign, number in limits.items()}
    if len(numbers) > 1:
        yield Check.in_range(numbers[">="], numbers["<="])
    elif numbers:
        ((sign, number),) = numbers.items()
        kinds: dict[str, Any] = {">": Check.gt, ">=": Check.ge, "<=": Check.le}
        yield kinds[sign](number)
    elif values:
        yield Check.isin(values.split(" | "))


def _tables() -> dict[str, dict[str, Column]]:
    found: dict[str, dict[str, Column]] = {}
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            columns = found.setdefault(row["table"], {})
            if row["column"].startswith("*"):
                columns |= found[row["column"]]
                continue
            kind, _, unique = row["type"].partition(" ")
            columns[row["column"]] = Column(
                TYPES.get(kind, kind),
                list(_checks(row["values"])),
                nullable=bool(row["empty"]),
                coerce=kind not in TYPES,  # of whole numbers that may be empty pandas makes floats
                unique=bool(unique),
                description=row["description"],
            )
    return found


_ALL = _tables()
KEY_COLUMNS, RUN_COLUMNS = _ALL["*key"], _ALL["*run"]
TABLES = {name: columns for name, columns in _ALL.items() if not name.startswith("*")} | {"pilots": _ALL["runs"]}


def provenance_row(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's row of `provenance`, without its key, from its file; what the file doesn't tell is empty."""
    columns = {name: column for name, column in TABLES["provenance"].items() if name not in RUN_COLUMNS}
    told = {name: value for name, value in content.items() if value is not None}
    return {
        name: told.get(name, "" if str(column.dtype).startswith("str") else math.nan)
        for name, column in columns.items()
    }


def check_table(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the table's columns in order, checked. Raises pandera's SchemaError."""
    columns = TABLES[name]
    if frame.empty:  # a study without claims has no verdict, one without a source no source
        frame = pd.DataFrame({column: pd.Series(dtype=str(kind.dtype)) for column, kind in columns.items()})
    schema = pa.DataFrameSchema(columns, strict=True, ordered=True)
    return schema.validate(frame[list(columns)])


def write_table(path: str | Path, name: str, frame: pd.DataFrame, origin: Origin) -> None:
    """Check a table and write it; texts are dictionary-encoded, and each column carries its description."""
    import pyarrow

    checked = check_table(name, frame)
    arrays: Mapping[str, pyarrow.Array] = {
        column: pyarrow.array(checked[column], from_pandas=False) for column in TABLES[name]
    }
    encoded = {
        column: array.cast(pyarrow.string()).dictionary_encode()
        if pd.api.types.is_string_dtype(checked[column])
        else array
        for column, array in arrays.items()
    }
    descriptions = {column: str(settings.description) for column, settings in TABLES[name].items()}
    write_columns(path, encoded, origin, descriptions)
