"""The whole ladder of treatments on all layers, as a forest plot of differences to intact."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from whypretrain.evidence.statistics import Interval
from whypretrain.figures.plotting import drawing
from whypretrain.figures.plotting.view import View

TABLES = ("contrasts",)

# Arms of a part of the layers that belong to the ladder: Gabor filters exist in the first layer alone,
# and whole filters shuffled in the top layer are a relabelling of features under a new head.
PARTIAL = (("gabor", "bottom-1"), ("shuffle-filters", "top-1"))
CONTROLS = (("permute-channels", "all"), ("shuffle-filters", "top-1"))


def rung(row: tuple[str, str]) -> tuple[float, bool, str, str]:
    """Order rows as the ladder has them, the control on a part of the layers before all of them."""
    treatment, span = row
    return drawing.rung(treatment), span == "all", treatment, span


def words(row: tuple[str, str]) -> str:
    """Return a row's label."""
    treatment, span = row
    part = "" if span == "all" else f", {span}"
    return f"{treatment}{part}{' (control)' if row in CONTROLS else ''}"


def effects_of(
    contrasts: pd.DataFrame, view: View, architecture: str, setting: drawing.Setting
) -> dict[tuple[str, str], Interval]:
    """Return the difference to intact of each treatment and span of the ladder, and of `scratch`."""
    panel = drawing.in_panel(contrasts, view, architecture, setting)
    panel = panel[panel["measure"] == "top1_test"]
    found = {}
    for row in panel.to_dict("records"):
        name = (str(row["treatment"]), str(row["span"]))
        if row["source"] == drawing.UNTRAINED:
            continue
        estimate = (float(row["effect"]), float(row["low"]), float(row["high"]), int(row["n"]), float("nan"))
        to_intact = row["minus_source"] == setting.source and row["minus_treatment"] == "intact"
        if to_intact and (name[1] == "all" or name in PARTIAL):
            found[name] = Interval(*estimate)
        elif name == ("intact", "all") and row["minus_source"] == drawing.UNTRAINED:
            mean, low, high, n, sd = estimate  # intact minus scratch, turned round
            found["scratch", "all"] = Interval(-mean, -high, -low, n, sd)
    return found


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a block of rows for each architecture and a column for each setting."""
    contrasts = drawing.of_study(tables["contrasts"], view)
    settings = drawing.settings_of(contrasts, view)
    panels = {
        (architecture, setting): effects_of(contrasts, view, architecture, setting)
        for architecture in view.architectures
        for setting in settings
    }
    rows = {
        architecture: [
            ("intact", "all"),
            *sorted({row for setting in settings for row in panels[architecture, setting]}, key=rung),
        ]
        for architecture in view.architectures
    }
    columns = max(len(settings), 1)
    lengths = [len(each) for each in rows.values()]
    heads = sum(
        max([len(drawing.panel_name(name, setting, columns + 1)) for setting in settings], default=1) for name in rows
    )
    figure = drawing.new_figure(0.19 * sum(lengths) + 0.13 * heads + 0.32 * len(rows) + 0.45, title(panels))
    grid = figure.subplots(
        len(rows),
        columns,
        squeeze=False,
        sharex=True,
        gridspec_kw={"height_ratios": lengths},
    )
    for i, (architecture, names) in enumerate(rows.items()):
        for j, axes in enumerate(grid[i]):
            if j >= len(settings):
                drawing.say(axes)
                continue
            drawing.name_panel(axes, architecture, settings[j], columns + 1)
            if not panels[architecture, settings[j]]:
                drawing.say(axes)
                continue
            _draw_panel(axes, names, panels[architecture, settings[j]], labelled=j == 0)
    counts = {effect.n for found in panels.values() for effect in found.values()}
    figure.supxlabel(
        "paired difference to intact, points of test top-1, with its 95 % t-interval "
        f"({drawing.how_many(counts)} seeds)\nhollow: negative controls, expected at zero",
        fontsize=8,
    )
    return figure


def _draw_panel(
    axes: Axes, names: list[tuple[str, str]], found: dict[tuple[str, str], Interval], labelled: bool
) -> None:
    axes.axvline(0, color="#000000", linewidth=0.8)
    for place, name in enumerate(names):
        shade = drawing.colour(name[0])
        if name == ("intact", "all"):
            axes.plot(0, place, marker="D", markersize=4, color=shade)
            continue
        if name not in found:
            across = blended_transform_factory(axes.transAxes, axes.transData)
            axes.text(0.02, place, "no such arm", transform=across, va="center", fontsize=6, color="#767676")
            continue
        effect = found[name]
        low, high = drawing.limits(effect)
        axes.plot([100 * low, 100 * high], [place, place], color=shade, linewidth=1.6)
        axes.plot(
            100 * effect.mean,
            place,
            marker="s" if "+" in name[0] else "o",
            markersize=4.5,
            color=shade,
            markerfacecolor="white" if name in CONTROLS else shade,
        )
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.set_yticks(range(len(names)), [words(name) for name in names] if labelled else [])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelbottom=True)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)


def title(panels: dict[tuple[str, drawing.Setting], dict[tuple[str, str], Interval]]) -> str:
    """Say what the first panel with the longest ladder shows."""
    if not any(panels.values()):
        return f"The ladder of treatments: {drawing.ABSENT}"
    (architecture, setting), found = max(panels.items(), key=lambda each: len(each[1]))
    said = []
    for treatment, phrase in (
        ("shuffle-kernels", "with kernels shuffled"),
        ("shuffle-weights", "with all weights shuffled"),
        ("scratch", "without pre-training"),
    ):
        if effect := found.get((treatment, "all")):
            unclear = "" if effect.low > 0 or effect.high < 0 else " (interval includes 0)"
            said.append(f"{drawing.points(effect.mean, signed=True)} {phrase}{unclear}")
    if not said:
        return f"Differences to intact of {len(found)} treatments ({architecture}, {setting.name})"
    return (
        f"Points of test top-1 against intact: {drawing.listed(said)} "
        f"({architecture}, {setting.name}; {drawing.how_many(e.n for e in found.values())})"
    )
