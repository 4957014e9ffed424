"""The whole ladder of treatments on all layers, as a forest plot of differences to intact."""

from itertools import chain

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.evidence.statistics import Interval
from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("contrasts",)

# Arms of a part of the layers that belong to the ladder: Gabor filters exist in the first layer alone,
# and whole filters shuffled in the top layer are a relabelling of features under a new head.
PARTIAL = (("gabor", "bottom-1"), ("shuffle-filters", "top-1"))
CONTROLS = (("permute-channels", "all"), ("shuffle-filters", "top-1"))
INTACT = ("intact", "all")

Rung = tuple[str, str]  # treatment and span


def rung(row: Rung) -> tuple[float, bool, str, str]:
    """Order rows as the ladder has them, the control on a part of the layers before all of them."""
    treatment, span = row
    return palette.rung(treatment), span == "all", treatment, span


def effects_of(panel: Panel) -> dict[Rung, Interval]:
    """Return the difference to intact of each treatment and span of the ladder, and of `scratch`."""
    rows = panel.rows
    found = {}
    for row in rows[(rows["measure"] == "top1_test") & (rows["source"] != choice.UNTRAINED)].to_dict("records"):
        name = (str(row["treatment"]), str(row["span"]))
        mean, low, high, n = (float(row["effect"]), float(row["low"]), float(row["high"]), int(row["n"]))
        to_intact = row["minus_source"] == panel.of.source and row["minus_treatment"] == "intact"
        if to_intact and (name[1] == "all" or name in PARTIAL):
            found[name] = Interval(mean, low, high, n, float("nan"))
        elif name == INTACT and row["minus_source"] == choice.UNTRAINED:  # intact minus scratch, turned round
            found["scratch", "all"] = Interval(-mean, -high, -low, n, float("nan"))
    return found


def row_of(name: Rung, found: dict[Rung, Interval]) -> drawing.Dot:
    """Return how a rung of the ladder is drawn."""
    treatment, span = name
    words = treatment + (f", {span}" if span != "all" else "") + (" (control)" if name in CONTROLS else "")
    marker = "D" if name == INTACT else "s" if "+" in treatment else "o"
    look = Look("", palette.colour(treatment), "-", marker, palette.filled(name not in CONTROLS), 1.6, 4.5)
    effect = Interval(0, 0, 0, 0, 0) if name == INTACT else found.get(name, "no such arm")
    return drawing.Dot(words, effect, look)


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a block of rows for each architecture and a column for each setting."""
    lines = [
        [panel._replace(rows=effects_of(panel) if panel.of else {}) for panel in line]
        for line in drawing.setting_panels(choice.of_study(tables["contrasts"], view), view)
    ]
    names = [[INTACT, *sorted(set(chain(*(panel.rows for panel in line))), key=rung)] for line in lines]
    of = dict(zip(view.architectures, names, strict=True))

    def paint(axes: Axes, panel: Panel) -> set[int]:
        axes.axvline(0, color="#000000", linewidth=0.8)
        rows = [row_of(name, panel.rows) for name in of[panel.architecture]]
        return drawing.dots(axes, rows, 100, labelled=panel.of == lines[0][0].of) - {0}

    figure = drawing.draw_panels(
        title([panel for line in lines for panel in line]),
        lines,
        paint,
        height=[drawing.dots_height([""] * len(each)) + 4 * drawing.LINE for each in names],
        level=None,
        told="paired difference to intact, points of test top-1, with its 95 % t-interval; "
        "hollow: negative controls, expected at zero",
    )
    drawing.share(figure.axes, "x")
    return figure


def title(panels: list[Panel]) -> str:
    """Say what the first panel with the longest ladder shows."""
    panel = max(panels, key=lambda each: len(each.rows))
    if not panel.rows:
        return f"The ladder of treatments: {wording.ABSENT}"
    place, found = f"{panel.architecture}, {panel.of.name}", panel.rows
    said = []
    for treatment, phrase in (
        ("shuffle-kernels", "with kernels shuffled"),
        ("shuffle-weights", "with all weights shuffled"),
        ("scratch", "without pre-training"),
    ):
        if effect := found.get((treatment, "all")):
            unclear = "" if effect.low > 0 or effect.high < 0 else " (interval includes 0)"
            said.append(f"{wording.gain(effect.mean)} {phrase}{unclear}")
    if not said:
        return f"Differences to intact of {len(found)} treatments ({place})"
    counts = wording.how_many(effect.n for effect in found.values())
    return f"Points of test top-1 against intact: {wording.listed(said)} ({place}; {counts})"
