"""The barriers between two networks on the line that joins them, before and after matching their channels."""

import textwrap
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import Look
from whypretrain.figures.plotting.view import View

TABLES = ("barriers",)

IMAGES = ("train", "test")
KINDS = {  # matched, statistics re-estimated
    (False, True): Look("as they are, statistics re-estimated", "#D55E00", "none", "o"),
    (False, False): Look("as they are, statistics as they are", "#D55E00", "none", "o", filled=False),
    (True, True): Look("matched, statistics re-estimated", "#0072B2", "none", "s"),
    (True, False): Look("matched, statistics as they are", "#0072B2", "none", "s", filled=False),
}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, a column for each set of images, and a line for each pair."""
    rows = tables["barriers"][tables["barriers"]["pair"].isin(list(view.pairs))]
    view = replace(view, pairs=[name for name in view.pairs if (rows["pair"] == name).any()])  # trained ones alone
    each = max(0.45 * len(view.pairs) + 0.6, 1.4)
    figure = drawing.new_figure(each * len(view.depths) + 0.9, title(rows, view))
    grid = curve_drawing.panels(figure, view, len(IMAGES))
    counts: set[int] = set()
    for i, architecture in enumerate(view.architectures):
        for axes, images in zip(grid[i], IMAGES, strict=True):
            curve_drawing.head(axes, [architecture, f"{images} images"], len(IMAGES))
            here = rows[(rows["architecture"] == architecture) & (rows["images"] == images)]
            drawn = _draw_panel(axes, here, view)
            if not drawn:
                drawing.say(axes, "no such pair in this study" if here.empty else "the barrier is undefined")
                continue
            counts |= drawn
            axes.tick_params(labelleft=images == IMAGES[0])
        _level(grid[i])
    for axes in grid[-1]:
        drawing.name_x(axes, "barrier (nats)", len(IMAGES))
    told = f"means over seeds with 95 % t-intervals; {drawing.how_many(counts)}"
    curve_drawing.legend(figure, KINDS.values() if counts else [], told)
    return figure


def _level(row: Iterable[Axes]) -> None:
    """Give the panels of a row that hold anything one horizontal scale."""
    drawn = [axes for axes in row if axes.has_data()]
    limits = [axes.get_xlim() for axes in drawn]
    for axes in drawn:
        axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def of_kind(rows: pd.DataFrame, matched: bool, reestimated: bool) -> pd.DataFrame:
    """Return the barriers after matching or without, with re-estimated statistics or without."""
    return rows[(rows["matched"].astype(bool) == matched) & (rows["reestimated"].astype(bool) == reestimated)]


def _draw_panel(axes: Axes, rows: pd.DataFrame, view: View) -> set[int]:
    """Draw a panel's points, and return their numbers of seeds: none where nothing is known."""
    drawn: set[int] = set()
    for place, name in enumerate(view.pairs):
        mine = rows[rows["pair"] == name]
        for (kind, look), beside in zip(KINDS.items(), curve_drawing.shifts(len(KINDS), 0.5), strict=True):
            found = curve_drawing.means(of_kind(mine, *kind), "pair", "barrier").dropna(subset="mean")
            if found.empty:
                continue
            axes.errorbar(
                found["mean"],
                [place + beside] * len(found),
                xerr=drawing.errors(found),
                color=look.shade,
                linestyle="none",
                marker=look.marker,
                markersize=4,
                markerfacecolor=look.shade if look.filled else "white",
                capsize=1.5,
                elinewidth=0.8,
            )
            drawn |= {int(n) for n in found["n"]}
    if drawn:
        axes.axvline(0, color="#767676", linewidth=0.8, zorder=1)
        axes.set_yticks(range(len(view.pairs)), [textwrap.fill(name, 22) for name in view.pairs])
        axes.set_ylim(len(view.pairs) - 0.5, -0.5)
    return drawn


def title(rows: pd.DataFrame, view: View) -> str:
    """Say how high barriers are on test images before and after matching, with statistics re-estimated."""
    said = []
    for matched, words in ((False, "as the networks are"), (True, "after matching")):
        found = []
        mine = of_kind(rows[rows["images"] == "test"], matched, True)
        for architecture in view.architectures:
            for name in view.pairs:
                here = mine[(mine["architecture"] == architecture) & (mine["pair"] == name)]
                if here["barrier"].notna().any():
                    found.append((f"{architecture}, {name}", here["barrier"].mean()))
        if found:
            said.append(f"{curve_drawing.ranged(found, curve_drawing.plain, 'pairs and architectures')} {words}")
    if not said:
        return "Barriers between pairs of networks: no pair in this study"
    return f"Barriers on test images, statistics re-estimated, in nats: {', '.join(said)}"
