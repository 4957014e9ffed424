"""Which modes of use are not worse than the best, by source distance and shots, and what the course advises there."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from whypretrain.figures.plotting import curve_drawing, drawing, mode_drawing
from whypretrain.figures.plotting.mode_drawing import Pair
from whypretrain.figures.plotting.view import View

TABLES = ("modes", "starts", "verdicts")

# how a panel says what a family does
WORDS = {
    "probe": "classifier only",
    "probe-L": "middle layer + classifier",
    "svm-L": "middle layer + SVM",
    "freeze-N": "freeze the first layers",
    "lpft": "probe, then fine-tune",
    drawing.MODE: "fine-tune",
    "scratch": "from scratch",
}
LINE = 0.135  # inches from one line of text to the next
MODE_HEIGHT = 0.15  # inches for each family
NAMES = 0.45  # inches for the modes' names beside a panel
PALE = "#B5B5B5"
RING: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 9.0,
    "markerfacecolor": "none",
    "markeredgecolor": "#000000",
    "markeredgewidth": 0.9,
}


class Cell(NamedTuple):
    """A panel: an architecture, its place in the study, its rows of `modes`, and what the course advises there."""

    architecture: str
    pair: Pair
    shots: str
    rows: pd.DataFrame
    rules: list[tuple[Mapping[str, Any], str]]  # each with its verdict


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each setting: rows are architectures and sources, the nearest first, columns are shots."""
    rows = drawing.of_study(tables["modes"], view)
    cells = cells_of(rows, drawing.of_study(tables["verdicts"], view), view)
    measured = mode_drawing.distances(tables["starts"])
    lines = [
        (architecture, pair)
        for architecture in view.architectures
        for pair in mode_drawing.by_distance(list(dict.fromkeys(cell.pair for cell in cells)), measured)
        if any((cell.architecture, cell.pair) == (architecture, pair) for cell in cells)
    ]
    columns = mode_drawing.in_order(cell.shots for cell in cells)
    families = [
        family for family in curve_drawing.MODES if any((cell.rows["family"] == family).any() for cell in cells)
    ]
    heads = {(cell.architecture, cell.pair, cell.shots): _heading(cell, measured, view, len(columns)) for cell in cells}
    deepest = max((text.count("\n") + 1 for text in heads.values()), default=1)
    height = MODE_HEIGHT * max(len(families), 3) + LINE * deepest + 0.3
    figure = drawing.new_figure(height * max(len(lines), 1) + 0.7, title(cells))
    grid = figure.subplots(max(len(lines), 1), max(len(columns), 1), squeeze=False)
    panels = dict.fromkeys(((a, p, shots) for a, p in lines for shots in columns), None)
    for axes, place in zip(grid.flat, panels or [None], strict=True):
        cell = next((each for each in cells if (each.architecture, each.pair, each.shots) == place), None)
        if cell is None:
            drawing.say(axes, "no such setting" if cells else drawing.ABSENT)
            continue
        # from where the modes' names begin: a narrow panel has no room to lose
        axes.set_title(
            heads[cell[:3]], loc="left", fontsize=7, x=-NAMES / (drawing.WIDTH / len(columns) - NAMES - 0.15)
        )
        _draw_panel(axes, cell, families)
    for column in grid.T:
        _align(column)
        drawing.name_x(column[-1], "test top-1 (%)", len(columns))
    for axes, place in zip(grid.flat, panels, strict=False):
        for cell in (each for each in cells if each[:3] == place):
            drawing.guess(axes, cell.rows["largest_class"], upright=True)
    _legend(figure, cells)
    return figure


def cells_of(rows: pd.DataFrame, verdicts: pd.DataFrame, view: View) -> list[Cell]:
    """Return the cells that hold anything, each with the rules that the study has for its settings."""
    decided = verdicts.set_index(["claim", "setting"])["verdict"].astype(str).to_dict() if len(verdicts) else {}
    cells = []
    for architecture in view.architectures:
        for pair, of_pair in mode_drawing.cells_of(rows, view).items():
            for shots, names in of_pair.items():
                here = rows[(rows["architecture"] == architecture) & (rows["setting"] == names[0])]
                rules = [
                    (rule, decided.get((rule["claim"], rule["setting"]), "undecided"))
                    for rule in view.rules
                    if rule["setting"] in names and rule["architecture"] == architecture
                ]
                if len(here):
                    cells.append(Cell(architecture, pair, shots, here, rules))
    return cells


