"""Training and test loss against the number of top layers whose kernels are shuffled: a dose and its response."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.evidence.statistics import Interval, interval, slope
from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.view import View

TABLES = ("design", "runs")
MEASURES = {"training loss": "loss_train", "test loss": "loss_test"}


def doses(runs: pd.DataFrame, view: View, architecture: str, setting: choice.Setting) -> pd.DataFrame:
    """Return the runs of an architecture and setting that have a dose, the number of shuffled top `layers`.

    Only seeds that the intact network has, which is dose 0; nothing where it or all shuffled ones are lacking.
    """
    rows = choice.shuffled(choice.in_panel(runs, view, architecture, setting), view.depths[architecture])
    rows = rows[rows["seed"].isin(rows.loc[rows["layers"] == 0, "seed"])]
    return rows if rows["layers"].nunique() > 1 else rows[:0]


def responses(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the paired difference to intact at each dose: `layers`, mean, low, high and n; exactly 0 at 0."""
    intact = rows[rows["layers"] == 0]
    found = [
        (layers, *choice.estimate(choice.difference(dose, intact, measure))) for layers, dose in rows.groupby("layers")
    ]
    table = pd.DataFrame(found, columns=["layers", "mean", "low", "high", "n"])
    table.loc[table["layers"] == 0, ["low", "high"]] = 0.0
    return table


def slopes(rows: pd.DataFrame, measure: str) -> Interval:
    """Return the mean over seeds of each seed's slope of a loss on the dose, of seeds with two doses or more."""
    seeds = [seed for _, seed in rows.groupby("seed") if seed["layers"].nunique() > 1]
    return interval([slope(seed["layers"], seed[measure]) for seed in seeds])


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, a column for each loss, and a curve for each setting."""
    runs = choice.selected_runs(tables["design"], tables["runs"], view)
    settings = choice.settings_of(runs, view)
    found = {
        (architecture, at.name): rows
        for architecture in view.architectures
        for at in settings
        if len(rows := doses(runs, view, architecture, at))
    }
    known = [
        responses(rows, measure).assign(architecture=architecture, loss=loss, name=name)
        for (architecture, name), rows in found.items()
        for loss, measure in MEASURES.items()
    ]
    # one without any rows has its columns as well
    table = pd.concat(known) if known else pd.DataFrame(columns=["architecture", "loss", "name"])
    # the first colours are those of intact and shuffled networks
    looks = {
        at.name: palette.numbered(n, f"{at.name}: {at.label}", palette.SHADES[3:]) for n, at in enumerate(settings)
    }

    def paint(axes: Axes, panel: Panel) -> set[int]:
        drawing.layer_axis(axes, 0, view.depths[panel.architecture])
        return drawing.curves(axes, panel.rows, "layers", looks, "name", width=0.2)

    return drawing.draw_panels(
        title(found),
        drawing.panels_of(table, view, "loss", {loss: loss for loss in MEASURES}),
        paint,
        x="top layers with shuffled kernels, k",
        y="loss minus intact's (nats)",
        level=None,
        zero=True,
        looks=[look for name, look in looks.items() if (table["name"] == name).any()],
        told=f"paired differences to intact, {drawing.MEANS}",
    )


def title(found: dict[tuple[str, str], pd.DataFrame]) -> str:
    """Say how steep each loss is in the dose; of more than two curves, from which slope to which."""
    if not found:
        return f"Training and test loss with kernels shuffled: {wording.ABSENT}"
    said = []
    for loss, measure in MEASURES.items():
        known = [(f"{architecture}, {name}", slopes(rows, measure)) for (architecture, name), rows in found.items()]
        parts = [f"{_nats(steep.mean)}{_between(steep)} ({place})" for place, steep in known]
        several = wording.ranged([(place, steep.mean) for place, steep in known], _nats, "curves")
        said.append(f"{loss} {several if len(known) > wording.NAMED else wording.listed(parts)}")
    counts = wording.how_many(slopes(rows, "loss_test").n for rows in found.values())
    return f"Slope in the number of top layers shuffled, nats a layer: {'; '.join(said)} ({counts})"


def _nats(value: float) -> str:
    return wording.plain(value, "+.3f")


def _between(found: Interval) -> str:
    low, high = choice.limits(found)
    return f" [{_nats(low)}, {_nats(high)}]" if np.isfinite(low) else ""
