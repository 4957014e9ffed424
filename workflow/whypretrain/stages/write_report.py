"""Write the report: one page that opens from disk and asks nothing of anywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from whypretrain.command import Job, run_stage
from whypretrain.evidence.missing import sentence
from whypretrain.files.origins import BLANK
from whypretrain.files.storage import read_columns, write_sealed
from whypretrain.grid.coordinates import ARM_KEYS
from whypretrain.pages import html
from whypretrain.pages.board import MARKS, board, counted
from whypretrain.pages.study import SHOWN, section

READ = (*SHOWN, "sources", "provenance")
LISTED = 30  # arms that aren't complete


def what_is_there(studies: Sequence[str], missing: pd.DataFrame, completeness: pd.DataFrame) -> dict[str, Any]:
    """Return what stands on top of a page of studies that aren't complete: how much of each is there."""
    gaps = completeness[completeness["runs_there"] < completeness["runs"]]
    others = missing.loc[missing["what"] != "runs", "what"].astype(str).value_counts().sort_index()
    return {
        "told": sentence(completeness),
        "studies": {study: sentence(completeness, study) for study in studies},
        "others": ", ".join(f"{count} of {what}" for what, count in others.items()),
        "more": max(0, len(gaps) - LISTED),
        "gaps": [
            {
                "study": row["study"],
                "arm": ", ".join(str(row[key]) for key in ARM_KEYS),
                **{what: f"{row[f'{what}_there']} of {row[what]}" for what in ("runs", "seeds")},
            }
            for row in gaps.head(LISTED).to_dict("records")
        ],
    }


def machines(provenance: pd.DataFrame) -> dict[str, str]:
    """Return what the runs were trained by and on, and for how long."""
    told = {
        name: ", ".join(sorted(set(provenance[column].astype(str)))) or "–"
        for name, column in (("Python", "python"), ("device", "device"), ("machine", "host"))
    }
    return {**told, "training": f"{len(provenance):,} runs, {provenance['seconds'].sum() / 60:.1f} minutes in all"}


def page(
    spec: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[tuple[str, str], str],
    partial: Sequence[pd.DataFrame] = (),
    told: Mapping[str, str] | None = None,
) -> str:
    """Return the whole page.

    `figures` are files by study and figure, `partial` the tables `missing` and `completeness` of studies that may not
    be complete, `told` what the page says of itself.
    """
    rows = board(tables["verdicts"], spec["studies"])
    studies = []
    for study in spec["studies"]:
        name = study["view"]["study"]
        mine = {figure: path for (owner, figure), path in figures.items() if owner == name}
        studies.append(section(study, spec["config"], tables, rows, mine))
    config = yaml.safe_dump(spec["config"], sort_keys=False, allow_unicode=True)
    return (
        html.environment()
        .get_template("report.html.j2")
        .render(
            studies=studies,
            rows=rows,
            counted=counted([row["verdict"] for row in rows]),
            marks=MARKS,
            partial=what_is_there([study["name"] for study in studies], *partial) if partial else {},
            config=html.data_uri(config.encode(), "text/yaml"),
            versions=spec["versions"],
            machines=machines(tables["provenance"]),
            library=html.table_library(),
            told=[html.in_comment(name, text) for name, text in (told or {}).items()],
        )
    )


def main(job: Job) -> None:
    """Read the tables and figures; write the page, its origin in a comment on top."""
    tables = {name: read_columns(job.file(name))[0].to_pandas() for name in READ}
    names = [(study["view"]["study"], figure["name"]) for study in job.spec["studies"] for figure in study["figures"]]
    figures = dict(zip(names, job.files("figures"), strict=True))
    partial = [read_columns(path)[0].to_pandas() for path in job.files("partial")]
    text = page(job.spec, tables, figures, partial, {**job.origin().columns(), "seal": BLANK.decode()})

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    write_sealed(job.file("page"), write)


if __name__ == "__main__":
    run_stage(main)
