"""What main and residual part of the features are worth to a probe, along checkpoints (Deng et al. 2022)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "parts")
LOOKS = {
    "all": Look("all features", "#4D4D4D", "-", "o"),
    "main": Look("main part: 80 % of the spectrum", "#0072B2", "-", "s"),
    "residual": Look("residual part", "#D55E00", "--", "^", "none"),
}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, and a column for each kind of features."""
    where, rows = choice.checkpoints(choice.measured(tables["design"], tables["parts"], view), view)
    rows = rows.assign(features=rows["moment"].astype(str) + " " + rows["images"].astype(str))

    def paint(axes: Axes, panel: Panel) -> set[int]:
        here = panel.rows.assign(
            place=panel.rows["at"].map(drawing.epoch_axis(axes, panel.rows["at"], len(choice.FEATURES)))
        )
        return drawing.curves(axes, here, "place", LOOKS, "part", y="top1_test", scale=100, width=0.16)

    return drawing.draw_panels(
        title(rows, view),
        drawing.panels_of(rows, view, "features", choice.FEATURES),
        paint,
        x="checkpoint: epoch",
        y="probe's test top-1 (%)",
        bounds=(0, 100),
        looks=LOOKS.values() if len(rows) else (),
        told=f"{where}{drawing.MEANS}",
    )


def title(rows: pd.DataFrame, view: View) -> str:
    """Say what each part of the target's features is worth at the last checkpoint, before fine-tuning."""
    here = rows[rows["features"] == "start target"].astype({"architecture": str})
    said = []
    for part, words in (("main", "the main part"), ("residual", "the residual"), ("all", "all features")):
        mine = here[here["part"] == part]
        last = mine[mine["at"] == mine.groupby("architecture")["at"].transform("max")]
        means = last.groupby("architecture")["top1_test"].mean().to_dict()
        found = [(name, means[name]) for name in view.architectures if name in means]
        said += [f"{words} {wording.ranged(found, wording.points, 'architectures')}"] if found else []
    if not said:
        return f"Parts of the features along checkpoints: {wording.ABSENT}"
    text = "A probe's test top-1 (%) on the last checkpoint's features of target images at the start"
    return f"{text}: {', '.join(said)}"
