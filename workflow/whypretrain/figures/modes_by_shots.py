"""Test accuracy of each mode of use against the number of training images."""

from itertools import chain

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.cells import cells_of
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("modes", "starts")
COLUMNS = 3  # panels beside each other
MINUS = ("probe", "scratch")  # of these the first that there is is taken off fine-tuning in the title


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture and source, the nearest source first."""
    rows = points(choice.of_study(tables["modes"], view), tables["starts"], view)
    shots = wording.in_order(rows["shots"])
    rows = rows.assign(x=[float(shots.index(each)) for each in rows["shots"]])
    lines = drawing.in_lines([Panel(str(head), mine) for head, mine in rows.groupby("head", sort=False)], COLUMNS)
    looks = {
        family: Look(family, shade, "--" if family == "scratch" else "-", marker)
        for (family, shade), marker in zip(palette.MODES.items(), palette.MARKERS, strict=True)
        if (rows["family"] == family).any()
    }

    def paint(axes: Axes, panel: Panel) -> set[int]:
        axes.set_xticks(range(len(shots)), ["all" if each == wording.ALL else each for each in shots])
        axes.set_xlim(-0.5, len(shots) - 0.5)
        return drawing.curves(axes, panel.rows, "x", looks, "family", scale=100, width=0.36)

    figure = drawing.draw_panels(
        title(rows),
        lines,
        paint,
        x="training images per class",
        y="test top-1 (%)",
        height=2.3,
        bounds=(0, 100),
        looks=looks.values(),
        told=f"{drawing.MEANS}; {drawing.guessed(rows['largest_class'])}",
    )
    for axes, panel in zip(figure.axes, chain(*lines), strict=False):
        if len(panel.rows):
            drawing.guess(axes, panel.rows["largest_class"])
    return figure


def points(rows: pd.DataFrame, starts: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the rows of the study's cells in order: `head` is what goes where, `name` the same without a distance."""
    cells = cells_of(rows.dropna(subset="mean"), starts, view)
    known = [cell.rows.assign(head=cell.head, name=cell.name) for cell in cells]
    return pd.concat([rows[:0].assign(head="", name=""), *known]).astype({"shots": str, "family": str})


def title(rows: pd.DataFrame) -> str:
    """Say how far fine-tuning is from the probe at the fewest and at the most shots."""
    shots = wording.in_order(rows["shots"])
    for minus in MINUS:
        said = []
        for each in dict.fromkeys([*shots[:1], *shots[-1:]]):
            here = rows[rows["shots"] == each].drop_duplicates(["name", "family"])
            table = here.pivot(index="name", columns="family", values="mean").reindex(here["name"].unique())
            if {palette.MODE, minus} <= set(table):
                found = (table[palette.MODE] - table[minus]).dropna()
                told = wording.ranged(zip(found.index, found, strict=True), wording.gain)
                said.append(f"with {wording.shots_text(each)} {told}")
        if said:
            return (
                f"Fine-tuning minus {minus}, in points of test top-1: {', '.join(said)} ({wording.how_many(rows['n'])})"
            )
    return (
        f"Modes of use and training images: {wording.ABSENT if rows.empty else 'nothing to compare fine-tuning with'}"
    )
