"""What freezing copied layers costs by co-adaptation, and by specificity (Yosinski et al. 2014)."""

import pandas as pd
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import Look
from whypretrain.figures.plotting.view import View

TABLES = ("transfer",)

LOOKS = {
    "co-adaptation": Look("co-adaptation: BnB minus base", "#0072B2", "-", "o"),
    "specificity": Look("specificity: AnB minus BnB", "#D55E00", "-", "s"),
}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns)."""
    rows = drawing.of_study(tables["transfer"], view).dropna(subset="mean")
    rows = rows[rows["quantity"].isin(list(LOOKS))]
    settings = curve_drawing.settings_in(rows, view)
    figure = drawing.new_figure(2.1 * len(view.depths) + 0.6, title(rows, view))
    grid = curve_drawing.panels(figure, view, len(settings))
    shown: dict[str, Look] = {}
    counts: set[int] = set()
    for axes, here, architecture, _ in curve_drawing.filled(grid, rows, view, settings):
        axes.axhline(0, color="#767676", linewidth=0.8)
        for (name, look), beside in zip(LOOKS.items(), curve_drawing.shifts(len(LOOKS), 0.12), strict=True):
            mine = here[here["quantity"] == name].sort_values("layers")
            drawn = curve_drawing.curve(axes, mine, "layers", look, 100, beside)
            counts |= drawn
            shown |= {name: look} if drawn else {}
        curve_drawing.layer_axis(axes, 1, view.depths[architecture])
    for row in grid:
        curve_drawing.level(row)
    for axes in grid[:, 0]:
        axes.set_ylabel("points of test top-1")
    for axes in grid[-1]:
        drawing.name_x(axes, "layers copied and frozen, n", len(settings))
    told = f"paired differences, means over seeds with 95 % t-intervals; {drawing.how_many(counts)}"
    curve_drawing.legend(figure, [look for name, look in LOOKS.items() if name in shown], told)
    return figure


def title(rows: pd.DataFrame, view: View) -> str:
    """Say how large both are where the most layers are copied."""
    said = []
    for quantity in LOOKS:
        found = [(f"{place}, n = {n}", mean) for place, n, mean in curve_drawing.at_most(rows, quantity, view)]
        if found:
            said.append(f"{quantity} is {curve_drawing.ranged(found, curve_drawing.signed)}")
    if not said:
        return f"Co-adaptation and specificity: {drawing.ABSENT}"
    counts = rows.loc[rows["quantity"].isin(list(LOOKS)), "n"]
    text = f"With the most layers copied and frozen, {drawing.listed(said)} points of test top-1"
    return f"{text} ({drawing.how_many(counts)})"
