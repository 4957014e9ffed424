"""Learning curves of target training: validation accuracy and training loss over updates."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "history")
MEASURES = {"top1_validation": "validation top-1 (%)", "loss_train": "training loss (nats)"}
NAMED = 3  # architectures in the title
TICKS = [base * 10**power for power in range(7) for base in (1, 2, 5)]


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw two rows for each architecture and a column for each setting."""
    found = drawing.setting_panels(choice.selected_runs(tables["design"], tables["history"], view), view)
    lines = [
        [each._replace(head=each.head if measure == "top1_validation" else "", of=measure) for each in line]
        for line in found
        for measure in MEASURES
    ]
    looks: dict[Look, None] = {}

    def paint(axes: Axes, panel: Panel) -> set[int]:
        counts: set[int] = set()
        accuracy = panel.of == "top1_validation"
        for arm in choice.main_arms(panel.rows, view):
            counts |= drawing.band(axes, arm.rows, "step", panel.of, arm.look, 100 if accuracy else 1)
            looks[arm.look] = None
        if accuracy:
            drawing.within(axes, 0, 100)
        later = panel.rows.loc[panel.rows["step"] > 0, "step"]
        if len(later):
            ticks = [0, *(tick for tick in TICKS if tick >= later.min())]
            drawing.log_axis(axes, ticks, 0, later.max(), value="symlog", linthresh=later.min(), linscale=0.4)
        return counts

    return drawing.draw_panels(
        title([panel for line in found for panel in line if panel.of], view),
        lines,
        paint,
        x="updates (log scale)",
        y=[label for _ in found for label in MEASURES.values()],
        height=1.5,
        level=None,
        looks=looks,
        told=f"{drawing.MEANS}, each arm at its selected rate",
    )


def updates_to(found: pd.DataFrame, level: float) -> int | None:
    """Return the updates after which a mean curve first reaches a level, or None."""
    reached = found.loc[found["mean"] >= level, "step"]
    return None if reached.empty else int(reached.iloc[0])


def title(panels: list[Panel], view: View) -> str:
    """Say, in the first setting of the three shallowest architectures, how soon the means reach scratch's last one."""
    said: dict[str, list[str]] = {}
    seen: set[str] = set()
    for panel in panels:
        arms = choice.main_arms(panel.rows, view) if panel.architecture not in seen and len(seen) < NAMED else []
        curves = {arm.name: choice.estimates(arm.rows, "step", "top1_validation") for arm in arms}
        others = [name for name in (choice.INTACT, choice.SHUFFLED) if name in curves]
        if choice.SCRATCH in curves and others:
            seen.add(panel.architecture)
            level = curves[choice.SCRATCH]["mean"].iloc[-1]
            updates = ", ".join(f"{name} {updates_to(curves[name], level) or 'never'}" for name in others)
            said.setdefault(panel.of.name, []).append(f"{updates} ({panel.architecture})")
    if not said:
        return "Learning curves of target training"
    places = "; ".join(f"{name}: {'; '.join(parts)}" for name, parts in said.items())
    return f"Updates until the mean validation top-1 reaches scratch's last, in setting {places}"
