"""Test top-1 of every way to start that a study fine-tunes on a target, from the best to the worst."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.evidence.statistics import Interval, interval
from whypretrain.figures.plotting import curve_drawing, dot_drawing, drawing
from whypretrain.figures.plotting.dot_drawing import Dot
from whypretrain.figures.plotting.view import View
from whypretrain.grid.coordinates import split_epoch

TABLES = ("design", "runs")

COLUMNS = 2  # panels side by side: names are long
WIDE = 40  # characters of a name in a line
HEAD = 4  # columns that a panel's heading would fit into: names leave it as much room


class Start(NamedTuple):
    """A way to start, with the recipe it learns the target by."""

    source: str
    epoch: str
    treatment: str
    span: str
    recipe: str

    @property
    def scratch(self) -> bool:
        """Whether it is the untrained network as its architecture initialises it."""
        return self.source == drawing.UNTRAINED and self.treatment == "intact"

    @property
    def shade(self) -> str:
        """Its colour: that of its treatment, or of scratch."""
        return drawing.colour("scratch" if self.scratch else self.treatment)


@dataclass(frozen=True, eq=False)
class Way:
    """A row of a panel: a start, its name, its test top-1, and what it is better than, seed by seed."""

    start: Start
    name: str
    found: Interval
    over_scratch: Interval
    over_source: Interval

    @property
    def beats_scratch(self) -> bool:
        """Whether the interval of its difference to scratch lies above zero."""
        return self.over_scratch.low > 0

    @property
    def beats_source(self) -> bool:
        """Whether the interval of its difference to the setting's own source lies above zero."""
        return self.over_source.low > 0


@dataclass(frozen=True, eq=False)
class Panel:
    """The starts of one architecture on one target, the best first, and those two that the others are held against."""

    architecture: str
    target: drawing.Setting
    ways: Sequence[Way]
    scratch: Start
    source: Start


def starts_of(rows: pd.DataFrame, view: View) -> dict[Start, pd.DataFrame]:
    """Return the rows of each way to start that counts in a panel.

    Sources learn by the study's recipe, scratch by its own; a treated untrained network by either, or by both.
    """
    found = {}
    for key, group in rows.groupby(list(Start._fields), observed=True):
        start = Start(*map(str, key))
        allowed = {view.recipe} if start.source != drawing.UNTRAINED else {view.scratch_recipe}
        if start.source == drawing.UNTRAINED and not start.scratch:
            allowed.add(view.recipe)
        if start.recipe in allowed:
            found[start] = group
    return found


def name_starts(starts: Sequence[Start]) -> dict[Start, str]:
    """Name starts in words: with their epoch where a source has several, with their recipe where a start has both."""
    epochs: dict[str, set[str]] = {}
    recipes: dict[Start, set[str]] = {}
    for start in starts:
        epochs.setdefault(start.source, set()).add(start.epoch)
        recipes.setdefault(start._replace(recipe=""), set()).add(start.recipe)
    names = {}
    for start in starts:
        if start.scratch:
            words = ["scratch"]
        elif start.treatment == "intact":
            words = [f"source {start.source}"]
        else:
            words = [start.source, f"{start.treatment}.{start.span}"]
        if len(epochs[start.source]) > 1:
            at, annealed = split_epoch(start.epoch)
            words.insert(1, f"epoch {curve_drawing.epoch_text(at)}{' annealed' if annealed else ''}")
        if len(recipes[start._replace(recipe="")]) > 1:
            words.append(f"recipe {start.recipe}")
        names[start] = ", ".join(words)
    return names


def panel_of(runs: pd.DataFrame, view: View, architecture: str, setting: drawing.Setting) -> Panel:
    """Return the starts of one architecture on a setting's target, from runs at the selected rates."""
    here = (
        (runs["architecture"] == architecture)
        & (runs["target"] == setting.target)
        & (runs["shots"] == setting.shots)
        & (runs["mode"] == drawing.MODE)
    )
    starts = starts_of(runs[here], view)
    names = name_starts(list(starts))
    scratch = Start(drawing.UNTRAINED, "0", "intact", "all", view.scratch_recipe)
    source = Start(setting.source, setting.epoch, "intact", "all", view.recipe)

    def over(start: Start, other: Start) -> Interval:
        return drawing.difference(starts[start], starts[other]) if other in starts else interval([])

    ways = [
        Way(start, names[start], interval(rows["top1_test"]), over(start, scratch), over(start, source))
        for start, rows in starts.items()
    ]
    ways.sort(key=lambda way: (-round(way.found.mean, 9), way.name))
    return Panel(architecture, setting, ways, scratch, source)


