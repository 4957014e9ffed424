"""Keep the verdicts of finished results in docs/data, and write from there what docs and README say came out.

python workflow/findings.py keep NAME RESULTS   keep those of a results folder under a name
python workflow/findings.py                     write docs/findings.md, docs/data/verdicts.svg and README's summary
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import matplotlib  # noqa: E402
import pandas as pd  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from whypretrain.files.storage import read_columns  # noqa: E402
from whypretrain.pages.board import MARKS, SPAN, interval, quantity, told_why  # noqa: E402

DATA = ROOT / "docs" / "data"
ABOUT = {  # what is kept, in the order of the page
    "default": ("The default study", "`make run`"),
    "evening": ("The evening study", "`make run CONFIG=config/evening.yaml`"),
}
SHADES = {"supported": "#0072B2", "contradicted": "#D55E00", "inconclusive": "#8C8C8C"}
ARM = ["architecture", "source", "epoch", "treatment", "span", "target", "shots", "mode", "recipe", "learning_rate"]
HEAD = """# What came out

Written by `python workflow/findings.py` from `docs/data`; nothing here is typed. Effects are read at the component that
decided. Minutes are of training alone, on one core, for the seeds that would decide, with all arms of the study.
`stays` is the share of draws of the pilot seeds, each of which selects learning rates again, that leave the verdict as
it is. Intervals are over seeds.
"""
FIRM = 0.95  # of draws in which a verdict stays
COLUMNS = ("claim", "setting", "effect (interval)", "margin", "n", "verdict", "reason", "minutes for that n", "stays")
SECTION = re.compile(r"(?<=<!-- written by workflow/findings.py -->\n).*?(?=<!-- end -->)", re.DOTALL)


def table(results: Path, name: str) -> pd.DataFrame:
    """Return a table of a results folder; empty where there is none."""
    path = results / "tables" / f"{name}.parquet"
    return read_columns(path)[0].to_pandas() if path.exists() else pd.DataFrame()


def minutes_needed(verdicts: pd.DataFrame, results: Path) -> pd.Series:
    """Return for each verdict that lacks seeds for how many minutes of a core these would train in its study.

    All arms of the study are counted, since its other claims gain as well; sources are not.
    """
    own = table(results, "design").merge(table(results, "provenance")[[*ARM, "seed", "seconds"]], on=[*ARM, "seed"])
    a_seed = own.groupby("study", observed=True)["seconds"].sum() / own["seed"].nunique()
    lacking = verdicts["reason"].str.extract(r"about (\d+) needed", expand=False).astype(float) - verdicts["n"]
    return (lacking * verdicts["study"].astype(str).map(a_seed) / 60).round()


def keep(name: str, results: Path) -> None:
    """Write verdicts, arms and what made them to docs/data."""
    verdicts, stability, arms, runs = (table(results, kind) for kind in ("verdicts", "stability", "arms", "provenance"))
    verdicts["minutes"] = minutes_needed(verdicts, results)
    verdicts["stays"] = stability["same"] if len(stability) else float("nan")  # of the same claims in one order
    # of the clone that the results lie in
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=results, check=False, capture_output=True, text=True
    ).stdout
    told = {
        "commit": commit.strip() or "unknown",
        "processor": str(runs["processor"].iloc[0]) if "processor" in runs else "",
        "runs": len(runs),
        "training_minutes": round(float(runs["seconds"].sum()) / 60),
    }
    DATA.mkdir(exist_ok=True)
    verdicts.to_csv(DATA / f"{name}.verdicts.csv", index=False, float_format="%.6g")
    arms.to_csv(DATA / f"{name}.arms.csv", index=False, float_format="%.6g")
    (DATA / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")


def kept() -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    """Return what is kept by name: verdicts, and what made them."""
    names = [name for name in ABOUT if (DATA / f"{name}.json").exists()]
    read = {"unit": str, "component": str, "reason": str}
    return {
        name: (
            pd.read_csv(DATA / f"{name}.verdicts.csv", dtype=read, keep_default_na=True),
            json.loads((DATA / f"{name}.json").read_text()),
        )
        for name in names
    }


def counted(verdicts: pd.DataFrame) -> str:
    """Count verdicts in words."""
    counts = verdicts["verdict"].value_counts()
    return ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in MARKS)


def section(name: str, verdicts: pd.DataFrame, told: dict[str, Any]) -> str:
    """Return the section of one study: what was run, and a row for each claim and setting."""
    title, command = ABOUT[name]
    lines = [
        f"## {title}\n",
        f"{command}, at commit `{told['commit'][:12]}`, {told['processor'] or 'on a processor that is not told'}: "
        f"{len(verdicts)} verdicts, {counted(verdicts)}. {told['runs']:,} runs of the seeds that decide, "
        f"{told['training_minutes']} minutes of training on a core.\n",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for row in verdicts.to_dict("records"):
        effect, margin = (quantity(row[each], row["unit"]) for each in ("effect", "margin"))
        cells = (
            f"{row['claim']}: {row['statement']}",
            row["setting"],
            f"{effect} {row['unit']} ({interval(row)})",
            margin,
            row["n"],
            row["verdict"],
            told_why(row).replace("|", "/"),
            "" if pd.isna(row["minutes"]) else f"{row['minutes']:.0f}",
            "" if pd.isna(row["stays"]) else f"{100 * row['stays']:.0f} %",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page of all that is kept."""
    return "\n".join([HEAD, *(section(name, *found) for name, found in kept().items())])


