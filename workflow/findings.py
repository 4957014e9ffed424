"""Write verdicts of finished results as a page of Markdown: python workflow/findings.py results results/evening."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pandas as pd

from whypretrain.files.storage import read_columns
from whypretrain.stages.write_summary import quantity


def table(results: Path, name: str) -> pd.DataFrame:
    """Return a table of a results folder; empty where there is none."""
    path = results / "tables" / f"{name}.parquet"
    return read_columns(path)[0].to_pandas() if path.exists() else pd.DataFrame()


def page(results: Path) -> str:
    """Return the section of one results folder: what was run, and a row for each claim and setting."""
    verdicts, stability, runs = (table(results, name) for name in ("verdicts", "stability", "provenance"))
    stays = (
        dict(zip(stability["claim"] + stability["setting"], stability["same"], strict=True)) if len(stability) else {}
    )
    counts = verdicts["verdict"].value_counts()
    told = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in ("supported", "contradicted", "inconclusive"))
    lines = [
        f"## `{results}`",
        "",
        f"{len(verdicts)} verdicts: {told}. {len(runs):,} runs of the seeds that decide, "
        f"{runs['seconds'].sum() / 60:.0f} minutes of training on a core.",
        "",
        "| claim | setting | effect (interval, coverage) | margin | n | verdict |"
        + " stays |" * bool(stays)
        + " reason |",
        "|---|---|---|---|---|---|" + "---|" * bool(stays) + "---|",
    ]
    for row in verdicts.to_dict("records"):
        effect, low, high, margin = (quantity(row[name], row["unit"]) for name in ("effect", "low", "high", "margin"))
        interval = f"{low} to {high}, {100 * row['coverage']:.0f} %" if "–" not in (low, high) else "no interval"
        same = f" {100 * stays[row['claim'] + row['setting']]:.0f} % |" if stays else ""
        lines.append(
            f"| {row['claim']}: {row['statement']} | {row['setting']} | {effect} {row['unit']} ({interval}) | {margin} "
            f"| {row['n']} | {row['verdict']} |{same} {row['reason']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the page of the folders that are given."""
    print("# What came out\n\nWritten by `python workflow/findings.py`, from the tables; nothing here is typed.")
    print("Effects are read at the component that decided; `stays` is the share of draws of the pilot seeds, each of")
    print("which selects learning rates again, that leave the verdict as it is.\n")
    print("\n\n".join(page(Path(results)) for results in sys.argv[1:]))


if __name__ == "__main__":
    main()
