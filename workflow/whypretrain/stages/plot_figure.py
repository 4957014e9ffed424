"""Draw one figure of a study from the tables, as SVG and as PNG."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from whypretrain import registry
from whypretrain.command import Job, log, run_stage
from whypretrain.evidence.missing import left_out, sentence
from whypretrain.figures.plotting import drawing, fonts
from whypretrain.figures.plotting.view import View
from whypretrain.files.batches import read_run
from whypretrain.files.origins import BLANK, canonical
from whypretrain.files.storage import read_columns, read_tensors, write_sealed, write_whole


def _labelled(job: Job) -> list[tuple[dict[str, str], str]]:
    return list(zip(job.spec["weights"], job.files("weights"), strict=True))


def _draw_partial(draw: Callable[[], Figure], view: View) -> Figure:
    """Draw a figure from a part of its arms; where that can't be done, one that says so.

    Each figure copes with arms that a study doesn't have, but not with every part of what it does have.
    """
    try:
        return draw()
    except Exception:
        log.exception("it can't be drawn from what is there")
    figure = drawing.new_figure(1.2, f"{view.title}: this figure can't be drawn from what is there yet")
    drawing.say(figure.add_subplot(), "too much of it is missing")
    return figure


def main(job: Job) -> None:
    """Read the figure's tables and weights, and write both formats, each with its spec and code."""
    module = registry.load("figures", job.spec["figure"])
    tables = {
        name: read_columns(path)[0].to_pandas() for name, path in zip(module.TABLES, job.files("tables"), strict=True)
    }
    partial_tables = job.files("partial")
    missing = left_out(partial_tables)
    there = [(label, path) for label, path in _labelled(job) if not missing(path)]
    weights = [(label, read_run(path, label["run"]) if "run" in label else read_tensors(path)) for label, path in there]
    if lacking := fonts.choose(json.dumps(job.spec["view"], ensure_ascii=False)):
        log.warning("no installed font has %s: written as codes", " ".join(sorted(lacking)))
    view = View(**fonts.coded(job.spec["view"], lacking))
    if partial_tables:
        figure = _draw_partial(partial(module.draw, tables, view, weights), view)
    else:
        figure = module.draw(tables, view, weights)
    drawing.settle(figure)
    one = f"{', '.join(view.published)}: one source network, the same with every seed." if view.published else ""
    if partial_tables:
        how_much = sentence(read_columns(partial_tables[1])[0].to_pandas(), view.study)
        drawing.mark_partial(figure, f"{how_much} {one}".strip())
    elif one:
        drawing.note(figure, one)
    title = " ".join(figure.get_suptitle().split())  # what the figure shows, for who can't see it
    origin = job.origin().columns()
    told = {"svg": canonical({**origin, "seal": BLANK.decode()}), "png": canonical(origin)}

    def save(part: Path, suffix: str, metadata: dict[str, str | None]) -> None:
        # no date and no version, so that the same figure is the same bytes
        figure.savefig(part, format=suffix, bbox_inches="tight", metadata={"Description": told[suffix]} | metadata)

    write_sealed(job.file("svg"), partial(save, suffix="svg", metadata={"Date": None, "Creator": None, "Title": title}))
    write_whole(job.file("png"), partial(save, suffix="png", metadata={"Software": None}))


if __name__ == "__main__":
    run_stage(main)
