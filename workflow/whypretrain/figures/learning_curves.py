"""Learning curves of target training: validation accuracy and training loss over updates."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from whypretrain.figures.plotting import drawing
from whypretrain.figures.plotting.view import View

TABLES = ("design", "history")

MEASURES = (("top1_validation", "validation top-1 (%)", 100.0), ("loss_train", "training loss (nats)", 1.0))
NAMED = 3  # architectures in the title
TICKS = [base * 10**power for power in range(7) for base in (1, 2, 5)]


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw two rows for each architecture and a column for each setting."""
    design = drawing.of_study(tables["design"], view)
    history = drawing.of_runs(design[design["selected"]], tables["history"])
    settings = drawing.settings_of(history, view)
    panels = {
        (architecture, setting): list(drawing.main_arms(drawing.in_panel(history, view, architecture, setting), view))
        for architecture in view.architectures
        for setting in settings
    }
    figure = drawing.new_figure(2 * 1.5 * len(view.depths) + 0.6, title(panels))
    grid = figure.subplots(2 * len(view.depths), max(len(settings), 1), squeeze=False)
    shown: drawing.Entries = {}
    counts: set[int] = set()
    for i, architecture in enumerate(view.architectures):
        for k, (measure, label, scale) in enumerate(MEASURES):
            grid[2 * i + k][0].set_ylabel(label)
            for j, axes in enumerate(grid[2 * i + k]):
                arms = panels[architecture, settings[j]] if j < len(settings) else []
                if k == 0:
                    drawing.name_panel(axes, architecture, settings[j] if settings else None, len(settings))
                if not arms:
                    drawing.say(axes)
                    continue
                for arm in arms:
                    found = drawing.estimates(arm.rows, "step", measure)
                    drawing.band(axes, found, "step", arm.shade, arm.style, scale)
                    shown.setdefault(arm.name, arm.entry)
                    counts.update(found["n"])
                if scale == 100:
                    drawing.within(axes, 0, 100)
                _log_updates(axes, pd.concat([arm.rows["step"] for arm in arms]))
    for axes in grid[-1]:
        drawing.name_x(axes, "updates (log scale)", len(settings))
    drawing.legend(
        figure,
        shown,
        f"means over seeds with 95 % t-intervals, each arm at its selected rate; {drawing.how_many(counts)}",
    )
    return figure


def _log_updates(axes: Axes, steps: pd.Series) -> None:
    later = steps[steps > 0]
    if later.empty:
        return
    first, last = int(later.min()), int(later.max())
    axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    axes.set_xticks([0, *(t for t in TICKS if first <= t <= last)])
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0, last)


def updates_to(found: pd.DataFrame, level: float) -> int | None:
    """Return the updates after which a mean curve first reaches a level, or None."""
    reached = found.loc[found["mean"] >= level, "step"]
    return None if reached.empty else int(reached.iloc[0])


def title(panels: dict[tuple[str, drawing.Setting], list[drawing.MainArm]]) -> str:
    """Say, in the first setting of the three shallowest architectures, how soon the means reach scratch's last one."""
    said: dict[str, list[str]] = {}
    seen: set[str] = set()
    for (architecture, setting), arms in panels.items():
        curves = {arm.name: drawing.estimates(arm.rows, "step", "top1_validation") for arm in arms}
        others = [name for name in (drawing.INTACT, drawing.SHUFFLED) if name in curves]
        if architecture in seen or len(seen) == NAMED or "scratch" not in curves or not others:
            continue
        seen.add(architecture)
        level = curves["scratch"]["mean"].iloc[-1]
        updates = [f"{name} {updates_to(curves[name], level) or 'never'}" for name in others]
        said.setdefault(setting.name, []).append(f"{', '.join(updates)} ({architecture})")
    if not said:
        return "Learning curves of target training"
    places = "; ".join(f"{name}: {'; '.join(parts)}" for name, parts in said.items())
    return f"Updates until the mean validation top-1 reaches scratch's last, in setting {places}"
