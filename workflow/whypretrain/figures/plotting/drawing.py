"""What all figures share: the frame of panels, their axes, curves, dots and legends, and the notes above."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import blended_transform_factory

from whypretrain.evidence.statistics import Interval
from whypretrain.figures.plotting.choice import estimates, in_panel, limits, means, settings_in, settings_of
from whypretrain.figures.plotting.palette import GREY, Look
from whypretrain.figures.plotting.view import View
from whypretrain.figures.plotting.wording import ABSENT, epoch_text, how_many, span, wrapped

matplotlib.rcParams.update(
    {
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "figure.titlesize": 9,
        "figure.dpi": 160,
        # what users name stands as it is: a $ begins no formula
        "text.parse_math": False,
        # the same bytes each time: ids in the SVG come from this, not from chance
        "svg.hashsalt": "whypretrain",
    }
)

WIDTH = 7.0  # inches: two columns of a journal
HEAD = 7.5  # points: the size of a panel's heading
LINE = 0.13  # inches: a line of it
MEANS = "means over seeds with 95 % t-intervals"
Loaded = list[tuple[dict[str, str], dict[str, np.ndarray]]]  # weights, each with what it is


# --- the frame ---------------------------------------------------------------------------


class Panel(NamedTuple):
    """What a panel is of: its heading, its rows of a table, its architecture, and what else its figure needs."""

    head: str
    rows: Any
    architecture: str = ""
    of: Any = None


def panels_of(rows: pd.DataFrame, view: View, column: str, heads: Mapping[str, str]) -> list[list[Panel]]:
    """Return a line of panels for each architecture, in it one for each of a column's values; one even without any."""
    return [
        [
            Panel(
                ", ".join(filter(None, (name, head))),
                rows[(rows["architecture"] == name) & (rows[column] == value)],
                name,
                value,
            )
            for value, head in (heads or {"": ""}).items()
        ]
        for name in view.architectures
    ]


def by_setting(rows: pd.DataFrame, view: View) -> list[list[Panel]]:
    """Return a line of panels for each architecture, in it one for each setting that a table's rows name."""
    return panels_of(rows, view, "setting", {name: name for name in settings_in(rows, view)})


def setting_panels(frame: pd.DataFrame, view: View) -> list[list[Panel]]:
    """Return a line of panels for each architecture, in it one for each setting, with the rows of its arms."""
    settings = settings_of(frame, view)
    return [
        [Panel(f"{name}, {at.name}\n{at.label}", in_panel(frame, view, name, at), name, at) for at in settings]
        or [Panel(name, frame[:0], name)]
        for name in view.architectures
    ]


def in_lines(panels: Sequence[Panel], most: int) -> list[list[Panel]]:
    """Return panels in lines of at most so many."""
    panels = panels or [Panel("", ())]
    return [list(panels[start : start + most]) for start in range(0, len(panels), most)]


