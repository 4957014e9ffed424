"""Pilots' validation accuracy at every learning rate of every arm, with the rate that was selected."""

from itertools import chain
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from whypretrain.evidence.statistics import interval
from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.view import View
from whypretrain.grid.coordinates import ARM_KEYS

TABLES = ("pilots", "arms")
EDGE = "#B0005A"
COLUMNS = 2  # tables side by side
HEAD = 33  # characters of a heading's line: names leave it little room


def row_name(view: View, treatment: str, span: str, source: str, recipe: str) -> str:
    """Return an arm's label within its panel."""
    if source == choice.UNTRAINED:
        return "scratch" if recipe == view.scratch_recipe else recipe
    return treatment if span == "all" else f"{treatment}, {span}"


def rung(name: str) -> tuple[float, str, int, str]:
    """Order rows as the ladder has them, and spans by their number."""
    treatment, _, span = name.partition(", ")
    kind, _, number = span.partition("-")
    return palette.rung(treatment), treatment, int(number or 0), kind


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a table of coloured cells for each architecture and setting."""
    arms = choice.of_study(tables["arms"], view)
    arms = arms.assign(name=_names(arms, view))
    runs = arms[[*ARM_KEYS, "relation", "name"]].merge(tables["pilots"], on=ARM_KEYS)
    found = drawing.setting_panels(runs, view)
    lines = list(chain(*(drawing.in_lines(line, COLUMNS) for line in found)))
    lines = [[panel._replace(head=wording.wrapped(panel.head, HEAD)) for panel in line] for line in lines]
    chosen = {
        (p.architecture, p.of): choice.in_panel(arms, view, p.architecture, p.of)
        for line in found
        for p in line
        if p.of
    }
    rows = [max(1, *(panel.rows["name"].nunique() for panel in line)) for line in lines]

    def paint(axes: Axes, panel: Panel) -> set[int]:
        return _draw_table(axes, panel.rows, chosen[panel.architecture, panel.of])

    return drawing.draw_panels(
        title(list(chosen.values())),
        lines,
        paint,
        x="learning rate",
        height=[0.17 * each + 4 * drawing.LINE for each in rows],
        level=None,
        told="cells: validation top-1 (%), mean over pilot seeds ± half of its 95 % t-interval; ×k: k of them "
        "diverged; framed: selected rate; dashed and marked ◂ or ▸: at the grid's edge",
    )


def _names(rows: pd.DataFrame, view: View) -> list[str]:
    keys = zip(rows["treatment"], rows["span"], rows["source"], rows["recipe"], strict=True)
    return [row_name(view, *map(str, key)) for key in keys]


def _draw_table(axes: Axes, rows: pd.DataFrame, chosen: pd.DataFrame) -> set[int]:
    names, rates = sorted(rows["name"].unique(), key=rung), sorted(rows["learning_rate"].unique())
    cells = rows.groupby(["name", "learning_rate"])
    means = cells["top1_validation"].mean()
    spread = max(means.max() - means.min(), 1e-9)
    counts = set()
    middle: dict[str, Any] = {"ha": "center", "va": "center"}
    for (name, rate), cell in cells:
        x, y = rates.index(rate), names.index(name)
        found = interval(cell["top1_validation"])
        counts.add(found.n)
        shade = matplotlib.colormaps["Blues"](0.02 + 0.5 * (found.mean - means.min()) / spread)
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=shade, linewidth=0))
        half = "" if found.n < 2 else f" ± {100 * (found.high - found.mean):.0f}"
        half += f" ×{int(cell['diverged'].sum())}" if cell["diverged"].any() else ""
        axes.text(x, y, f"{100 * found.mean:.0f}{half}", fontsize=6.5, **middle)
    for name, rate, edge in zip(chosen["name"], chosen["learning_rate"], chosen["grid_edge"], strict=True):
        if name not in names:
            continue
        x, y = rates.index(rate), names.index(name)
        line = {"edgecolor": EDGE, "linestyle": (0, (2, 1))} if edge else {"edgecolor": "black"}
        axes.add_patch(Rectangle((x - 0.46, y - 0.42), 0.92, 0.84, fill=False, linewidth=1.3, **line))
        if edge:
            low = rate == rows.loc[rows["name"] == name, "learning_rate"].min()
            axes.text(x + (-0.5 if low else 0.5), y, "◂" if low else "▸", color=EDGE, fontsize=7, **middle)
    axes.set_xlim(-0.5, len(rates) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return counts


def title(chosen: list[pd.DataFrame]) -> str:
    """Count the arms whose rate was selected at the edge of its grid."""
    arms = pd.concat(chosen, ignore_index=True) if chosen else pd.DataFrame()
    if arms.empty:
        return f"Learning rates: {wording.ABSENT}"
    edges = int(arms["grid_edge"].sum())
    if not edges:
        return f"No selected learning rate is at the edge of its grid ({len(arms)} arms)"
    return f"The selected learning rate is at the edge of its grid for {edges} of {len(arms)} arms"
