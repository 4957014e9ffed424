"""Write verdicts of finished results as a page of Markdown: python workflow/findings.py results results/evening."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pandas as pd

from whypretrain.files.storage import read_columns
from whypretrain.pages.board import quantity, told_why

HEAD = """# What came out

Written by `python workflow/findings.py`, from the tables; nothing here is typed. Effects are read at the component that
decided. Minutes are of training alone, on one core. `stays` is the share of draws of the pilot seeds, each of which
selects learning rates again, that leave the verdict as it is.
"""


def table(results: Path, name: str) -> pd.DataFrame:
    """Return a table of a results folder; empty where there is none."""
    path = results / "tables" / f"{name}.parquet"
    return read_columns(path)[0].to_pandas() if path.exists() else pd.DataFrame()


def minutes_needed(verdicts: pd.DataFrame, results: Path) -> list[str]:
    """Return for each verdict that lacks seeds for how many minutes of a core these would train in its study.

    All arms of the study are counted, since its other claims gain as well; sources are not.
    """
    key = ["architecture", "source", "epoch", "treatment", "span", "target", "shots", "mode", "recipe", "learning_rate"]
    own = table(results, "design").merge(table(results, "provenance")[[*key, "seed", "seconds"]], on=[*key, "seed"])
    a_seed = own.groupby("study", observed=True)["seconds"].sum() / own["seed"].nunique()
    lacking = verdicts["reason"].str.extract(r"about (\d+) needed", expand=False).astype(float) - verdicts["n"]
    minutes = lacking * verdicts["study"].astype(str).map(a_seed) / 60
    return ["" if pd.isna(each) else f"{each:.0f}" for each in minutes]


def page(results: Path) -> str:
    """Return the section of one results folder: what was run, and a row for each claim and setting."""
    verdicts, stability, runs = (table(results, name) for name in ("verdicts", "stability", "provenance"))
    counts = verdicts["verdict"].value_counts()
    told = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in ("supported", "contradicted", "inconclusive"))
    columns: dict[str, list[str]] = {
        name: [] for name in ("claim", "setting", "effect (interval, coverage)", "margin", "n", "verdict", "reason")
    }
    for row in verdicts.to_dict("records"):
        effect, low, high, margin = (quantity(row[name], row["unit"]) for name in ("effect", "low", "high", "margin"))
        interval = f"{low} to {high}, {100 * row['coverage']:.0f} %" if "–" not in (low, high) else "no interval"
        claim = f"{row['claim']}: {row['statement']}"
        cells = (claim, row["setting"], f"{effect} {row['unit']} ({interval})", margin, row["n"], row["verdict"])
        for column, cell in zip(columns.values(), (*cells, told_why(row)), strict=True):
            column.append(str(cell))
    columns["minutes for that n"] = minutes_needed(verdicts, results)
    if len(stability):
        columns["stays"] = [f"{100 * same:.0f} %" for same in stability["same"]]  # of the same claims in one order
    rows = [columns, ["---"] * len(columns), *zip(*columns.values(), strict=True)]
    return "\n".join(
        [
            f"## `{results}`\n",
            f"{len(verdicts)} verdicts: {told}. {len(runs):,} runs of the seeds that decide, "
            f"{runs['seconds'].sum() / 60:.0f} minutes of training on a core.\n",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def main() -> None:
    """Print the page of the folders that are given."""
    print(HEAD)
    print("\n\n".join(page(Path(results)) for results in sys.argv[1:]))


if __name__ == "__main__":
    main()
