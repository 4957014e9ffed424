"""What freezing copied layers costs by co-adaptation, and by specificity (Yosinski et al. 2014)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("transfer",)
LOOKS = {
    "co-adaptation": Look("co-adaptation: BnB minus base", "#0072B2", "-", "o"),
    "specificity": Look("specificity: AnB minus BnB", "#D55E00", "-", "s"),
}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns)."""
    rows = choice.of_study(tables["transfer"], view).dropna(subset="mean")
    rows = rows[rows["quantity"].isin(list(LOOKS))]

    def paint(axes: Axes, panel: Panel) -> set[int]:
        drawing.layer_axis(axes, 1, view.depths[panel.architecture])
        return drawing.curves(axes, panel.rows, "layers", LOOKS, "quantity", scale=100, width=0.12)

    return drawing.draw_panels(
        title(rows, view),
        drawing.by_setting(rows, view),
        paint,
        x="layers copied and frozen, n",
        y="points of test top-1",
        zero=True,
        looks=[look for name, look in LOOKS.items() if (rows["quantity"] == name).any()],
        told=f"paired differences, {drawing.MEANS}",
    )


def title(rows: pd.DataFrame, view: View) -> str:
    """Say how large both are where the most layers are copied."""
    found = {quantity: choice.at_most(rows, quantity, view) for quantity in LOOKS}
    said = [
        f"{quantity} is {wording.ranged(known.values(), wording.gain)}" for quantity, known in found.items() if known
    ]
    if not said:
        return f"Co-adaptation and specificity: {wording.ABSENT}"
    counts = wording.how_many(rows.loc[rows["quantity"].isin(list(LOOKS)), "n"])
    return f"With the most layers copied and frozen, {wording.listed(said)} points of test top-1 ({counts})"
