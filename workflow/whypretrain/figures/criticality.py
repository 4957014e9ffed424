"""What a trained network loses when one layer is put back to its start or to its initialisation."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.view import View

TABLES = ("design", "criticality")
PUT_BACK = {"start": "to the start", "initialisation": "to the initialisation"}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, a column for what layers are put back to, and a curve for each arm."""
    rows, looks = choice.by_course(choice.measured(tables["design"], tables["criticality"], view), view)

    def paint(axes: Axes, panel: Panel) -> set[int]:
        drawing.layer_axis(axes, 1, view.depths[panel.architecture])
        return drawing.curves(axes, panel.rows, "layer", looks, "arm", y="top1_lost", scale=100)

    return drawing.draw_panels(
        title(rows, view),
        drawing.panels_of(rows, view, "put_back", {name: f"put back {words}" for name, words in PUT_BACK.items()}),
        paint,
        x="layer",
        y="loss of test top-1 (points)",
        level=None,
        zero=True,
        looks=looks.values(),
    )


def title(rows: pd.DataFrame, view: View) -> str:
    """Say what the layer costs whose putting back costs an arm that is drawn most."""
    keys = ["architecture", "put_back", "arm", "layer"]
    losses = rows.astype(dict.fromkeys(keys[:3], str)).groupby(keys)["top1_lost"].mean().dropna().reset_index()
    most = losses.sort_values("top1_lost", ascending=False, kind="stable").drop_duplicates(keys[:2])
    said = []
    for put_back, words in PUT_BACK.items():
        mine = most[most["put_back"] == put_back].set_index("architecture").reindex(view.architectures).dropna()
        found = [
            (f"layer {layer:g}, {name}", lost)
            for name, layer, lost in zip(mine.index, mine["layer"], mine["top1_lost"], strict=True)
        ]
        if found:
            said.append(f"{words} {wording.ranged(found, wording.points, 'architectures')}")
    if not said:
        return f"Criticality of layers: {wording.ABSENT}"
    return f"One layer put back costs at most, in points of test top-1: {'; '.join(said)}"
