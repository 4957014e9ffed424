"""Test accuracy against the number of top layers whose kernels are shuffled."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.evidence.statistics import interval
from whypretrain.figures.plotting import drawing
from whypretrain.figures.plotting.view import View

TABLES = ("design", "runs")


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns)."""
    design = drawing.of_study(tables["design"], view)
    runs = drawing.of_runs(design[design["selected"]], tables["runs"])
    settings = drawing.settings_of(runs, view)
    panels = {
        (architecture, setting): drawing.in_panel(runs, view, architecture, setting)
        for architecture in view.architectures
        for setting in settings
    }
    effects = [
        (
            f"{architecture}, {setting.name}",
            drawing.difference(drawing.treated(rows, drawing.SHUFFLE), drawing.treated(rows, "intact")),
        )
        for (architecture, setting), rows in panels.items()
    ]
    figure = drawing.new_figure(2.2 * len(view.depths) + 0.6, drawing.cost_sentence("Shuffling all kernels", effects))
    grid = figure.subplots(len(view.depths), max(len(settings), 1), squeeze=False)
    shown: drawing.Entries = {}
    counts: set[int] = set()
    for i, architecture in enumerate(view.architectures):
        for axes, setting in zip(grid[i], settings, strict=False):
            drawing.name_panel(axes, architecture, setting, len(settings))
            rows = panels[architecture, setting]
            if rows.empty:
                drawing.say(axes)
                continue
            _draw_panel(axes, rows, view, view.depths[architecture], shown, counts)
            drawing.within(axes, 0, 100)
        if not settings:
            drawing.say(grid[i][0])
    for axes in grid[:, 0]:
        axes.set_ylabel("test top-1 (%)")
    for axes in grid[-1]:
        drawing.name_x(axes, "top layers with shuffled kernels", len(settings))
    title = f"means with 95 % t-intervals, thin: seeds; {drawing.how_many(counts)}"
    drawing.legend(figure, shown, title)
    return figure


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, view: View, depth: int, shown: drawing.Entries, counts: set[int]
) -> None:
    for arm in drawing.main_arms(rows, view):
        if arm.name == drawing.SHUFFLED:
            continue
        found = interval(arm.rows["top1_test"])
        low, high = drawing.limits(found)
        if found.n > 1:
            axes.axhspan(100 * low, 100 * high, color=arm.shade, alpha=0.15, linewidth=0)
        axes.axhline(100 * found.mean, color=arm.shade, linestyle=arm.style, linewidth=1)
        shown.setdefault(arm.name, arm.entry)
        counts.add(found.n)
    ladder = rows[(rows["source"] != drawing.UNTRAINED) & rows["treatment"].isin(["intact", drawing.SHUFFLE])]
    layers = [
        drawing.top_layers(str(t), str(s), depth) for t, s in zip(ladder["treatment"], ladder["span"], strict=True)
    ]
    ladder = ladder.assign(layers=layers).dropna(subset="layers")
    shade = drawing.colour(drawing.SHUFFLE)
    for _, seed in ladder.groupby("seed"):
        line = seed.sort_values("layers")
        axes.plot(
            line["layers"],
            100 * line["top1_test"],
            color=shade,
            alpha=0.35,
            linewidth=0.6,
            marker=".",
            markersize=2.5,
        )
    if ladder.empty:
        return
    means = drawing.estimates(ladder, "layers", "top1_test")
    counts.update(means["n"])
    axes.errorbar(
        means["layers"],
        100 * means["mean"],
        yerr=drawing.errors(means, 100),
        color=shade,
        marker="o",
        markersize=4,
        capsize=2,
    )
    shown.setdefault("shuffled", ("kernels shuffled", shade, "-"))
    axes.set_xlim(-0.4, depth + 0.4)
    axes.set_xticks(range(depth + 1))
