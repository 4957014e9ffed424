"""Test top-1 of every way to start that a study fine-tunes on a target, from the best to the worst."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.evidence.statistics import Interval, interval
from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "runs")
COLUMNS = 2  # panels side by side: names are long
WIDE = 40  # characters of a name in a line
HEAD = 25  # of a panel's heading: names leave it little room


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
        return self.source == choice.UNTRAINED and self.treatment == "intact"

    @property
    def shade(self) -> str:
        """Its colour: that of its treatment, or of scratch."""
        return palette.colour("scratch" if self.scratch else self.treatment)


class Way(NamedTuple):
    """A row of a panel: a start, its name, its test top-1, and what it beats.

    It beats scratch, or the setting's own source, where the interval of the difference, seed by seed, is above zero.
    """

    start: Start
    name: str
    found: Interval
    beats_scratch: bool
    beats_source: bool


class Ways(NamedTuple):
    """The starts of one architecture on one target, the best first, and those two that the others are held against."""

    architecture: str
    target: choice.Setting
    ways: Sequence[Way]
    scratch: Start
    source: Start

    def has(self, start: Start) -> bool:
        """Whether a start is one of the ways."""
        return any(way.start == start for way in self.ways)


def starts_of(rows: pd.DataFrame, view: View) -> dict[Start, pd.DataFrame]:
    """Return the rows of each way to start that counts in a panel.

    Sources learn by the study's recipe, scratch by its own; a treated untrained network by either, or by both.
    """
    found = {Start(*map(str, key)): group for key, group in rows.groupby(list(Start._fields), observed=True)}
    own, untrained = {view.recipe}, {view.scratch_recipe}
    return {
        start: group
        for start, group in found.items()
        if start.recipe
        in (own if start.source != choice.UNTRAINED else untrained if start.scratch else own | untrained)
    }


def name_starts(starts: Sequence[Start]) -> dict[Start, str]:
    """Name starts in words: with their epoch where a source has several, with their recipe where a start has both."""
    epochs = {(start.source, start.epoch) for start in starts}
    names = {}
    for start in starts:
        if start.scratch:
            words = ["scratch"]
        elif start.treatment == "intact":
            words = [f"source {start.source}"]
        else:
            words = [start.source, f"{start.treatment}.{start.span}"]
        if sum(source == start.source for source, _ in epochs) > 1:
            words.insert(1, choice.checkpoint(start.epoch))
        if sum(other[:-1] == start[:-1] for other in starts) > 1:
            words.append(f"recipe {start.recipe}")
        names[start] = ", ".join(words)
    return names


def panel_of(runs: pd.DataFrame, view: View, architecture: str, setting: choice.Setting) -> Ways:
    """Return the starts of one architecture on a setting's target, from runs at the selected rates."""
    starts = starts_of(runs[(runs["architecture"] == architecture) & choice.on_target(runs, setting)], view)
    names = name_starts(list(starts))
    scratch = Start(choice.UNTRAINED, "0", "intact", "all", view.scratch_recipe)
    source = Start(setting.source, setting.epoch, "intact", "all", view.recipe)

    def beats(start: Start, other: Start) -> bool:
        return other in starts and choice.difference(starts[start], starts[other]).low > 0

    ways = [
        Way(start, names[start], interval(rows["top1_test"]), beats(start, scratch), beats(start, source))
        for start, rows in starts.items()
    ]
    ways.sort(key=lambda way: (-round(way.found.mean, 9), way.name))
    return Ways(architecture, setting, ways, scratch, source)


def targets_of(settings: Sequence[choice.Setting]) -> list[choice.Setting]:
    """Return the first setting of each target and shots: those of one target have the same ways to start."""
    first: dict[tuple[str, str], choice.Setting] = {}
    for setting in settings:
        first.setdefault((setting.target, setting.shots), setting)
    return list(first.values())


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and target (columns, two at most)."""
    runs = choice.selected_runs(tables["design"], tables["runs"], view)
    targets = targets_of(choice.settings_of(runs, view))
    columns = min(max(len(targets), 1), COLUMNS)
    everything, lines = [], []
    for architecture in view.architectures:
        found = [panel_of(runs, view, architecture, target) for target in targets]
        everything += found
        panels = [Panel(_head(each), each.ways, of=each) for each in found]
        lines += drawing.in_lines(panels or [Panel(architecture, ())], columns)
    names = [[[_label(way) for way in panel.rows] for panel in line] for line in lines]

    def paint(axes: Axes, panel: Panel) -> set[int]:
        return _draw_ways(axes, panel.of)

    return drawing.draw_panels(
        title(everything),
        lines,
        paint,
        x="test top-1 (%)",
        height=[max(map(drawing.dots_height, line)) + 0.5 for line in names],
        told=f"{drawing.MEANS}; full: better than scratch, seed by seed; bands: scratch (grey) and the "
        "setting's own source (blue, diamond)",
    )


def _label(way: Way) -> str:
    return wording.wrapped(way.name, WIDE)


def _head(panel: Ways) -> str:
    return wording.wrapped(
        f"{panel.architecture}, {panel.target.target}, {wording.shots_text(panel.target.shots)}", HEAD
    )


def _draw_ways(axes: Axes, panel: Ways) -> set[int]:
    rows = []
    for way in panel.ways:
        shade, fill = way.start.shade, palette.filled(way.beats_scratch)
        marker = "D" if way.start == panel.source else "s" if way.start == panel.scratch else "o"
        rows.append(drawing.Dot(_label(way), way.found, Look("", shade, "-", marker, fill, size=4.2)))
        if way.start in (panel.scratch, panel.source):
            drawing.across(axes, choice.estimate(way.found), Look("", shade, width=0.7), 100, upright=True)
    counts = drawing.dots(axes, rows, 100)
    drawing.share_dots({axes: rows}, 100)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -2), min(high, 102))
    return counts


def title(panels: Sequence[Ways]) -> str:
    """Say how many ways to start are better than scratch, and than the setting's own source; of many the range."""
    shown = [panel for panel in panels if panel.ways]
    if not shown:
        return f"Ways to start: {wording.ABSENT}"
    n = wording.how_many(way.found.n for panel in shown for way in panel.ways)
    if len(shown) > wording.NAMED:
        many = wording.span([len(panel.ways) for panel in shown])
        return f"Of {many} ways to start {_better(shown)} ({len(shown)} panels; {n})"
    said = [
        f"of {len(panel.ways)} ways to start on {panel.target.target} ({wording.shots_text(panel.target.shots)}) "
        f"{_better([panel])} ({panel.architecture})"
        for panel in shown
    ]
    return f"O{'; '.join(said)[1:]} ({n})"


def _better(panels: Sequence[Ways]) -> str:
    """Say how many ways are better than scratch and than the own source, in the panels that have these."""
    own = f"source {panels[0].target.source}" if len(panels) == 1 else "the setting's source"
    counts = {
        "scratch": [sum(way.beats_scratch for way in each.ways) for each in panels if each.has(each.scratch)],
        own: [sum(way.beats_source for way in each.ways) for each in panels if each.has(each.source)],
    }
    said = [(wording.span(found), name) for name, found in counts.items() if found]
    if not said:
        return "none is scratch or the setting's source"
    (first, reference), *rest = said
    clause = f"{first} {'is' if first == '1' else 'are'} better than {reference}"
    return wording.listed([clause, *(f"{count} than {name}" for count, name in rest)])
