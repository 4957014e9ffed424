"""What the figures with a row for each arm share: dots with their intervals, their scales and the room they need."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from whypretrain.evidence.statistics import Interval
from whypretrain.figures.plotting import drawing

GREY = "#767676"
LABEL = 6.5  # points: the size of a row's name
LINE = 0.105  # inches: a line of it
BETWEEN = 0.055  # inches between rows
FEWEST = 4  # rows that there is room for in any case


@dataclass(frozen=True)
class Dot:
    """A row: its name, an estimate with its interval, how it is drawn, and a note at the right rim."""

    name: str
    found: Interval
    shade: str
    filled: bool = True
    marker: Literal["o", "D", "s"] = "o"
    note: str = ""


def wrapped(name: str, wide: int) -> str:
    """Return a row's name in lines of at most so many characters, parted at blanks and hyphens."""
    return "\n".join(textwrap.wrap(name, wide))


def height(names: Sequence[str]) -> float:
    """Return the inches that rows of these names need, all as high as the highest."""
    lines = max((name.count("\n") + 1 for name in names), default=1)
    return (LINE * lines + BETWEEN) * max(len(names), FEWEST)


def span(counts: Sequence[int]) -> str:
    """Write a count, or from which to which several go."""
    return " to ".join(dict.fromkeys((str(min(counts)), str(max(counts)))))


def dots(axes: Axes, rows: Sequence[Dot], scale: float = 1.0, labelled: bool = True, places: int = 0) -> None:
    """Draw the rows from the top, with room for `places` of them or more; an estimate that isn't finite is named so."""
    for place, dot in enumerate(rows):
        beside = blended_transform_factory(axes.transAxes, axes.transData)
        if dot.note:
            axes.text(1.02, place, dot.note, transform=beside, va="center", fontsize=5.5, color=GREY)
        if not np.isfinite(dot.found.mean):
            axes.text(0.02, place, "undefined", transform=beside, va="center", fontsize=6, color=GREY)
            continue
        low, high = drawing.limits(dot.found)
        axes.plot([scale * low, scale * high], [place, place], color=dot.shade, linewidth=1.4)
        axes.plot(
            scale * dot.found.mean,
            place,
            color=dot.shade,
            marker=dot.marker,
            markersize=4.2,
            markerfacecolor=dot.shade if dot.filled else "white",
        )
    axes.set_ylim(max(len(rows), places) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [dot.name for dot in rows] if labelled else [""] * len(rows))
    axes.tick_params(axis="y", length=0, labelsize=LABEL)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)


def share_scale(panels: Sequence[tuple[Axes, Sequence[Dot]]], scale: float = 1.0, about: Sequence[float] = ()) -> None:
    """Give panels one horizontal scale that holds all estimates and the values `about`.

    It holds the intervals as well, but beyond the estimates for no more than these spread: a few wide ones, of few
    seeds, would hide all others.
    """
    known = [dot.found for _, rows in panels for dot in rows if np.isfinite(dot.found.mean)]
    means = [*about, *(found.mean for found in known)]
    limits = [limit for found in known for limit in drawing.limits(found) if np.isfinite(limit)]
    if not means:
        return
    spread = max(means) - min(means)
    room = spread if spread > 0 else np.inf
    low = max(min([*means, *limits]), min(means) - room)
    high = min(max([*means, *limits]), max(means) + room)
    margin = 0.05 * (high - low) or 0.01
    for axes, _ in panels:
        axes.set_xlim(scale * (low - margin), scale * (high + margin))
        axes.locator_params(axis="x", nbins=4)