def title(cells: Sequence[Cell]) -> str:
    """Say how many modes are not worse than the best, and how the course's rule fared."""
    if not cells:
        return f"Modes of use: {drawing.ABSENT}"
    sizes = [int(cell.rows["not_worse"].sum()) for cell in cells]
    several = sum(size > 1 for size in sizes)
    among = f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{sizes[0]}"
    most = max(len(cell.rows) for cell in cells)
    said = f"More than one mode is not worse than the best in {mode_drawing.counted(several, len(cells), 'cell')}"
    said += f" ({among} of up to {most} modes)"
    given = [(cell, rule, verdict) for cell in cells for rule, verdict in cell.rules]
    if given:
        held = sum(bool(advised(cell, rule)["not_worse"].any()) for cell, rule, _ in given)
        told = [verdict for _, _, verdict in given]
        counts = ", ".join(f"{told.count(verdict)} {verdict}" for verdict in dict.fromkeys(sorted(told)))
        said += f"; what the course advises is among them in {mode_drawing.counted(held, len(given), 'cell')}"
        said += f" it speaks of (claims: {counts})"
    return f"{said} ({drawing.how_many(n for cell in cells for n in cell.rows['n'])})"


def advised(cell: Cell, rule: Mapping[str, Any]) -> pd.DataFrame:
    """Return the row that is what a rule advises; none where its family wasn't run, or validation chose another."""
    return cell.rows[(cell.rows["family"] == rule["family"]) & cell.rows["mode"].isin(rule["modes"])]


def _heading(cell: Cell, measured: Mapping[tuple[str, str, str], float], view: View, columns: int) -> str:
    """Return the lines above a panel: what goes where, from how many images, and what the course says of it."""
    distance = measured.get((cell.architecture, *cell.pair))
    said = [mode_drawing.heading(cell.pair, distance), mode_drawing.shots_text(cell.shots)]
    said = [", ".join([*mode_drawing.architecture_word(cell.architecture, view), *said])]
    for rule, verdict in cell.rules:
        family = rule["family"]
        other = ", validation chose another" if (cell.rows["family"] == family).any() else ", not run"
        lacking = "" if len(advised(cell, rule)) else other
        said.append(f"{rule['quadrant']}: {WORDS.get(family, family)}{lacking} –\u00a0{verdict}")
    wide = max(108 // columns, 26)
    return "\n".join(part for text in said for part in textwrap.wrap(text, wide, break_on_hyphens=False))


def _draw_panel(axes: Axes, cell: Cell, families: Sequence[str]) -> None:
    """Draw a dot with its interval for each family: full where it is not worse than the best."""
    ringed = {family for rule, _ in cell.rules for family in advised(cell, rule)["family"]}
    names = []
    for place, family in enumerate(families):
        mine = cell.rows[cell.rows["family"] == family]
        names.append(str(mine["mode"].iloc[0]) if len(mine) and family != "scratch" else family)
        if mine["mean"].isna().all():
            continue
        row, shade = mine.iloc[0], curve_drawing.MODES[family]
        held = bool(row["not_worse"])
        axes.errorbar(
            [100 * row["mean"]],
            [place],
            xerr=drawing.errors(mine.iloc[:1], 100),
            color=shade,
            alpha=1.0 if held else 0.45,
            marker="o",
            markersize=4.5,
            markerfacecolor=shade if held else "white",
            capsize=1.5,
            elinewidth=0.9,
        )
        if family in ringed:
            axes.plot([100 * row["mean"]], [place], **RING, clip_on=False, in_layout=False, zorder=5)
    present = set(cell.rows["family"].astype(str))
    axes.set_ylim(len(families) - 0.4, -0.6)
    axes.set_yticks(range(len(families)), names)
    for family, label in zip(families, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if family in ringed else "normal")
        label.set_color("#000000" if family in present else PALE)
    axes.grid(axis="x", linewidth=0.4, color="#E0E0E0")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _align(column: Sequence[Axes]) -> None:
    """Give the panels of a column one scale, within what an accuracy can be; intervals of few seeds reach beyond."""
    drawn = [axes for axes in column if axes.has_data()]
    limits = [axes.get_xlim() for axes in drawn]
    for axes in drawn:
        axes.set_xlim(max(min(low for low, _ in limits), -2), min(max(high for _, high in limits), 102))


def _legend(figure: Figure, cells: Sequence[Cell]) -> None:
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4.5, "color": "#4D4D4D"}
    handles = [
        Line2D([], [], **dot, label="not worse than the best"),
        Line2D([], [], **dot, markerfacecolor="white", alpha=0.6, label="worse (p at most 0.05)"),
    ]
    if any(cell.rules for cell in cells):
        handles.append(Line2D([], [], **RING, label="what the course advises"))
    counts = drawing.how_many(n for cell in cells for n in cell.rows["n"])
    shares = [cell.rows["largest_class"] for cell in cells]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        title=f"means over seeds with 95 % t-intervals; {counts}; of svm-L, probe-L and freeze-N the one that "
        f"validation chose\n{drawing.guessed(pd.concat([pd.Series(dtype=float), *shares]))}".rstrip(),
        title_fontsize=7.5,
    )
