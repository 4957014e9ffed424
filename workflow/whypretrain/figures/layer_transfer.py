"""Test accuracy against the number of layers copied (Yosinski et al. 2014)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("transfer",)
CURVES = (
    Look("BnB", "#0072B2", "-", "o"),
    Look("AnB", "#D55E00", "-", "s"),
    Look("BnB+", "#22C4EC", "--", "D", "none"),
    Look("AnB+", "#FFC20A", "--", "^", "none"),
    Look("random", "#4B0092", ":", "v"),
)
BASE = Look("base", "#4D4D4D", "-", "P")
SOURCE = Look("source", "#618253", "--", "", width=0.8)
OTHER_BASES = ("#938089", "#682C00", "#BAA18B", "#2C325F")  # from scratch by other recipes


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns)."""
    rows = choice.of_study(tables["transfer"], view).dropna(subset="mean")
    looks = looks_of(rows)
    rows = rows[rows["quantity"].isin(list(looks))]

    def paint(axes: Axes, panel: Panel) -> set[int]:
        for name, look in looks.items():
            mine = panel.rows[panel.rows["quantity"] == name]
            if look not in CURVES:
                mine = mine if look is BASE else mine.assign(low=float("nan"))  # a band for the base alone
                for found in mine[["mean", "low", "high"]].to_numpy(float):
                    drawing.across(axes, found, look._replace(width=0.8), 100)
        drawing.curve(axes, panel.rows[panel.rows["quantity"] == "base"], "layers", BASE, 100)
        drawing.curves(axes, panel.rows, "layers", {look.name: look for look in CURVES}, "quantity", scale=100)
        drawing.layer_axis(axes, 0, view.depths[panel.architecture])
        return set(panel.rows["n"])

    return drawing.draw_panels(
        title(rows, view),
        drawing.by_setting(rows, view),
        paint,
        x="layers copied, n",
        y="test top-1 (%)",
        height=2.4,
        bounds=(0, 100),
        looks=[look for name, look in looks.items() if (rows["quantity"] == name).any()],
    )


def looks_of(rows: pd.DataFrame) -> dict[str, Look]:
    """Return how each quantity is drawn, in the order of the legend."""
    others = sorted({str(name) for name in rows["quantity"].unique() if str(name).startswith("base ")})
    bases = [Look(name, OTHER_BASES[n % len(OTHER_BASES)], ":", "", width=1.0) for n, name in enumerate(others)]
    return {look.name: look for look in (*CURVES, BASE, SOURCE, *bases)}


def title(rows: pd.DataFrame, view: View) -> str:
    """Say how far AnB and AnB+ are from base where the most layers are copied."""
    base = choice.at_most(rows, "base", view)
    said: list[str] = []
    counts: set[int] = set()
    for quantity, how in (("AnB", "frozen (AnB)"), ("AnB+", "trained on (AnB+)")):
        most = choice.at_most(rows, quantity, view)
        found = [(words, mean - base[place][1]) for place, (words, mean) in most.items() if place in base]
        if found:
            said.append(f"{how} {wording.ranged(found, wording.gain)}")
            counts.update(rows.loc[rows["quantity"] == quantity, "n"])
    if not said:
        return f"Layers copied: {wording.ABSENT}"
    return (
        f"Test top-1 with the most layers copied, minus base, in points: {', '.join(said)} ({wording.how_many(counts)})"
    )
