"""What the tables `missing` and `completeness` say of studies that aren't complete."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from whypretrain.files.storage import read_columns
from whypretrain.grid.coordinates import ARM_KEYS


def left_out(tables: Sequence[str]) -> Callable[[str], bool]:
    """Return whether a file doesn't count: one that is missing, or any of a batch that is.

    `tables` are the paths of both tables, the one of what is missing first; without them all files count.
    """
    if not tables:
        return lambda path: False
    missing = read_columns(tables[0])[0].to_pandas()
    paths = set(missing["path"].astype(str))
    batches = {
        str(Path(path).parent) for path in missing.loc[missing["what"].isin(["runs", "pilots"]), "path"].astype(str)
    }
    return lambda path: path in paths or str(Path(path).parent) in batches


def sentence(completeness: pd.DataFrame, study: str | None = None) -> str:
    """Say how much of a study, or of all, counts: what stands on everything that is shown of it."""
    rows = completeness if study is None else completeness[completeness["study"] == study]
    rows = rows.drop_duplicates(ARM_KEYS)
    runs, there = int(rows["runs"].sum()), int(rows["runs_there"].sum())
    arms = int((rows["seeds_there"] == 0).sum())
    fewer = int(((rows["seeds_there"] > 0) & (rows["seeds_there"] < rows["seeds"])).sum())
    told = [f"arms left out: {arms} of {len(rows)}" if arms else "", f"arms with fewer seeds: {fewer}" if fewer else ""]
    details = "; ".join(filter(None, told))
    return f"PARTIAL: {there} of {runs} runs count{f' ({details})' if details else ''}."
