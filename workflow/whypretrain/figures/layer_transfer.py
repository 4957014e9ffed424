"""Test accuracy against the number of layers copied (Yosinski et al. 2014)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import Look
from whypretrain.figures.plotting.view import View

TABLES = ("transfer",)

CURVES = (
    Look("BnB", "#0072B2", "-", "o"),
    Look("AnB", "#D55E00", "-", "s"),
    Look("BnB+", "#22C4EC", "--", "D", filled=False),
    Look("AnB+", "#FFC20A", "--", "^", filled=False),
    Look("random", "#4B0092", ":", "v"),
)
BASE = Look("base", "#4D4D4D", "-", "P")
SOURCE = Look("source", "#618253", "--", "", width=0.8)
OTHER_BASES = ("#938089", "#682C00", "#BAA18B", "#2C325F")  # from scratch by other recipes


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns)."""
    rows = drawing.of_study(tables["transfer"], view).dropna(subset="mean")
    settings = curve_drawing.settings_in(rows, view)
    figure = drawing.new_figure(2.4 * len(view.depths) + 0.7, title(rows, view))
    grid = curve_drawing.panels(figure, view, len(settings))
    shown: dict[str, Look] = {}
    counts: set[int] = set()
    looks = looks_of(rows)
    known = rows[rows["quantity"].isin(list(looks))]
    for axes, here, architecture, _ in curve_drawing.filled(grid, known, view, settings):
        _draw_panel(axes, here, looks, shown)
        counts.update(here["n"])
        curve_drawing.layer_axis(axes, 0, view.depths[architecture])
        drawing.within(axes, 0, 100)
    for row in grid:
        curve_drawing.level(row)
    for axes in grid[:, 0]:
        axes.set_ylabel("test top-1 (%)")
    for axes in grid[-1]:
        drawing.name_x(axes, "layers copied, n", len(settings))
    told = f"means over seeds with 95 % t-intervals; {drawing.how_many(counts)}"
    curve_drawing.legend(figure, [look for name, look in looks.items() if name in shown], told)
    return figure


def looks_of(rows: pd.DataFrame) -> dict[str, Look]:
    """Return how each quantity is drawn, in the order of the legend."""
    others = sorted({str(name) for name in rows["quantity"].unique() if str(name).startswith("base ")})
    looks = {look.name: look for look in (*CURVES, BASE, SOURCE)}
    for number, name in enumerate(others):
        looks[name] = Look(name, OTHER_BASES[number % len(OTHER_BASES)], ":", "", width=1.0)
    return looks


def _draw_panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look], shown: dict[str, Look]) -> None:
    curves = {look.name for look in CURVES}
    beside = dict(zip([look.name for look in CURVES], curve_drawing.shifts(len(CURVES)), strict=True))
    for name, look in looks.items():
        mine = rows[rows["quantity"] == name].sort_values("layers")
        if mine.empty:
            continue
        shown[name] = look
        if name in curves:
            curve_drawing.curve(axes, mine, "layers", look, 100, beside[name])
            continue
        if name == "base":
            for low, high in zip(mine["low"], mine["high"], strict=True):
                if np.isfinite(low):
                    axes.axhspan(100 * low, 100 * high, color=look.shade, alpha=0.15, linewidth=0)
            curve_drawing.curve(axes, mine, "layers", look, 100)
        for mean in mine["mean"]:
            axes.axhline(100 * mean, color=look.shade, linestyle=look.style, linewidth=0.8, zorder=1)


def title(rows: pd.DataFrame, view: View) -> str:
    """Say how far AnB and AnB+ are from base where the most layers are copied."""
    base = {place: mean for place, _, mean in curve_drawing.at_most(rows, "base", view)}
    said: list[str] = []
    counts: set[int] = set()
    for quantity, how in (("AnB", "frozen (AnB)"), ("AnB+", "trained on (AnB+)")):
        found = [
            (f"{place}, n = {n}", mean - base[place])
            for place, n, mean in curve_drawing.at_most(rows, quantity, view)
            if place in base
        ]
        if found:
            said.append(f"{how} {curve_drawing.ranged(found, curve_drawing.signed)}")
            counts.update(rows.loc[rows["quantity"] == quantity, "n"])
    if not said:
        return f"Layers copied: {drawing.ABSENT}"
    text = f"Test top-1 with the most layers copied, minus base, in points: {', '.join(said)}"
    return f"{text} ({drawing.how_many(counts)})"
