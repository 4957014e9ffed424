"""What a trained network loses when one layer is put back to its start or to its initialisation."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import Course, Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "criticality")

PUT_BACK = (("start", "put back to the start"), ("initialisation", "put back to the initialisation"))


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, a column for what layers are put back to, and a curve for each arm."""
    rows = curve_drawing.measured(tables["design"], tables["criticality"], view)
    looks = curve_drawing.course_looks(curve_drawing.courses(rows, view))
    figure = drawing.new_figure(2.1 * len(view.depths) + 0.7, title(rows, looks, view))
    grid = curve_drawing.panels(figure, view, len(PUT_BACK))
    counts: set[int] = set()
    for i, architecture in enumerate(view.architectures):
        for axes, (put_back, words) in zip(grid[i], PUT_BACK, strict=True):
            curve_drawing.head(axes, [architecture, words], len(PUT_BACK))
            here = rows[(rows["architecture"] == architecture) & (rows["put_back"] == put_back)]
            if here["top1_lost"].isna().all():
                drawing.say(axes)
                continue
            axes.axhline(0, color="#767676", linewidth=0.8)
            for (arm, look), beside in zip(looks.items(), curve_drawing.shifts(len(looks)), strict=True):
                found = curve_drawing.means(curve_drawing.of_course(here, arm), "layer", "top1_lost")
                counts |= curve_drawing.curve(axes, found, "layer", look, 100, beside)
            curve_drawing.layer_axis(axes, 1, view.depths[architecture])
    for axes in grid[:, 0]:
        axes.set_ylabel("loss of test top-1 (points)")
    for axes in grid[-1]:
        drawing.name_x(axes, "layer", len(PUT_BACK))
    curve_drawing.legend(figure, looks.values(), f"means over seeds with 95 % t-intervals; {drawing.how_many(counts)}")
    return figure


def most_critical(
    rows: pd.DataFrame, looks: dict[Course, Look], architecture: str, put_back: str
) -> tuple[int, float] | None:
    """Return the layer and the mean loss where putting one layer back costs an arm that is drawn most, or None."""
    here = rows[(rows["architecture"] == architecture) & (rows["put_back"] == put_back)]
    best: tuple[int, float] | None = None
    for arm in looks:
        found = curve_drawing.of_course(here, arm).groupby("layer")["top1_lost"].mean().dropna()
        if len(found) and (best is None or found.max() > best[1]):
            best = (int(np.asarray(found.index)[found.to_numpy().argmax()]), float(found.max()))
    return best


def title(rows: pd.DataFrame, looks: dict[Course, Look], view: View) -> str:
    """Say what the most critical layer costs."""
    said = []
    for put_back, words in (("start", "to the start"), ("initialisation", "to the initialisation")):
        found = []
        for architecture in view.architectures:
            most = most_critical(rows, looks, architecture, put_back)
            if most is not None:
                layer, lost = most
                found.append((f"layer {layer}, {architecture}", lost))
        if found:
            said.append(f"{words} {curve_drawing.ranged(found, drawing.points, 'architectures')}")
    if not said:
        return f"Criticality of layers: {drawing.ABSENT}"
    return f"One layer put back costs at most, in points of test top-1: {'; '.join(said)}"
