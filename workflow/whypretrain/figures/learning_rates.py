"""Pilots' validation accuracy at every learning rate of every arm, with the rate that was selected."""

import itertools
from dataclasses import dataclass

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from whypretrain.evidence.statistics import interval
from whypretrain.figures.plotting import drawing
from whypretrain.figures.plotting.view import View
from whypretrain.grid.coordinates import ARM_KEYS

TABLES = ("pilots", "arms")

EDGE = "#B0005A"
COLUMNS = 2  # tables side by side


@dataclass(frozen=True, eq=False)
class Panel:
    """What one table shows: its runs, and the arms with their selected rates."""

    architecture: str
    setting: drawing.Setting
    rows: pd.DataFrame
    chosen: pd.DataFrame


def row_name(view: View, treatment: str, span: str, source: str, recipe: str) -> str:
    """Return an arm's label within its panel."""
    if source == drawing.UNTRAINED:
        return "scratch" if recipe == view.scratch_recipe else recipe
    return treatment if span == "all" else f"{treatment}, {span}"


def rung(name: str) -> tuple[float, str, int, str]:
    """Order rows as the ladder has them, and spans by their number."""
    treatment, _, span = name.partition(", ")
    kind, _, number = span.partition("-")
    return drawing.rung(treatment), treatment, int(number or 0), kind


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a table of coloured cells for each architecture and setting."""
    arms = drawing.of_study(tables["arms"], view)
    runs = arms[[*ARM_KEYS, "relation"]].merge(tables["pilots"], on=ARM_KEYS)
    settings = drawing.settings_of(runs, view)
    columns = min(max(len(settings), 1), COLUMNS)
    lines: list[list[Panel | None]] = []
    for architecture in view.architectures:
        panels: list[Panel | None] = [
            Panel(
                architecture,
                setting,
                _named(drawing.in_panel(runs, view, architecture, setting), view),
                _named(drawing.in_panel(arms, view, architecture, setting), view),
            )
            for setting in settings
        ]
        panels += [None] * (-len(panels) % columns if panels else columns)
        lines += [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max([1, *(panel.rows["name"].nunique() for panel in line if panel)]) for line in lines]
    heads = sum(
        max([len(drawing.panel_name(p.architecture, p.setting, columns + 1)) for p in line if p], default=1)
        for line in lines
    )
    shown = [panel for line in lines for panel in line if panel]
    figure = drawing.new_figure(
        0.17 * sum(heights) + 0.13 * heads + 0.3 * len(lines) + 0.5, title([panel.chosen for panel in shown])
    )
    grid = figure.subplots(len(lines), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    counts: set[int] = set()
    for axes, panel in zip(grid.flat, itertools.chain(*lines), strict=True):
        if panel is None:
            axes.set_axis_off()
            if not shown:
                drawing.say(axes)
            continue
        drawing.name_panel(axes, panel.architecture, panel.setting, columns + 1)
        if panel.rows.empty:
            drawing.say(axes)
            continue
        _draw_table(axes, panel.rows, panel.chosen, counts)
    for axes in grid[-1]:
        axes.set_xlabel("learning rate")
    figure.supxlabel(
        "cells: validation top-1 (%), mean over pilot seeds ± half of its 95 % t-interval; "
        f"{drawing.how_many(counts)}; ×k: k of them diverged\n"
        "framed: selected rate; dashed and marked ◂ or ▸: at the grid's edge",
        fontsize=8,
    )
    return figure


def _named(rows: pd.DataFrame, view: View) -> pd.DataFrame:
    keys = zip(rows["treatment"], rows["span"], rows["source"], rows["recipe"], strict=True)
    return rows.assign(name=[row_name(view, *map(str, key)) for key in keys])


def _draw_table(axes: Axes, rows: pd.DataFrame, chosen: pd.DataFrame, counts: set[int]) -> None:
    names = sorted(rows["name"].unique(), key=rung)
    rates = sorted(rows["learning_rate"].unique())
    means = rows.groupby(["name", "learning_rate"])["top1_validation"].mean()
    shades = matplotlib.colormaps["Blues"]
    least, spread = means.min(), max(means.max() - means.min(), 1e-9)
    selected = {row["name"]: row for row in chosen.to_dict("records")}
    for y, name in enumerate(names):
        for x, rate in enumerate(rates):
            cell = rows[(rows["name"] == name) & (rows["learning_rate"] == rate)]
            if cell.empty:
                continue
            found = interval(cell["top1_validation"])
            counts.add(found.n)
            level = (found.mean - least) / spread
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=shades(0.02 + 0.5 * level), linewidth=0))
            half = "" if found.n < 2 else f" ± {100 * (found.high - found.mean):.0f}"
            if cell["diverged"].any():
                half += f" ×{int(cell['diverged'].sum())}"
            axes.text(
                x, y, f"{100 * found.mean:.0f}{half}", ha="center", va="center", fontsize=6.5,
            )  # fmt: skip
        if name in selected:
            x, edge = rates.index(selected[name]["learning_rate"]), bool(selected[name]["grid_edge"])
            axes.add_patch(
                Rectangle(
                    (x - 0.46, y - 0.42), 0.92, 0.84, fill=False, linewidth=1.3,
                    edgecolor=EDGE if edge else "black", linestyle=(0, (2, 1)) if edge else "-",
                )
            )  # fmt: skip
            if edge:
                mine = sorted(rows.loc[rows["name"] == name, "learning_rate"].unique())
                low = selected[name]["learning_rate"] == mine[0]
                axes.text(
                    x + (-0.5 if low else 0.5), y, "◂" if low else "▸", color=EDGE, fontsize=7,
                    ha="center", va="center",
                )  # fmt: skip
    axes.set_xlim(-0.5, len(rates) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def title(chosen: list[pd.DataFrame]) -> str:
    """Count the arms whose rate was selected at the edge of its grid."""
    arms = pd.concat(chosen, ignore_index=True) if chosen else pd.DataFrame()
    if arms.empty:
        return f"Learning rates: {drawing.ABSENT}"
    edges = int(arms["grid_edge"].sum())
    if not edges:
        return f"No selected learning rate is at the edge of its grid ({len(arms)} arms)"
    return f"The selected learning rate is at the edge of its grid for {edges} of {len(arms)} arms"
