"""Test accuracy against the number of top layers whose kernels are shuffled."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.evidence.statistics import Interval, interval
from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "runs")
LOOK = Look("kernels shuffled", palette.colour(choice.SHUFFLE))


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns)."""
    lines = drawing.setting_panels(choice.selected_runs(tables["design"], tables["runs"], view), view)
    looks: dict[str, Look] = {}

    def paint(axes: Axes, panel: Panel) -> set[int]:
        counts = set()
        for name, look, rows in choice.main_arms(panel.rows, view):
            if name != choice.SHUFFLED:
                found = interval(rows["top1_test"])
                drawing.across(axes, choice.estimate(found), look._replace(width=1), 100)
                looks[name] = look
                counts.add(found.n)
        ladder = choice.shuffled(panel.rows, view.depths[panel.architecture]).sort_values("layers")
        for _, seed in ladder.groupby("seed"):
            axes.plot(seed["layers"], 100 * seed["top1_test"], color=LOOK.shade, alpha=0.35, linewidth=0.6, marker=".")
        if len(ladder):
            counts |= drawing.curve(axes, choice.estimates(ladder, "layers", "top1_test"), "layers", LOOK, 100)
            looks.setdefault(LOOK.name, LOOK)
            axes.set_xlim(-0.4, view.depths[panel.architecture] + 0.4)
            axes.set_xticks(range(view.depths[panel.architecture] + 1))
        return counts

    return drawing.draw_panels(
        title(list(chain(*lines))),
        lines,
        paint,
        x="top layers with shuffled kernels",
        y="test top-1 (%)",
        bounds=(0, 100),
        looks=looks.values(),
        told="means with 95 % t-intervals, thin: seeds",
    )


def title(panels: Sequence[Panel]) -> str:
    """Say what shuffling all kernels costs or gains, in points of test top-1, panel by panel."""
    return cost_sentence(
        "Shuffling all kernels",
        [
            (
                f"{each.architecture}, {each.of.name}",
                choice.difference(choice.treated(each.rows, choice.SHUFFLE), choice.treated(each.rows, "intact")),
            )
            for each in panels
            if each.of
        ],
    )


def cost_sentence(subject: str, effects: Sequence[tuple[str, Interval]]) -> str:
    """Say what a treatment costs or gains, in points of test top-1, by where its interval lies.

    `effects` are paired differences to intact with the place each is from; with more than four the places
    are counted, not named.
    """
    known = [(place, effect) for place, effect in effects if effect.n and np.isfinite(effect.mean)]
    if not known:
        return f"{subject}: {wording.ABSENT}"
    costs = [(place, -effect.mean) for place, effect in known if effect.high < 0]
    gains = [(place, effect.mean) for place, effect in known if effect.low > 0]
    unclear = [(place, effect.mean) for place, effect in known if effect.low <= 0 <= effect.high]
    many = len(known) > 4
    clauses = []
    for verb, group in (("costs", costs), ("gains", gains)):
        sizes = wording.listed([f"{wording.points(size)} ({place})" for place, size in group])
        if many and group:
            sizes = wording.span([size for _, size in group], wording.points)
        where = f" in {len(group)} of {len(known)} panels" if many else ""
        clauses += [f"{verb} {sizes} points of test top-1{where}"] if group else []
    if unclear:
        places = "; ".join(f"{place}: {wording.gain(mean)}" for place, mean in unclear)
        where = f"{len(unclear)} of {len(known)} panels" if many else places
        clauses.append(f"shows no clear difference ({where})")
    return f"{subject} {wording.listed(clauses)} ({wording.how_many(effect.n for _, effect in known)})"
