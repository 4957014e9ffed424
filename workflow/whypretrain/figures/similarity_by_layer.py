"""How far target training moves each layer: relative L2 and kernel cosine of weights, CKA of activations."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.view import View

TABLES = ("design", "similarity")
MEASURES = {"relative_l2": "relative L2", "cosine_mean": "kernel cosine", "cka": "CKA"}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, a column for each measure, and a curve for each arm."""
    rows, looks = choice.by_course(choice.measured(tables["design"], tables["similarity"], view), view)

    def paint(axes: Axes, panel: Panel) -> set[int]:
        counts = drawing.curves(axes, panel.rows, "layer", looks, "arm", y=panel.of)
        drawing.layer_axis(axes, 1, view.depths[panel.architecture])
        if panel.of != "relative_l2":
            drawing.within(axes, -1, 1)
        return counts

    return drawing.draw_panels(
        title(rows, list(looks), view),
        [
            [Panel(f"{name}, {words}", rows[rows["architecture"] == name], name, m) for m, words in MEASURES.items()]
            for name in view.architectures
        ],
        paint,
        x="layer",
        y="start against end",
        height=2.0,
        level=None,
        looks=looks.values(),
    )


def title(rows: pd.DataFrame, looks: list[str], view: View) -> str:
    """Say in which arm the activations change most and in which least."""
    means = rows.astype({"architecture": str}).groupby(["architecture", "arm"])["cka"].mean().to_dict()
    found = [(a, arm, means[a, arm]) for a in view.architectures for arm in looks if (a, arm) in means]
    if not found:
        return f"Similarity of start and end, layer by layer: {wording.ABSENT}"
    return f"CKA of each layer between start and end, mean over layers: {wording.extremes(found)}"
