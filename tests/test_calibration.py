"""How often verdicts err where the truth is known: a short form of the table that `make calibration` writes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from whypretrain.evidence.calibration import Design, simulate
from whypretrain.files.storage import read_columns

SCALE = 0.04


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path: Path = tmp_path_factory.mktemp("calibration") / "calibration.parquet"
    told = ["--spec", json.dumps({"scale": SCALE}), "--code", "0", "--out", "calibration", str(path)]
    command = [sys.executable, "-m", "whypretrain.stages.calibrate_verdicts", *told]
    subprocess.run(command, cwd=ROOT / "workflow", check=True, capture_output=True)
    return read_columns(path)[0].to_pandas()


def test_no_error_is_more_frequent_than_promised(table: pd.DataFrame):
    assert table["as_promised"].all(), table[~table["as_promised"]].to_string()


def test_each_kind_of_error_is_simulated(table: pd.DataFrame):
    for columns in (["n"], ["components"], ["truth", "kind"], ["differences", "any"]):
        assert table.groupby(columns, observed=True).size().min() > 0
    asked = table[["n", "components", "differences"]].drop_duplicates()
    assert {(n, k, d) for n in (6, 12, 30) for k in (1, 5, 8) for d in ("normal", "counts")} <= set(
        asked.itertuples(index=False, name=None)
    )
    shares = table[["supported", "contradicted", "inconclusive"]].sum(axis=1)
    assert np.allclose(shares, 1)
    assert table.loc[table["truth"] == "effect", "error"].isna().all()


@pytest.mark.parametrize(
    ("kind", "components", "any_will_do", "truth"),
    [
        ("superiority", 8, False, "margin"),  # 18 % where contradictions had no share of the level
        ("equivalence", 8, False, "margin"),  # 34 %
        ("superiority", 8, True, "null"),
        ("equivalence", 1, False, "null"),
    ],
)
def test_what_errs_most_errs_as_often_as_it_may(kind: str, components: int, any_will_do: bool, truth: str):
    design = Design("normal", kind, any_will_do, truth, 12, components)
    row = simulate(design, 400 / design.studies(1))
    assert row["studies"] >= 390
    assert row["error"] <= row["nominal"] + 3 * row["simulation_error"]