def targets_of(settings: Sequence[drawing.Setting]) -> list[drawing.Setting]:
    """Return the first setting of each target and shots: those of one target have the same ways to start."""
    first: dict[tuple[str, str], drawing.Setting] = {}
    for setting in settings:
        first.setdefault((setting.target, setting.shots), setting)
    return list(first.values())


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and target (columns, two at most)."""
    design = drawing.of_study(tables["design"], view)
    runs = drawing.of_runs(design[design["selected"]], tables["runs"])
    targets = targets_of(drawing.settings_of(runs, view))
    columns = min(max(len(targets), 1), COLUMNS)
    panels = {
        architecture: [panel_of(runs, view, architecture, target) for target in targets]
        for architecture in view.architectures
    }
    lines: list[tuple[str, Sequence[Panel]]] = [
        (architecture, found[number : number + columns])
        for architecture, found in panels.items()
        for number in range(0, max(len(found), 1), columns)
    ]
    heights = [
        max((dot_drawing.height([_label(way.name) for way in panel.ways]) for panel in line), default=0.4)
        for _, line in lines
    ]
    everything = [panel for found in panels.values() for panel in found]
    figure = drawing.new_figure(sum(heights) + 0.5 * len(lines) + 0.55, title(everything))
    grid = figure.subplots(len(lines), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for row, (architecture, line) in zip(grid, lines, strict=True):
        places = max((len(panel.ways) for panel in line), default=0)
        for number, axes in enumerate(row):
            if number < len(line):
                _draw_panel(axes, line[number], places)
            elif number == 0:
                curve_drawing.head(axes, [architecture], columns)
                drawing.say(axes)
            else:
                axes.set_axis_off()
    counts = {way.found.n for panel in everything for way in panel.ways}
    figure.supxlabel(
        f"test top-1 (%), means over seeds with 95 % t-intervals ({drawing.how_many(counts)} seeds)\n"
        "full: better than scratch, seed by seed; bands: scratch (grey) and the setting's own source (blue, diamond)",
        fontsize=7.5,
    )
    return figure


def _label(name: str) -> str:
    return dot_drawing.wrapped(name, WIDE)


def _draw_panel(axes: Axes, panel: Panel, places: int) -> None:
    curve_drawing.head(axes, [panel.architecture, panel.target.target, images(panel.target)], HEAD)
    if not panel.ways:
        drawing.say(axes)
        return
    for way in panel.ways:
        if way.start in (panel.scratch, panel.source):
            low, high = drawing.limits(way.found)
            axes.axvspan(100 * low, 100 * high, color=way.start.shade, alpha=0.15, linewidth=0)
            axes.axvline(100 * way.found.mean, color=way.start.shade, linewidth=0.7)
    rows = [
        Dot(
            _label(way.name),
            way.found,
            way.start.shade,
            way.beats_scratch,
            "D" if way.start == panel.source else "s" if way.start == panel.scratch else "o",
        )
        for way in panel.ways
    ]
    dot_drawing.dots(axes, rows, 100, places=places)
    dot_drawing.share_scale([(axes, rows)], 100)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -2), min(high, 102))


def title(panels: Sequence[Panel]) -> str:
    """Say how many ways to start are better than scratch, and than the setting's own source; of many the range."""
    shown = [panel for panel in panels if panel.ways]
    if not shown:
        return f"Ways to start: {drawing.ABSENT}"
    n = drawing.how_many(way.found.n for panel in shown for way in panel.ways)
    if len(shown) > curve_drawing.NAMED:
        many = dot_drawing.span([len(panel.ways) for panel in shown])
        return f"Of {many} ways to start {_better(shown)} ({len(shown)} panels; {n})"
    said = [
        f"of {len(panel.ways)} ways to start on {panel.target.target} ({images(panel.target)}) "
        f"{_better([panel])} ({panel.architecture})"
        for panel in shown
    ]
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]} ({n})"


def images(target: drawing.Setting) -> str:
    """Say how many images a target has."""
    return "all images" if target.shots == "full" else f"{target.shots} shots"


def _better(panels: Sequence[Panel]) -> str:
    """Say how many ways are better than scratch and than the own source, in the panels that have these."""
    own = f"source {panels[0].target.source}" if len(panels) == 1 else "the setting's source"
    with_scratch = [p for p in panels if p.scratch in [way.start for way in p.ways]]
    with_source = [p for p in panels if p.source in [way.start for way in p.ways]]
    counts = {
        "scratch": [sum(way.beats_scratch for way in panel.ways) for panel in with_scratch],
        own: [sum(way.beats_source for way in panel.ways) for panel in with_source],
    }
    said = [(dot_drawing.span(found), name) for name, found in counts.items() if found]
    if not said:
        return "none is scratch or the setting's source"
    (first, reference), *rest = said
    clause = f"{first} {'is' if first == '1' else 'are'} better than {reference}"
    return drawing.listed([clause, *(f"{count} than {name}" for count, name in rest)])
