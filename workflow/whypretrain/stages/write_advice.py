"""Write in plain text which way of using a source is best on each target: what `make advise` prints."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from whypretrain.command import Job, run_stage
from whypretrain.evidence import advising
from whypretrain.evidence.missing import sentence
from whypretrain.files.restructured import write_page
from whypretrain.files.storage import read_columns
from whypretrain.grid.coordinates import ARM_KEYS


def time_of(row: Mapping[str, Any], provenance: pd.DataFrame) -> str:
    """Say how long one training of a recommended way took, and with it the choice of its learning rate."""
    same = (provenance[key].astype(str) == str(value) for key, value in _arm(row).items())
    mine = provenance[pd.concat(list(same), axis=1).all(axis=1)]
    rate = row["learning_rate"]
    at = mine if math.isnan(rate) else mine[mine["learning_rate"] == rate]
    if at.empty:
        return ""
    each, splits = at["seconds"].mean(), at["seed"].nunique()
    words = f"Time: one training took {each:.1f} s ({at['device'].iloc[0]}, {at['threads'].iloc[0]} thread(s))"
    others = mine["learning_rate"].nunique()
    return words + (
        f"; with all {others} learning rates {mine['seconds'].sum() / splits:.0f} s." if others > 1 else "."
    )


def _arm(row: Mapping[str, Any]) -> dict[str, Any]:
    fixed = {"treatment": "intact", "span": "all"}
    return {key: {**row, **fixed}[key] for key in ARM_KEYS if key != "epoch"}


def paragraphs(spec: Mapping[str, Any], advice: pd.DataFrame, provenance: pd.DataFrame) -> Iterator[str]:
    """Yield the text, paragraph by paragraph: each study's targets, what is best over all sources, and from each."""
    for study in spec["studies"]:
        yield f"{study['title']}\n{'=' * len(study['title'])}"
        rows = advice[advice["study"] == study["study"]].to_dict("records")
        for target, about in study["targets"].items():
            mine = [row for row in rows if row["target"] == target]
            said = advising.images_sentence(about["counts"], about["parts"], len(spec["seeds"]), about["given"])
            fewer = any(row["shots"] != "full" for row in mine)
            yield f"{said} With a number of images per class only so many are learnt from." if fewer else said
            yield from advising.few_images(about["counts"], about["parts"])
            # over all sources first
            for row in sorted(mine, key=lambda row: (row["shots"], row["setting"] != advising.ANY)):
                told = advising.sentence(row, study["sources"].get(row["setting"], ""))
                yield " ".join(part for part in (told, time_of(row, provenance)) if part)
    given = any("test" in about["given"] for study in spec["studies"] for about in study["targets"].values())
    yield advising.OF_GIVEN if given else advising.NOTE


def _partial(job: Job) -> Iterator[str]:
    """Say on top of the advice that it isn't complete; nothing of one that is."""
    for path in job.files("partial")[1:]:
        told = sentence(read_columns(path)[0].to_pandas())
        yield f"{told} Ways whose runs are missing are not compared here, and one of them may be the best."


def main(job: Job) -> None:
    """Read `advice` and `provenance`; write the text."""
    advice, provenance = (read_columns(job.file(name))[0].to_pandas() for name in ("advice", "provenance"))
    told = [*_partial(job), *paragraphs(job.spec, advice, provenance)]
    text = "\n\n".join(map(advising.wrapped, told)) + "\n"
    write_page(job.file("page"), text, job.origin())


if __name__ == "__main__":
    run_stage(main)