def named(verdicts: pd.DataFrame) -> str:
    """Name the claims of some verdicts, each with its setting, and how often it stays if not nearly always."""
    told = []
    for row in verdicts.to_dict("records"):
        shaky = f", stays in {100 * row['stays']:.0f} % of draws" if row["stays"] < FIRM else ""
        told.append(f"{row['claim']} ({row['setting']}{shaky})")
    return ", ".join(told)


def summary() -> str:
    """Return README's lines: how many verdicts, and of each paper which claims came out how."""
    found = kept()
    told = [f"{ABOUT[name][0].lower()} {counted(verdicts)}" for name, (verdicts, _) in found.items()]
    lines = [f"There are in {'; in '.join(told)}. Decided are:\n", "| | supported | contradicted |", "|---|---|---|"]
    every = pd.concat([verdicts for verdicts, _ in found.values()])
    for paper, own in every[every["verdict"] != "inconclusive"].groupby("paper", sort=False):
        once = own.drop_duplicates(["claim", "setting", "verdict"])
        cells = (named(once[once["verdict"] == verdict]) for verdict in ("supported", "contradicted"))
        lines.append(f"| {paper} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(path: Path) -> None:
    """Draw every verdict with its interval, in margins, a column for each study."""
    found = kept()
    most = max(len(verdicts) for verdicts, _ in found.values())
    figure = Figure(figsize=(4.2 * len(found), 0.17 * most + 0.9), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)
    for axis, (name, (verdicts, _)) in zip(axes[0], found.items(), strict=True):
        labels = []
        for place, row in enumerate(verdicts.to_dict("records")):
            unit = row["margin"] or 1
            ends = [min(max(row[each] / unit, -SPAN), SPAN) for each in ("low", "effect", "high")]
            axis.plot(ends[::2], [place, place], color=SHADES[row["verdict"]], lw=1.5)
            marker = {"supported": "^", "contradicted": "v", "inconclusive": "o"}[row["verdict"]]
            axis.plot(ends[1], place, marker, color=SHADES[row["verdict"]], ms=4)
            labels.append(f"{row['claim']} {row['setting']}")
        axis.axvline(0, color="black", lw=0.8)
        axis.axvline(1, color="black", lw=0.8, ls=":")
        axis.axvline(-1, color="black", lw=0.8, ls=":")
        axis.set_yticks(range(len(labels)), labels, fontsize=6)
        axis.set_ylim(len(labels) - 0.5, -0.5)
        axis.set_xlim(-SPAN - 0.2, SPAN + 0.2)
        axis.set_xlabel(
            "effect with its interval, in margins\n(▲ supported, ▼ contradicted, ○ inconclusive)", fontsize=6
        )
        axis.set_title(ABOUT[name][0], fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Keep results, or write the pages from what is kept."""
    matplotlib.rcParams["svg.hashsalt"] = "findings"
    if sys.argv[1:2] == ["keep"]:
        keep(sys.argv[2], Path(sys.argv[3]))
        return
    (ROOT / "docs" / "findings.md").write_text(page())
    readme = ROOT / "README.md"
    readme.write_text(SECTION.sub(lambda _: summary(), readme.read_text()))
    draw(DATA / "verdicts.svg")


if __name__ == "__main__":
    main()
