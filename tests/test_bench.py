"""The table of speed goals: what meets a goal, and what is a third worse than the reference; nothing is timed here."""

import math
from pathlib import Path

import pandas as pd
import pytest
from conftest import NOWHERE

import bench
from bench import Row, table_of, worse
from whypretrain.files.schemas import write_table
from whypretrain.files.storage import read_columns

ROWS = [
    Row("loop", 0.95, "ratio of steps/s", "", 0.9, "more"),
    Row("start", 1.95, "ratio of s", "", 1.3),
    Row("bytes", 200_000, "bytes"),
    Row("study", math.nan, "ratio of s", "no finished one", 1.3),
    Row("nothing at all", 0.0, "s", "", 0.5),
]


def test_what_reaches_its_goal_meets_it_and_what_was_not_run_does_not(tmp_path: Path):
    write_table(tmp_path / "bench.parquet", "bench", table_of(ROWS), NOWHERE)
    table = read_columns(tmp_path / "bench.parquet")[0].to_pandas()
    assert table["met"].tolist() == ["yes", "no", "no goal", "not run", "yes"]
    assert table["ratio"][:2].tolist() == pytest.approx([0.95 / 0.9, 1.3 / 1.95])
    assert table["ratio"][2:4].isna().all()


def test_all_rows_are_shown_with_their_goals():
    first, *lines = bench.shown(table_of(ROWS)).splitlines()
    assert first.split() == ["what", "goal", "measured", "ratio", "unit", "met", "note"]
    assert "≥ 0.9" in lines[0]
    assert "≤ 1.3" in lines[1]
    assert len(lines) == len(ROWS)


@pytest.mark.parametrize(("measured", "fails"), [(0.9, False), (0.7, False), (0.65, True), (math.nan, True)])
def test_a_third_worse_than_the_reference_fails(measured: float, fails: bool):
    reference = pd.DataFrame({"what": ["loop"], "ratio": [1.0]})
    found = worse(table_of([Row("loop", measured, "ratio", "", 0.9, "more")]), reference)
    assert bool(found) is fails
    assert all("loop" in line and "was 1" in line for line in found)


def test_what_the_reference_has_and_a_table_has_not_fails():
    assert worse(table_of(ROWS), pd.DataFrame({"what": ["gone"], "ratio": [1.0]}))


def test_the_reference_names_each_measurement_once():
    reference = pd.read_csv(bench.REFERENCE)
    assert reference["what"].is_unique
    assert (reference["ratio"] > 0).all()
