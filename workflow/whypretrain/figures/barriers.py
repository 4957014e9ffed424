"""The barriers between two networks on the line that joins them, before and after matching their channels."""

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("barriers",)
IMAGES = ("train", "test")
KINDS = {  # matched, statistics re-estimated
    (False, True): Look("as they are, statistics re-estimated", "#D55E00", "none"),
    (False, False): Look("as they are, statistics as they are", "#D55E00", "none", fill="none"),
    (True, True): Look("matched, statistics re-estimated", "#0072B2", "none", "s"),
    (True, False): Look("matched, statistics as they are", "#0072B2", "none", "s", fill="none"),
}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, a column for each set of images, and a line for each pair."""
    rows = tables["barriers"][tables["barriers"]["pair"].isin(list(view.pairs))]
    pairs = [name for name in view.pairs if (rows["pair"] == name).any()]  # trained ones alone

    def paint(axes: Axes, panel: Panel) -> set[int]:
        counts: set[int] = set()
        for (kind, look), beside in zip(KINDS.items(), drawing.shifts(len(KINDS), 0.5), strict=True):
            found = choice.means(of_kind(panel.rows, *kind), "pair", "barrier").dropna(subset="mean")
            places = [pairs.index(name) + beside for name in found["pair"]]
            if places:
                axes.errorbar(
                    found["mean"], places, xerr=drawing.errors(found), capsize=1.5, elinewidth=0.8, **look.style
                )
            counts |= set(found["n"])
        if counts:
            axes.axvline(0, color=palette.GREY, linewidth=0.8, zorder=1)
            axes.set_ylim(len(pairs) - 0.5, -0.5)
            axes.set_yticks(range(len(pairs)), [wording.wrapped(name, 22) for name in pairs])
            axes.tick_params(labelleft=panel.of == IMAGES[0])
        return counts

    return drawing.draw_panels(
        title(rows, replace(view, pairs=pairs)),
        drawing.panels_of(rows, view, "images", {images: f"{images} images" for images in IMAGES}),
        paint,
        x="barrier (nats)",
        height=max(0.45 * len(pairs) + 0.6, 1.4),
        level="x",
        looks=KINDS.values() if rows["barrier"].notna().any() else (),
        absent="no such pair in this study",
        undefined="the barrier is undefined",
    )


def of_kind(rows: pd.DataFrame, matched: bool, reestimated: bool) -> pd.DataFrame:
    """Return the barriers after matching or without, with re-estimated statistics or without."""
    return rows[(rows["matched"].astype(bool) == matched) & (rows["reestimated"].astype(bool) == reestimated)]


def title(rows: pd.DataFrame, view: View) -> str:
    """Say how high barriers are on test images before and after matching, with statistics re-estimated."""
    said = []
    for matched, words in ((False, "as the networks are"), (True, "after matching")):
        mine = of_kind(rows[rows["images"] == "test"].astype({"architecture": str, "pair": str}), matched, True)
        found = mine.groupby(["architecture", "pair"])["barrier"].mean().dropna().to_dict()
        ordered = [(f"{a}, {p}", found[a, p]) for a in view.architectures for p in view.pairs if (a, p) in found]
        if ordered:
            said.append(f"{wording.ranged(ordered, wording.plain, 'pairs and architectures')} {words}")
    if not said:
        return "Barriers between pairs of networks: no pair in this study"
    return f"Barriers on test images, statistics re-estimated, in nats: {', '.join(said)}"
