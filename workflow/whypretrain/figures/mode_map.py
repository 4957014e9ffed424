"""Which modes of use are not worse than the best, by source distance and shots, and what the course advises there."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.cells import Cell, cells_of
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("modes", "starts", "verdicts")

# how a panel says what a family does
WORDS = {
    "probe": "classifier only",
    "probe-L": "middle layer + classifier",
    "svm-L": "middle layer + SVM",
    "freeze-N": "freeze the first layers",
    "lpft": "probe, then fine-tune",
    palette.MODE: "fine-tune",
    "scratch": "from scratch",
}
NAMES = 0.45  # inches for the modes' names beside a panel
PALE = "#B5B5B5"
BEST, WORSE = "not worse than the best", "worse (p at most 0.05)"

Rule = tuple[Mapping[str, Any], str]  # with its verdict


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each setting: rows are architectures and sources, the nearest first, columns are shots."""
    rows = choice.of_study(tables["modes"], view)
    cells = cells_of(rows, tables["starts"], view)
    rules = [rules_of(cell, choice.of_study(tables["verdicts"], view), view) for cell in cells]
    known = pd.concat([rows[:0], *(cell.rows for cell in cells)])
    families = [family for family in palette.MODES if (known["family"] == family).any()]
    columns = wording.in_order(cell.shots for cell in cells) or [""]
    by_place = {(cell.head, cell.shots): (cell, mine) for cell, mine in zip(cells, rules, strict=True)}
    heads = list(dict.fromkeys(cell.head for cell in cells)) or [""]
    lines = [
        [
            Panel("", cell.rows, of=(cell, mine)) if cell else Panel("", rows[:0])
            for cell, mine in (by_place.get((head, shots), (None, [])) for shots in columns)
        ]
        for head in heads
    ]
    told = {place: _heading(*each, len(columns)) for place, each in by_place.items()}
    deepest = max((text.count("\n") + 1 for text in told.values()), default=1)

    def paint(axes: Axes, panel: Panel) -> set[int]:
        cell, mine = panel.of
        # from where the modes' names begin: a narrow panel has no room to lose
        left = -NAMES / (drawing.WIDTH / len(columns) - NAMES - 0.15)
        axes.set_title(told[cell.head, cell.shots], loc="left", fontsize=7, x=left)
        return _draw_cell(
            axes, cell, families, {family for rule, _ in mine for family in advised(cell, rule)["family"]}
        )

    grey = Look(BEST, "#4D4D4D", "none", size=4.5)
    figure = drawing.draw_panels(
        title(cells, rules),
        lines,
        paint,
        x="test top-1 (%)",
        height=0.15 * max(len(families), 3) + drawing.LINE * deepest + 0.3,
        looks=[
            grey,
            grey._replace(name=WORSE, fill="none"),
            *([drawing.RING._replace(name="what the course advises")] if any(rules) else []),
        ],
        told=f"{drawing.MEANS}; of svm-L, probe-L and freeze-N the one that validation chose; "
        f"{drawing.guessed(known['largest_class'])}",
        absent="no such setting" if cells else wording.ABSENT,
    )
    for number in range(len(columns)):
        drawing.share(figure.axes[number :: len(columns)], "x")
    for axes, panel in zip(figure.axes, (panel for line in lines for panel in line), strict=True):
        if axes.has_data():  # intervals of few seeds reach beyond what an accuracy can be
            axes.set_xlim(max(axes.get_xlim()[0], -2), min(axes.get_xlim()[1], 102))
            drawing.guess(axes, panel.rows["largest_class"], upright=True)
    return figure


def rules_of(cell: Cell, verdicts: pd.DataFrame, view: View) -> list[Rule]:
    """Return what the course advises in a cell, each with its verdict."""
    decided = verdicts.astype({"verdict": str}).set_index(["claim", "setting"])["verdict"].to_dict()
    return [
        (rule, decided.get((rule["claim"], rule["setting"]), "undecided"))
        for rule in view.rules
        if rule["setting"] in cell.settings and rule["architecture"] == cell.architecture
    ]


def title(cells: Sequence[Cell], rules: Sequence[list[Rule]]) -> str:
    """Say how many modes are not worse than the best, and how the course's rule fared."""
    if not cells:
        return f"Modes of use: {wording.ABSENT}"
    sizes = [int(cell.rows["not_worse"].sum()) for cell in cells]
    several = wording.counted(sum(size > 1 for size in sizes), len(cells), "cell")
    most = max(len(cell.rows) for cell in cells)
    said = f"More than one mode is not worse than the best in {several} ({wording.span(sizes)} of up to {most} modes)"
    given = [(cell, *rule) for cell, mine in zip(cells, rules, strict=True) for rule in mine]
    if given:
        held = sum(bool(advised(cell, rule)["not_worse"].any()) for cell, rule, _ in given)
        told = [verdict for *_, verdict in given]
        counts = ", ".join(f"{told.count(verdict)} {verdict}" for verdict in sorted(set(told)))
        said += f"; what the course advises is among them in {wording.counted(held, len(given), 'cell')}"
        said += f" it speaks of (claims: {counts})"
    return f"{said} ({wording.how_many(n for cell in cells for n in cell.rows['n'])})"


def advised(cell: Cell, rule: Mapping[str, Any]) -> pd.DataFrame:
    """Return the row that is what a rule advises; none where its family wasn't run, or validation chose another."""
    return cell.rows[(cell.rows["family"] == rule["family"]) & cell.rows["mode"].isin(rule["modes"])]


def _heading(cell: Cell, rules: Sequence[Rule], columns: int) -> str:
    """Return the lines above a panel: what goes where, from how many images, and what the course says of it."""
    said = [f"{cell.head}, {wording.shots_text(cell.shots)}"]
    for rule, verdict in rules:
        family = rule["family"]
        other = ", validation chose another" if (cell.rows["family"] == family).any() else ", not run"
        lacking = "" if len(advised(cell, rule)) else other
        said.append(f"{rule['quadrant']}: {WORDS.get(family, family)}{lacking} – {verdict}")
    return wording.wrapped("\n".join(said), max(108 // columns, 26))


def _draw_cell(axes: Axes, cell: Cell, families: Sequence[str], ringed: set[str]) -> set[int]:
    """Draw a dot with its interval for each family: full where it is not worse than the best."""
    rows = {str(row.iloc[0]["family"]): row for _, row in cell.rows.groupby("family", observed=True)}
    for place, family in enumerate(families):
        mine = rows.get(family, cell.rows[:0])
        if mine["mean"].isna().all():
            continue
        held = bool(mine["not_worse"].iloc[0])
        look = Look("", palette.MODES[family], "none", "o", palette.filled(held), size=4.5)
        mean, bars = 100 * mine["mean"].iloc[:1], drawing.errors(mine.iloc[:1], 100)
        alpha = 1.0 if held else 0.45
        axes.errorbar(mean, [place], xerr=bars, alpha=alpha, capsize=1.5, elinewidth=0.9, **look.style)
        if family in ringed:
            drawing.ring(axes, mean, [place])
    names = [str(rows[each]["mode"].iloc[0]) if each in rows and each != "scratch" else each for each in families]
    axes.set_ylim(len(families) - 0.4, -0.6)
    axes.set_yticks(range(len(families)), names)
    for family, label in zip(families, axes.get_yticklabels(), strict=True):
        label.set(fontweight="bold" if family in ringed else "normal", color="#000000" if family in rows else PALE)
    axes.grid(axis="x", linewidth=0.4, color="#E0E0E0")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    return set(cell.rows["n"])
