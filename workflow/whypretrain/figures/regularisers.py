"""What regularisers and shuffled kernels do to training loss, test loss and test top-1 of the intact start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from whypretrain.evidence.selection import preference
from whypretrain.evidence.statistics import Interval
from whypretrain.figures.plotting import curve_drawing, dot_drawing, drawing
from whypretrain.figures.plotting.dot_drawing import Dot
from whypretrain.figures.plotting.view import View

TABLES = ("design", "runs")

# one colour for each, in the order of the rows: of `drawing.COLOURS`, so that any two of them stay apart
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
MEASURES = (  # column, name, unit of the difference, its scale, how the reference's own value is written
    ("loss_train", "training loss", "nats", 1.0, "{:.3f}"),
    ("loss_test", "test loss", "nats", 1.0, "{:.3f}"),
    ("top1_test", "test top-1", "points", 100.0, "{:.1f} %"),
)
Place = tuple[str, drawing.Setting]


@dataclass(frozen=True)
class Effect:
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


@dataclass(frozen=True, eq=False)
class Panel:
    """A row of panels: the intact network's runs with the study's recipe, and what is compared with them."""

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


def panel_of(runs: pd.DataFrame, view: View, architecture: str, setting: drawing.Setting) -> Panel:
    """Return what one row of panels shows, from runs at the selected rates."""

    def intact(recipe: str) -> pd.DataFrame:
        return drawing.treated(drawing.in_panel(runs, replace(view, recipe=recipe), architecture, setting), "intact")

    reference = intact(view.recipe)
    of_kind: dict[str, dict[str, pd.DataFrame]] = {}
    for recipe, name in view.regularisers.items():
        if recipe != view.recipe and len(rows := intact(recipe)):
            of_kind.setdefault(name, {})[recipe] = rows
    effects = []
    for name in sorted(of_kind, key=regulariser_order):
        recipe = chosen(of_kind[name])
        note = recipe if len(of_kind[name]) == 1 else f"{recipe} (of {len(of_kind[name])})"
        shade = SHADES.get(name, drawing.OTHER)
        effects.append(Effect(name, shade, False, note, _differences(of_kind[name][recipe], reference)))
    here = drawing.in_panel(runs, view, architecture, setting)
    for span in shuffled_spans(here, view.depths[architecture]):
        rows = drawing.treated(here, drawing.SHUFFLE, span)
        found = _differences(rows, reference)
        effects.append(Effect(f"shuffle {span}", drawing.colour(drawing.SHUFFLE), True, "", found))
    return Panel(reference, effects if len(reference) else [])


def _differences(of: pd.DataFrame, minus: pd.DataFrame) -> dict[str, Interval]:
    return {measure: drawing.difference(of, minus, measure) for measure, *_ in MEASURES}


def shuffled_spans(panel: pd.DataFrame, depth: int) -> list[str]:
    """Return the top spans whose kernels a panel has shuffled, from the fewest layers to all."""
    rows = panel[(panel["source"] != drawing.UNTRAINED) & (panel["treatment"] == drawing.SHUFFLE)]
    layers = {str(span): drawing.top_layers(drawing.SHUFFLE, str(span), depth) for span in rows["span"].unique()}
    return sorted((span for span, k in layers.items() if np.isfinite(k)), key=lambda span: layers[span])


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a block of three panels for each architecture and setting."""
    design = drawing.of_study(tables["design"], view)
    runs = drawing.of_runs(design[design["selected"]], tables["runs"])
    settings: list[drawing.Setting | None] = [*drawing.settings_of(runs, view)] or [None]
    places = [(architecture, setting) for architecture in view.architectures for setting in settings]
    panels = [
        panel_of(runs, view, architecture, setting) if setting else Panel(runs[:0], [])
        for architecture, setting in places
    ]
    heights = [dot_drawing.height([effect.name for effect in panel.effects]) + 0.62 for panel in panels]
    told = {(name, at): panel for (name, at), panel in zip(places, panels, strict=True) if at is not None}
    figure = drawing.new_figure(sum(heights) + 0.5, title(told))
    blocks = figure.subfigures(len(places), 1, squeeze=False, height_ratios=heights)[:, 0]
    columns: list[list] = [[] for _ in MEASURES]
    for block, (architecture, setting), panel in zip(blocks, places, panels, strict=True):
        words = ", ".join(drawing.panel_name(architecture, setting))
        block.suptitle(words, fontsize=8, x=0.01, ha="left")
        for column, drawn in zip(columns, _draw_block(block, panel), strict=True):
            column += drawn
    for column, (*_, scale, _) in zip(columns, MEASURES, strict=True):
        dot_drawing.share_scale(column, scale, [0.0])
    counts = {found.n for panel in panels for effect in panel.effects for found in effect.found.values()}
    figure.supxlabel(
        f"paired differences to the intact start with the recipe {view.recipe}, with 95 % t-intervals "
        f"({drawing.how_many(counts)} seeds)\n"
        "full: test loss is lower and training loss isn't; at the right: the recipe that validation chose",
        fontsize=7.5,
    )
    return figure


def _draw_block(block: SubFigure, panel: Panel) -> Iterator[list]:
    """Draw the three panels of an architecture and setting; give back each with its rows, or nothing if it is empty."""
    line = block.subplots(1, len(MEASURES), squeeze=False)[0]
    for axes, (measure, name, unit, scale, form) in zip(line, MEASURES, strict=True):
        if not panel.effects:
            axes.set_title(name, loc="left", fontsize=7.5)
            drawing.say(axes)
            yield []
            continue
        own = form.format(scale * panel.reference[measure].mean())
        axes.set_title(f"{name} (intact: {own})", loc="left", fontsize=7.5)
        axes.set_xlabel(f"difference ({unit})", fontsize=7)
        axes.axvline(0, color=drawing.colour("intact"), linewidth=0.9)
        last = axes is line[-1]
        rows = [
            Dot(
                effect.name,
                effect.found[measure],
                effect.shade,
                effect.regularises,
                "s" if effect.shuffled else "o",
                effect.note if last else "",
            )
            for effect in panel.effects
        ]
        dot_drawing.dots(axes, rows, scale, labelled=axes is line[0])
        yield [(axes, rows)]


def title(panels: dict[Place, Panel]) -> str:
    """Say how many regularisers, and how many shuffles of top layers, lower the test loss; of many panels the range."""
    shown = {place: panel for place, panel in panels.items() if panel.effects}
    if not shown:
        return f"Regularisers: {drawing.ABSENT}"
    n = drawing.how_many(e.found["loss_test"].n for panel in shown.values() for e in panel.effects)
    if len(shown) > curve_drawing.NAMED:
        return f"Test loss is lowered by {_counted(list(shown.values()))} ({len(shown)} panels; {n})"
    said = [f"{_counted([panel])} ({architecture}, {at.name})" for (architecture, at), panel in shown.items()]
    return f"Test loss is lowered by {'; by '.join(said)} ({n})"


def _counted(panels: Sequence[Panel]) -> str:
    """Say how many of how many there are of either kind, of several panels from which to which."""
    said = []
    for shuffled, what in ((False, "regulariser"), (True, "shuffle")):
        lowers = [[e.lowers for e in panel.effects if e.shuffled == shuffled] for panel in panels]
        if totals := [len(each) for each in lowers if each]:
            counts = dot_drawing.span([sum(each) for each in lowers if each])
            said.append(f"{counts} of {dot_drawing.span(totals)} {what}{'' if max(totals) == 1 else 's'}")
            said[-1] += " of top layers" if shuffled else ""
    return drawing.listed(said)
