"""How far target training moves each layer: relative L2 and kernel cosine of weights, CKA of activations."""

import pandas as pd
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import Course, Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "similarity")

MEASURES = (("relative_l2", "relative L2"), ("cosine_mean", "kernel cosine"), ("cka", "CKA"))


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, a column for each measure, and a curve for each arm."""
    rows = curve_drawing.measured(tables["design"], tables["similarity"], view)
    looks = curve_drawing.course_looks(curve_drawing.courses(rows, view))
    figure = drawing.new_figure(2.0 * len(view.depths) + 0.7, title(rows, looks, view))
    grid = curve_drawing.panels(figure, view, len(MEASURES))
    counts: set[int] = set()
    for i, architecture in enumerate(view.architectures):
        here = rows[rows["architecture"] == architecture]
        for axes, (measure, words) in zip(grid[i], MEASURES, strict=True):
            curve_drawing.head(axes, [architecture, words], len(MEASURES))
            drawn: set[int] = set()
            for (arm, look), beside in zip(looks.items(), curve_drawing.shifts(len(looks)), strict=True):
                found = curve_drawing.means(curve_drawing.of_course(here, arm), "layer", measure)
                drawn |= curve_drawing.curve(axes, found, "layer", look, shift=beside)
            if not drawn:
                drawing.say(axes)
                continue
            counts |= drawn
            curve_drawing.layer_axis(axes, 1, view.depths[architecture])
            if measure != "relative_l2":
                drawing.within(axes, -1, 1)
    for axes in grid[:, 0]:
        axes.set_ylabel("start against end")
    for axes in grid[-1]:
        drawing.name_x(axes, "layer", len(MEASURES))
    curve_drawing.legend(figure, looks.values(), f"means over seeds with 95 % t-intervals; {drawing.how_many(counts)}")
    return figure


def title(rows: pd.DataFrame, looks: dict[Course, Look], view: View) -> str:
    """Say in which arm the activations change most and in which least."""
    found = []
    for architecture in view.architectures:
        here = rows[rows["architecture"] == architecture]
        for arm, look in looks.items():
            mine = curve_drawing.of_course(here, arm)
            if len(mine):
                found.append((architecture, look.name, mine["cka"].mean()))
    if not found:
        return f"Similarity of start and end, layer by layer: {drawing.ABSENT}"
    return f"CKA of each layer between start and end, mean over layers: {curve_drawing.extremes(found)}"
