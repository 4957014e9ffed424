"""Training and test loss against the number of top layers whose kernels are shuffled: a dose and its response."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from whypretrain.evidence.statistics import Interval, interval, slope
from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "runs")

MEASURES = {"training loss": "loss_train", "test loss": "loss_test"}
SHADES = curve_drawing.SHADES[3:]  # the first ones are those of intact and shuffled networks


def doses(runs: pd.DataFrame, view: View, architecture: str, setting: drawing.Setting) -> pd.DataFrame:
    """Return the runs of an architecture and setting that have a dose, the number of shuffled top `layers`.

    Only seeds that the intact network has, which is dose 0; nothing where it or all shuffled ones are lacking.
    """
    rows = drawing.in_panel(runs, view, architecture, setting)
    rows = rows[(rows["source"] != drawing.UNTRAINED) & rows["treatment"].isin(["intact", drawing.SHUFFLE])]
    depth = view.depths[architecture]
    layers = [drawing.top_layers(str(t), str(s), depth) for t, s in zip(rows["treatment"], rows["span"], strict=True)]
    rows = rows.assign(layers=layers).dropna(subset="layers")
    rows = rows[rows["seed"].isin(rows.loc[rows["layers"] == 0, "seed"])]
    return rows if rows["layers"].nunique() > 1 else rows[:0]


def responses(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the paired difference to intact at each dose: `layers`, mean, low, high and n; exactly 0 at 0."""
    intact = rows[rows["layers"] == 0]
    found = []
    for layers, dose in rows.groupby("layers"):
        effect = drawing.difference(dose, intact, measure)
        low, high = drawing.limits(effect) if layers else (0.0, 0.0)
        found.append((layers, effect.mean, low, high, effect.n))
    return pd.DataFrame(found, columns=["layers", "mean", "low", "high", "n"])


def slopes(rows: pd.DataFrame, measure: str) -> Interval:
    """Return the mean over seeds of each seed's slope of a loss on the dose, of seeds with two doses or more."""
    seeds = [seed for _, seed in rows.groupby("seed") if seed["layers"].nunique() > 1]
    return interval([slope(seed["layers"], seed[measure]) for seed in seeds])


def looks_of(settings: Sequence[drawing.Setting]) -> dict[str, Look]:
    """Return how each setting's curve is drawn."""
    markers, styles = curve_drawing.MARKERS, curve_drawing.STYLES
    return {
        setting.name: Look(
            f"{setting.name}: {setting.label}",
            SHADES[number % len(SHADES)],
            styles[number // len(SHADES) % len(styles)],
            markers[number % len(markers)],
        )
        for number, setting in enumerate(settings)
    }


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, a column for each loss, and a curve for each setting."""
    design = drawing.of_study(tables["design"], view)
    runs = drawing.of_runs(design[design["selected"]], tables["runs"])
    settings = drawing.settings_of(runs, view)
    found = {
        (architecture, setting.name): rows
        for architecture in view.architectures
        for setting in settings
        if len(rows := doses(runs, view, architecture, setting))
    }
    curves = pd.concat(
        [pd.DataFrame(columns=["architecture", "setting", "name"])]  # one without any rows has its columns as well
        + [
            responses(rows, measure).assign(architecture=architecture, setting=loss, name=name)
            for (architecture, name), rows in found.items()
            for loss, measure in MEASURES.items()
        ]
    )
    figure = drawing.new_figure(2.1 * len(view.depths) + 0.6, title(found))
    grid = curve_drawing.panels(figure, view, len(MEASURES))
    looks = looks_of(settings)
    shown: dict[str, Look] = {}
    counts: set[int] = set()
    for axes, here, architecture, _ in curve_drawing.filled(grid, curves, view, list(MEASURES)):
        axes.axhline(0, color="#767676", linewidth=0.8)
        for (name, look), beside in zip(looks.items(), curve_drawing.shifts(len(looks), 0.2), strict=True):
            drawn = curve_drawing.curve(axes, here[here["name"] == name], "layers", look, shift=beside)
            counts |= drawn
            shown |= {name: look} if drawn else {}
        curve_drawing.layer_axis(axes, 0, view.depths[architecture])
    for axes in grid[:, 0]:
        axes.set_ylabel("loss minus intact's (nats)")
    for axes in grid[-1]:
        drawing.name_x(axes, "top layers with shuffled kernels, k", len(MEASURES))
    told = f"paired differences to intact, means over seeds with 95 % t-intervals; {drawing.how_many(counts)}"
    curve_drawing.legend(figure, [look for name, look in looks.items() if name in shown], told)
    return figure


def title(found: dict[tuple[str, str], pd.DataFrame]) -> str:
    """Say how steep each loss is in the dose; of more than two curves, from which slope to which."""
    if not found:
        return f"Training and test loss with kernels shuffled: {drawing.ABSENT}"
    said = []
    for loss, measure in MEASURES.items():
        known = [(f"{architecture}, {name}", slopes(rows, measure)) for (architecture, name), rows in found.items()]
        parts = [f"{_nats(steep.mean)}{_between(steep)} ({place})" for place, steep in known]
        ranged = curve_drawing.ranged([(place, steep.mean) for place, steep in known], _nats, "curves")
        said.append(f"{loss} {ranged if len(known) > curve_drawing.NAMED else drawing.listed(parts)}")
    counts = drawing.how_many(slopes(rows, "loss_test").n for rows in found.values())
    return f"Slope in the number of top layers shuffled, nats a layer: {'; '.join(said)} ({counts})"


def _nats(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−") if np.isfinite(value) else "undefined"


def _between(found: Interval) -> str:
    low, high = drawing.limits(found)
    return f" [{_nats(low)}, {_nats(high)}]" if np.isfinite(low) else ""
