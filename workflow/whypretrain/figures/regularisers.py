"""What regularisers and shuffled kernels do to training loss, test loss and test top-1 of the intact start."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.evidence.selection import preference
from whypretrain.evidence.statistics import Interval
from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "runs")

# one colour for each, in the order of the rows
SHADES = {
    "l2": "#2009DD",
    "l1": "#22C4EC",
    "dropout": "#FFC20A",
    "input-noise": "#618253",
    "gradient-noise": "#96DB8D",
    "augmentation": "#4B0092",
    "label-smoothing": "#682C00",
    "l2-sp": "#6275FF",
}
MEASURES = {  # name, unit of the difference, its scale, how the reference's own value is written
    "loss_train": ("training loss", "nats", 1.0, "{:.3f}"),
    "loss_test": ("test loss", "nats", 1.0, "{:.3f}"),
    "top1_test": ("test top-1", "points", 100.0, "{:.1f} %"),
}


class Effect(NamedTuple):
    """What a regulariser, or shuffling the top layers, changes by measure, seed by seed, against the intact start."""

    name: str
    shade: str
    shuffled: bool
    note: str
    found: dict[str, Interval]

    @property
    def lowers(self) -> bool:
        """Whether the test loss is lower: its interval lies below zero."""
        return self.found["loss_test"].high < 0

    @property
    def regularises(self) -> bool:
        """Whether the test loss is lower and the training loss isn't."""
        return self.lowers and not self.found["loss_train"].high < 0


class Compared(NamedTuple):
    """A line of panels: the intact network's runs with the study's recipe, and what is compared with them."""

    reference: pd.DataFrame
    effects: Sequence[Effect]


def regulariser_order(name: str) -> tuple[int, str]:
    """Order regularisers as their colours are; new ones stand behind."""
    names = list(SHADES)
    return (names.index(name) if name in names else len(names), name)


def chosen(recipes: dict[str, pd.DataFrame]) -> str:
    """Return the recipe that validation prefers: by mean top-1, then by lower loss, then by name."""

    def rank(name: str) -> tuple:
        means = recipes[name][["top1_validation", "loss_validation"]].mean()
        return (*preference(means["top1_validation"], means["loss_validation"], None), name)

    return min(recipes, key=rank)


def panel_of(runs: pd.DataFrame, view: View, architecture: str, setting: choice.Setting) -> Compared:
    """Return what one line of panels shows, from runs at the selected rates."""

    def intact(recipe: str) -> pd.DataFrame:
        return choice.treated(choice.in_panel(runs, replace(view, recipe=recipe), architecture, setting), "intact")

    reference = intact(view.recipe)
    of_kind: dict[str, dict[str, pd.DataFrame]] = {}
    for recipe, name in view.regularisers.items():
        if recipe != view.recipe and len(rows := intact(recipe)):
            of_kind.setdefault(name, {})[recipe] = rows
    effects = []
    for name in sorted(of_kind, key=regulariser_order):
        recipe, many = chosen(of_kind[name]), len(of_kind[name])
        note = recipe if many == 1 else f"{recipe} (of {many})"
        found = _differences(of_kind[name][recipe], reference)
        effects.append(Effect(name, SHADES.get(name, palette.OTHER), False, note, found))
    here = choice.shuffled(choice.in_panel(runs, view, architecture, setting), view.depths[architecture])
    for _, rows in here[here["treatment"] == choice.SHUFFLE].groupby("layers"):
        name = f"shuffle {rows['span'].iloc[0]}"
        effects.append(Effect(name, palette.colour(choice.SHUFFLE), True, "", _differences(rows, reference)))
    return Compared(reference, effects if len(reference) else [])


def _differences(of: pd.DataFrame, minus: pd.DataFrame) -> dict[str, Interval]:
    return {measure: choice.difference(of, minus, measure) for measure in MEASURES}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a line of three panels for each architecture and setting."""
    runs = choice.selected_runs(tables["design"], tables["runs"], view)
    places = [(architecture, at) for architecture in view.architectures for at in choice.settings_of(runs, view)]
    found = {place: panel_of(runs, view, *place) for place in places}
    lines = [_line(f"{name}, {at.name}\n{at.label}", each) for (name, at), each in found.items()]
    lines = lines or [_line(name, Compared(runs[:0], [])) for name in view.architectures]
    heights = [drawing.dots_height([effect.name for effect in line[0].rows]) + 5 * drawing.LINE for line in lines]
    drawn: dict[str, dict[Axes, list[drawing.Dot]]] = {measure: {} for measure in MEASURES}

    def paint(axes: Axes, panel: Panel) -> set[int]:
        axes.axvline(0, color=palette.colour("intact"), linewidth=0.9)
        first, *_, last = MEASURES
        rows = [row_of(effect, panel.of, panel.of == last) for effect in panel.rows]
        drawn[panel.of][axes] = rows
        return drawing.dots(axes, rows, MEASURES[panel.of][2], labelled=panel.of == first)

    figure = drawing.draw_panels(
        title(found),
        lines,
        paint,
        x=[f"difference ({unit})" for _, unit, *_ in MEASURES.values()],
        height=heights,
        level=None,
        told=f"paired differences to the intact start with the recipe {view.recipe}, with 95 % t-intervals; "
        "full: test loss is lower and training loss isn't; at the right: the recipe that validation chose",
    )
    for measure, panels in drawn.items():
        drawing.share_dots(panels, MEASURES[measure][2], [0.0])
    return figure


def _line(head: str, found: Compared) -> list[Panel]:
    """Return the panels of an architecture and setting, named in the first; in each heading the intact start's own."""
    panels: list[Panel] = []
    for measure, (name, _, scale, form) in MEASURES.items():
        own = f" (intact: {form.format(scale * found.reference[measure].mean())})" if found.effects else ""
        panels.append(Panel(f"{head if not panels else ''}\n{name}{own}", found.effects, of=measure))
    return panels


def row_of(effect: Effect, measure: str, noted: bool) -> drawing.Dot:
    """Return how an effect is drawn in a measure's panel."""
    marker = "s" if effect.shuffled else "o"
    look = Look("", effect.shade, "-", marker, palette.filled(effect.regularises), size=4.2)
    return drawing.Dot(effect.name, effect.found[measure], look, effect.note if noted else "")


def title(panels: Mapping[tuple[str, choice.Setting], Compared]) -> str:
    """Say how many regularisers, and how many shuffles of top layers, lower the test loss; of many panels the range."""
    shown = {place: panel for place, panel in panels.items() if panel.effects}
    if not shown:
        return f"Regularisers: {wording.ABSENT}"
    n = wording.how_many(e.found["loss_test"].n for panel in shown.values() for e in panel.effects)
    if len(shown) > wording.NAMED:
        return f"Test loss is lowered by {_counted(list(shown.values()))} ({len(shown)} panels; {n})"
    said = [f"{_counted([panel])} ({architecture}, {at.name})" for (architecture, at), panel in shown.items()]
    return f"Test loss is lowered by {'; by '.join(said)} ({n})"


def _counted(panels: Sequence[Compared]) -> str:
    """Say how many of how many there are of either kind, of several panels from which to which."""
    said = []
    for kind, what in ((False, "regulariser"), (True, "shuffle")):
        lowers = [[e.lowers for e in panel.effects if e.shuffled == kind] for panel in panels]
        if totals := [len(each) for each in lowers if each]:
            words = f"{what}{'' if max(totals) == 1 else 's'}{' of top layers' if kind else ''}"
            said.append(f"{wording.span([sum(each) for each in lowers if each])} of {wording.span(totals)} {words}")
    return wording.listed(said)
