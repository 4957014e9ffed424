"""How alike two networks are, layer by layer: CKA of their activations."""

import pandas as pd
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import Look
from whypretrain.figures.plotting.view import View

TABLES = ("pairs",)

COLUMNS = 2  # panels side by side


def pair_looks(view: View) -> dict[str, Look]:
    """Return how each of the study's pairs is drawn."""
    shades, markers, styles = curve_drawing.SHADES, curve_drawing.MARKERS, curve_drawing.STYLES
    return {
        name: Look(
            name,
            shades[number % len(shades)],
            styles[number // len(shades) % len(styles)],
            markers[number % len(markers)],
        )
        for number, name in enumerate(view.pairs)
    }


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture, and a curve for each pair."""
    looks = pair_looks(view)
    rows = tables["pairs"][tables["pairs"]["pair"].isin(list(looks))]
    columns = min(max(len(view.depths), 1), COLUMNS)
    lines = -(-len(view.depths) // columns)
    figure = drawing.new_figure(2.2 * lines + 0.7, title(rows, view))
    grid = figure.subplots(lines, columns, squeeze=False)
    counts: set[int] = set()
    for axes in grid.flat[len(view.depths) :]:
        axes.set_axis_off()
    for number, (axes, architecture) in enumerate(zip(grid.flat, view.architectures, strict=False)):
        curve_drawing.head(axes, [architecture], columns)
        here = rows[rows["architecture"] == architecture]
        drawn: set[int] = set()
        for (name, look), beside in zip(looks.items(), curve_drawing.shifts(len(looks), 0.2), strict=True):
            found = curve_drawing.means(here[here["pair"] == name], "layer", "cka")
            drawn |= curve_drawing.curve(axes, found, "layer", look, shift=beside)
        if not drawn:
            drawing.say(axes, "no such pair in this study" if here.empty else "CKA is undefined")
            continue
        counts |= drawn
        curve_drawing.layer_axis(axes, 1, view.depths[architecture])
        drawing.within(axes, -1, 1)
        if number % columns == 0:
            axes.set_ylabel("CKA")
        if number + columns >= len(view.depths):
            axes.set_xlabel("layer")
    for row in grid:
        curve_drawing.level(row)
    told = f"means over seeds with 95 % t-intervals; {drawing.how_many(counts)}"
    curve_drawing.legend(figure, looks.values() if counts else [], told)
    return figure


def title(rows: pd.DataFrame, view: View) -> str:
    """Say which pair is least alike, and which most."""
    found = []
    for architecture in view.architectures:
        for name in view.pairs:
            mine = rows[(rows["architecture"] == architecture) & (rows["pair"] == name)]
            if len(mine):
                found.append((architecture, name, mine["cka"].mean()))
    if not found:
        return "CKA of pairs of networks: no pair in this study"
    return f"CKA of two networks, mean over layers: {curve_drawing.extremes(found)}"
