"""How alike two networks are, layer by layer: CKA of their activations."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.view import View

TABLES = ("pairs",)
COLUMNS = 2  # panels side by side


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture, and a curve for each pair."""
    looks = {name: palette.numbered(number, name) for number, name in enumerate(view.pairs)}
    rows = tables["pairs"][tables["pairs"]["pair"].isin(list(looks))]

    def paint(axes: Axes, panel: Panel) -> set[int]:
        drawing.layer_axis(axes, 1, view.depths[panel.architecture])
        return drawing.curves(axes, panel.rows, "layer", looks, "pair", y="cka", width=0.2)

    return drawing.draw_panels(
        title(rows, view),
        drawing.in_lines(
            [Panel(name, rows[rows["architecture"] == name], name) for name in view.architectures], COLUMNS
        ),
        paint,
        x="layer",
        y="CKA",
        bounds=(-1, 1),
        looks=looks.values() if rows["cka"].notna().any() else (),
        absent="no such pair in this study",
        undefined="CKA is undefined",
    )


def title(rows: pd.DataFrame, view: View) -> str:
    """Say which pair is least alike, and which most."""
    means = rows.astype({"architecture": str, "pair": str}).groupby(["architecture", "pair"])["cka"].mean()
    found = [(a, pair, means[a, pair]) for a in view.architectures for pair in view.pairs if (a, pair) in means]
    if not found:
        return "CKA of pairs of networks: no pair in this study"
    return f"CKA of two networks, mean over layers: {wording.extremes(found)}"
