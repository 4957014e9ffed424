"""The sources along pre-training: test accuracy of raw checkpoints and of annealed branches."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import drawing
from whypretrain.figures.plotting.view import View

TABLES = ("sources", "arms")

# raw and annealed of the first source, of the second, and so on
SHADES = (("#0072B2", "#E69F00"), ("#2C325F", "#D55E00"), ("#6275FF", "#682C00"), ("#22C4EC", "#FFC20A"))


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture."""
    arms = drawing.of_study(tables["arms"], view)
    used = arms.loc[arms["source"] != drawing.UNTRAINED, ["architecture", "source"]].drop_duplicates()
    sources = used.merge(tables["sources"], on=["architecture", "source"])
    # other objectives have no accuracy, or chance; test images are read at checkpoints
    sources = sources[sources["objective"] == "labels"].dropna(subset=["top1_test"])
    columns = min(max(len(view.depths), 1), 3)
    lines = -(-len(view.depths) // columns)
    figure = drawing.new_figure(2.1 * lines + 0.6, title(sources, view))
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    shown: drawing.Entries = {}
    counts: set[int] = set()
    for axes in grid.flat[len(view.depths) :]:
        axes.set_axis_off()
    for axes, architecture in zip(grid.flat, view.architectures, strict=False):
        axes.set_title(architecture, loc="left")
        rows = sources[sources["architecture"] == architecture]
        if rows.empty:
            drawing.say(axes, "no source of this architecture in this study")
            continue
        _draw_panel(axes, rows, shown, counts)
        drawing.within(axes, 0, 100)
        axes.set_xlabel("epoch of pre-training")
    for axes in grid[:, 0]:
        axes.set_ylabel("source's test top-1 (%)")
    drawing.legend(figure, shown, f"means over seeds with 95 % t-intervals; {drawing.how_many(counts)}")
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, shown: drawing.Entries, counts: set[int]) -> None:
    names = sorted(map(str, rows["source"].unique()))
    for number, name in enumerate(names):
        raw, annealed = SHADES[number % len(SHADES)]
        mine = rows[rows["source"] == name]
        found = drawing.estimates(mine[~mine["annealed"]], "epoch", "top1_test")
        drawing.band(axes, found, "epoch", raw, scale=100)
        axes.plot(found["epoch"], 100 * found["mean"], color=raw, marker=".", linestyle="none")
        shown[f"{name} raw"] = (f"{name}, raw", raw, "-")
        counts.update(found["n"])
        found = drawing.estimates(mine[mine["annealed"]], "epoch", "top1_test")
        if len(found):
            axes.errorbar(
                found["epoch"],
                100 * found["mean"],
                yerr=drawing.errors(found, 100),
                color=annealed,
                marker="D",
                markersize=4,
                capsize=2,
                linestyle=":",
            )
            shown[f"{name} annealed"] = (f"{name}, annealed from there", annealed, ":")
            counts.update(found["n"])


def title(sources: pd.DataFrame, view: View) -> str:
    """Say where the sources end, and what annealing adds."""
    said = []
    for architecture in view.architectures:
        rows = sources[sources["architecture"] == architecture]
        for name in sorted(map(str, rows["source"].unique())):
            mine = rows[rows["source"] == name]
            place = architecture if rows["source"].nunique() == 1 else f"{architecture}, {name}"
            raw, annealed = (
                each[each["epoch"] == each["epoch"].max()] for each in (mine[~mine["annealed"]], mine[mine["annealed"]])
            )
            if len(annealed):
                gain = drawing.difference(annealed, raw) if len(raw) else None
                text = f"{drawing.points(annealed['top1_test'].mean())} % ({place}"
                text += f"; annealing: {drawing.points(gain.mean, signed=True)})" if gain and gain.n else ")"
                said.append(text)
            elif len(raw):
                said.append(f"{drawing.points(raw['top1_test'].mean())} % ({place}, not annealed)")
    if not said:
        return "Pre-training: no source in this study"
    seeds = sources.groupby(["architecture", "source"], observed=True)["seed"].nunique()
    return f"Sources end at {drawing.listed(said)} test top-1 ({drawing.how_many(seeds)})"
