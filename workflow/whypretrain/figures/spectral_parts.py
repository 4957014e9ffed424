"""What main and residual part of the features are worth to a probe, along checkpoints (Deng et al. 2022)."""

import pandas as pd
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import FEATURES, Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "parts")

LOOKS = {
    "all": Look("all features", "#4D4D4D", "-", "o"),
    "main": Look("main part: 80 % of the spectrum", "#0072B2", "-", "s"),
    "residual": Look("residual part", "#D55E00", "--", "^", filled=False),
}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, and a column for each kind of features."""
    setting, rows = curve_drawing.checkpoints(curve_drawing.measured(tables["design"], tables["parts"], view), view)
    figure = drawing.new_figure(2.1 * len(view.depths) + 0.7, title(rows, view))
    grid = curve_drawing.panels(figure, view, len(FEATURES))
    counts: set[int] = set()
    for i, architecture in enumerate(view.architectures):
        for axes, (moment, images, words) in zip(grid[i], FEATURES, strict=True):
            curve_drawing.head(axes, [architecture, words], len(FEATURES))
            here = rows[(rows["architecture"] == architecture) & (rows["moment"] == moment)]
            here = here[here["images"] == images]
            if here.empty:
                drawing.say(axes)
                continue
            places = curve_drawing.places_of(here["at"])
            here = here.assign(place=here["at"].map(places))
            for (part, look), beside in zip(LOOKS.items(), curve_drawing.shifts(len(LOOKS), 0.16), strict=True):
                found = curve_drawing.means(here[here["part"] == part], "place", "top1_test")
                counts |= curve_drawing.curve(axes, found, "place", look, 100, beside)
            curve_drawing.epoch_axis(axes, list(places), len(FEATURES))
            drawing.within(axes, 0, 100)
        curve_drawing.level(grid[i])
    for axes in grid[:, 0]:
        axes.set_ylabel("probe's test top-1 (%)")
    for axes in grid[-1]:
        drawing.name_x(axes, "checkpoint: epoch", len(FEATURES))
    where = "" if setting is None else f"{setting.name} ({setting.label}); "
    told = f"{where}means over seeds with 95 % t-intervals; {drawing.how_many(counts)}"
    curve_drawing.legend(figure, LOOKS.values() if counts else [], told)
    return figure


def title(rows: pd.DataFrame, view: View) -> str:
    """Say what each part of the target's features is worth at the last checkpoint, before fine-tuning."""
    here = rows[(rows["moment"] == "start") & (rows["images"] == "target")]
    said = []
    for part, words in (("main", "the main part"), ("residual", "the residual"), ("all", "all features")):
        found = []
        for architecture in view.architectures:
            mine = here[(here["architecture"] == architecture) & (here["part"] == part)]
            mine = mine[mine["at"] == mine["at"].max()]
            if len(mine):
                found.append((architecture, mine["top1_test"].mean()))
        if found:
            said.append(f"{words} {curve_drawing.ranged(found, drawing.points, 'architectures')}")
    if not said:
        return f"Parts of the features along checkpoints: {drawing.ABSENT}"
    text = "A probe's test top-1 (%) on the last checkpoint's features of target images at the start"
    return f"{text}: {', '.join(said)}"