def draw_panels(
    title: str,
    lines: Sequence[Sequence[Panel]],
    paint: Callable[[Axes, Panel], set[int]],
    *,
    x: str | Sequence[str] = "",
    y: str | Sequence[str] = "",
    height: float | Sequence[float] = 2.1,
    level: Literal["x", "y"] | None = "y",
    bounds: tuple[float, float] | None = None,
    zero: bool = False,
    looks: Iterable[Look] = (),
    told: str = MEANS,
    absent: str = ABSENT,
    undefined: str = ABSENT,
) -> Figure:
    """Draw a figure of panels, `paint` each: it returns the numbers of seeds, none where it has drawn nothing.

    `x` is the label of all columns or of each, `y` that of all lines or of each, `height` in inches likewise. Panels
    of a line are of one scale along `level`, within `bounds`. Below stand the legend of `looks`, what is `told`, and n.
    A panel without rows says `absent`, one in which nothing was drawn `undefined`.
    """
    columns = max(map(len, lines))
    heights = [height] * len(lines) if isinstance(height, int | float) else list(height)
    figure = new_figure(sum(heights) + 0.7, title)
    grid = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    counts: set[int] = set()
    for number, (line, row) in enumerate(zip(lines, grid, strict=True)):
        for axes, panel in zip(row, line, strict=False):
            axes.set_title(wrapped(panel.head, max(84 // columns, 18)), loc="left", fontsize=HEAD)
            drawn = paint(axes, panel) if len(panel.rows) else set()
            counts |= drawn
            if not drawn:
                say(axes, undefined if len(panel.rows) else absent)
            elif bounds:
                within(axes, *bounds)
            if drawn and zero:
                axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
        for axes in row[len(line) :]:
            axes.set_axis_off()
        share(row, level)
        row[0].set_ylabel(y if isinstance(y, str) else y[number])
    for number, column in enumerate(grid.T):
        last = max(place for place, line in enumerate(lines) if len(line) > number)
        name_x(column[last], x if isinstance(x, str) else x[number], columns)
    below(figure, looks, f"{told}; {how_many(counts)}")
    return figure


def new_figure(height: float, title: str) -> Figure:
    """Return an empty figure of the full width with its title, which is wrapped to fit."""
    text = wrapped(title, 95)
    figure = Figure(figsize=(WIDTH, height + 0.15 * (text.count("\n") + 1)), layout="constrained")
    figure.suptitle(text, x=0.01, ha="left", fontweight="bold")
    return figure


def name_x(axes: Axes, text: str, columns: int) -> None:
    """Name a panel's horizontal axis, in lines that fit into one of `columns`."""
    axes.set_xlabel(wrapped(text, 84 // max(columns, 1)))


def share(panels: Iterable[Axes], along: Literal["x", "y"] | None) -> None:
    """Give the panels that hold anything one scale, which takes in that of each."""
    drawn = [axes for axes in panels if along and axes.has_data()]
    ends = [axes.get_xbound() if along == "x" else axes.get_ybound() for axes in drawn]
    for axes in drawn:
        bound = axes.set_xbound if along == "x" else axes.set_ybound
        bound(min(low for low, _ in ends), max(high for _, high in ends))


def within(axes: Axes, low: float, high: float) -> None:
    """Keep the vertical axis to what a measure can be; intervals of few seeds may reach beyond."""
    bottom, top = axes.get_ylim()
    room = 0.02 * (high - low)
    axes.set_ylim(max(bottom, low - room), min(top, high + room))


def below(figure: Figure, looks: Iterable[Look], told: str) -> None:
    """Put below the panels a legend with a title, in as many columns as its names leave room for, or the text alone."""
    lines = [Line2D([], [], label=wrapped(look.name, 80), **look.style) for look in looks]
    if not lines:
        figure.supxlabel(wrapped(told, 110), fontsize=HEAD)
        return
    longest = max(len(part) for line in lines for part in str(line.get_label()).split("\n"))
    most = min(max(int(6.6 / (0.062 * longest + 0.6)), 1), 5)
    deep = -(-len(lines) // most)
    figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=-(-len(lines) // deep),
        title=wrapped(told, 110),
        title_fontsize=HEAD,
        handlelength=2.2,
    )


def say(axes: Axes, text: str = ABSENT) -> None:
    """Write into an empty panel why it is empty."""
    axes.text(0.5, 0.5, wrapped(text, 24), transform=axes.transAxes, ha="center", va="center", color=GREY)
    bare(axes)


def bare(axes: Axes) -> None:
    """Leave out a panel's ticks."""
    axes.set_xticks([])
    axes.set_yticks([])


def settle(figure: Figure) -> None:
    """Lay the figure out for good, every panel at a rounded place.

    The layout's solver ends a few last digits apart from one process to the next, and the ids in an SVG are made of
    all digits.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), 5))
    for axes in figure.get_axes():
        axes.set_position(np.round(axes.get_position(original=True).bounds, 5))


def mark_partial(figure: Figure, text: str) -> None:
    """Write above a figure how much of its study it shows, as `note` does.

    What isn't drawn may be in the study all the same, so its words are changed as well.
    """
    for each in figure.findobj(Text):
        each.set_text(re.sub(r"in\s+this\s+study", "so far", each.get_text()))
    box = {"boxstyle": "square,pad=0.3", "facecolor": "#FFF0C2", "edgecolor": "#8A5A00", "linewidth": 0.6}
    note(figure, text, color="#5C3C00", bbox=box)


def note(figure: Figure, text: str, **looks: Any) -> None:
    """Write above a figure that is laid out what holds of all of it: outside, where nothing else stands."""
    pad = 0.06 / figure.get_figheight()
    looks = {"color": "#3C3C3C", "fontsize": 8, **looks}
    figure.text(0.015, 1 + pad, wrapped(text, 110), ha="left", va="bottom", **looks)


# --- axes --------------------------------------------------------------------------------


def layer_axis(axes: Axes, first: int, depth: int) -> None:
    """Let the horizontal axis be layers, from `first` to the network's depth."""
    axes.set_xlim(first - 0.5, depth + 0.5)
    axes.set_xticks(range(first, depth + 1, -(-(depth + 1) // 9)))


def epoch_axis(axes: Axes, epochs: Iterable[float], columns: int) -> dict[float, int]:
    """Let places 0, 1, 2, … of the horizontal axis be checkpoints, name as many as there is room for; return places."""
    known = sorted(set(epochs))
    texts = [epoch_text(epoch) for epoch in known]
    needed = sum(0.065 * len(text) + 0.09 for text in texts)  # inches
    step = max(int(np.ceil(needed / max(6.2 / columns - 0.4, 0.5))), 1)
    axes.set_xticks(range(0, len(texts), step), texts[::step])
    axes.set_xlim(-0.5, len(texts) - 0.5)
    return {epoch: place for place, epoch in enumerate(known)}


def log_axis(axes: Axes, ticks: Iterable[int], first: int, last: int, **scale: Any) -> None:
    """Let the horizontal axis be logarithmic, with ticks at some numbers alone."""
    axes.set_xscale(**scale)
    axes.set_xlim(first, last)
    axes.set_xticks([tick for tick in ticks if tick <= last])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:.0f}")


# --- curves ------------------------------------------------------------------------------


def errors(found: pd.DataFrame, scale: float = 1.0) -> np.ndarray:
    """Return the lengths of the lower and upper halves of intervals, as `errorbar` takes them."""
    return scale * np.stack([found["mean"] - found["low"], found["high"] - found["mean"]])


def curve(axes: Axes, found: pd.DataFrame, x: str, look: Look, scale: float = 1.0, shift: float = 0.0) -> set[int]:
    """Draw means with their intervals; rows without a mean leave a gap. Returns the numbers of seeds drawn."""
    known = found["mean"].notna()
    if known.any():
        place, bars = found[x].astype(float) + shift, errors(found, scale)
        axes.errorbar(place, scale * found["mean"], yerr=bars, capsize=1.5, elinewidth=0.8, **look.style)
    return {int(n) for n in found.loc[known, "n"]}


def curves(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    looks: Mapping[Any, Look],
    column: str,
    *,
    y: str = "",
    scale: float = 1.0,
    width: float = 0.3,
) -> set[int]:
    """Draw the curve of each value of a column, beside each other, so that their intervals don't hide each other.

    Rows are means, or one for each seed with what is averaged as `y`. Returns the numbers of seeds drawn.
    """
    counts: set[int] = set()
    for (value, look), shift in zip(looks.items(), shifts(len(looks), width), strict=True):
        mine = rows[rows[column] == value]
        counts |= curve(axes, means(mine, x, y) if y else mine.sort_values(x), x, look, scale, shift)
    return counts


def shifts(count: int, width: float) -> list[float]:
    """Return how far curves stand beside their place."""
    return list(np.linspace(-width / 2, width / 2, count)) if count != 1 else [0.0]


def band(axes: Axes, rows: pd.DataFrame, x: str, y: str, look: Look, scale: float = 1.0) -> set[int]:
    """Draw a mean over seeds with its interval as a band. Returns the numbers of seeds drawn."""
    found = estimates(rows, x, y)
    axes.plot(found[x], scale * found["mean"], **look.style)
    axes.fill_between(found[x], scale * found["low"], scale * found["high"], color=look.shade, alpha=0.2, linewidth=0)
    return set(found["n"])


def across(axes: Axes, found: Sequence[float], look: Look, scale: float = 1.0, *, upright: bool = False) -> None:
    """Draw a mean and the limits of its interval, its first three numbers, as a line and a band across the panel."""
    mean, low, high = (scale * each for each in found[:3])
    if np.isfinite(low):
        (axes.axvspan if upright else axes.axhspan)(low, high, color=look.shade, alpha=0.15, linewidth=0)
    line = axes.axvline if upright else axes.axhline
    line(mean, color=look.shade, linestyle=look.line, linewidth=look.width, zorder=1)


RING = Look("", "#000000", "none", "o", "none", 0.9, 9)


def ring(axes: Axes, x: Any, y: Any) -> None:
    """Draw a ring around points."""
    style = RING.style | {"markerfacecolor": "none"}
    axes.plot(x, y, **style, zorder=5, clip_on=False, in_layout=False)


def guess(axes: Axes, largest: pd.Series, *, upright: bool = False) -> None:
    """Draw what always guessing the largest class gets right; where it lies beyond the axis that stays as it is."""
    ends = axes.get_xlim(), axes.get_ylim()
    for place in sorted(set(largest)):
        line = axes.axvline if upright else axes.axhline
        line(100 * place, color=GREY, linestyle=":", linewidth=0.9, zorder=0)
    axes.set(xlim=ends[0], ylim=ends[1])


def guessed(largest: pd.Series) -> str:
    """Say what always guessing the largest class gets right, and how it is drawn."""
    share = f", {span((100 * largest).tolist(), '{:.1f}'.format)} %" if len(largest) else ""
    return f"dotted: always guessing the largest class{share}"


# --- rows of dots ------------------------------------------------------------------------


class Dot(NamedTuple):
    """A row: its name, an estimate with its interval, or what is said without one, its look, and a note at the rim."""

    name: str
    found: Interval | str
    look: Look
    note: str = ""


def dots_height(names: Sequence[str]) -> float:
    """Return the inches that rows of these names need, all as high as the highest, four of them in any case."""
    lines = max((name.count("\n") + 1 for name in names), default=1)
    return (0.105 * lines + 0.055) * max(len(names), 4)


def dots(axes: Axes, rows: Sequence[Dot], scale: float = 1.0, *, labelled: bool = True) -> set[int]:
    """Draw the rows from the top. Returns the numbers of seeds drawn."""
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    for place, (_, found, look, told) in enumerate(rows):
        axes.text(1.02, place, told, transform=beside, va="center", fontsize=5.5, color=GREY)
        if isinstance(found, str) or not np.isfinite(found.mean):
            text = found if isinstance(found, str) else "undefined"
            axes.text(0.02, place, text, transform=beside, va="center", fontsize=6, color=GREY)
            continue
        low, high = limits(found)
        axes.plot([scale * low, scale * high], [place, place], color=look.shade, linewidth=look.width)
        axes.plot(scale * found.mean, place, **look.style)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [dot.name for dot in rows] if labelled else [""] * len(rows))
    axes.tick_params(axis="y", length=0, labelsize=6.5)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)
    return {dot.found.n for dot in rows if isinstance(dot.found, Interval)}


def share_dots(panels: Mapping[Axes, Sequence[Dot]], scale: float = 1.0, about: Sequence[float] = ()) -> None:
    """Give panels one horizontal scale that holds all estimates and the values `about`.

    It holds the intervals as well, but beyond the estimates for no more than these spread: a few wide ones, of few
    seeds, would hide all others.
    """
    dots = [dot.found for rows in panels.values() for dot in rows if isinstance(dot.found, Interval)]
    known = [found for found in dots if np.isfinite(found.mean)]
    centres = [*about, *(found.mean for found in known)]
    ends = [limit for found in known for limit in limits(found) if np.isfinite(limit)]
    if not centres:
        return
    room = max(centres) - min(centres) or np.inf
    low = max(min([*centres, *ends]), min(centres) - room)
    high = min(max([*centres, *ends]), max(centres) + room)
    margin = 0.05 * (high - low) or 0.01
    for axes in panels:
        axes.set_xlim(scale * (low - margin), scale * (high + margin))
        axes.locator_params(axis="x", nbins=4)
