"""What all figures share: colours, sizes, the choice of arms, intervals, and the words in titles."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from whypretrain.evidence.statistics import Interval, interval, paired
from whypretrain.figures.plotting.view import View
from whypretrain.grid.coordinates import KEYS

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

# One colour for each treatment, the same in every figure, in the order of the ladder. Any two stay apart in
# normal, deuteranope and protanope vision (a test holds them to it). Scratch is the source `none`, whatever the
# recipe; its longer recipe has a colour of its own.
COLOURS = {
    "intact": "#0072B2",
    "permute-channels": "#22C4EC",
    "shuffle-filters": "#FFC20A",
    "shuffle-inputs": "#96DB8D",
    "shuffle-kernels": "#D55E00",
    "shuffle-taps": "#618253",
    "shuffle-weights": "#682C00",
    "resample-kernels": "#6275FF",
    "gaussian-kernels": "#2009DD",
    "gaussian": "#4B0092",
    "bank-layer": "#2D6987",
    "bank-kernels": "#4BA5FF",
    "gabor": "#6ADCD4",
    "glorot": "#4B000F",
    "rewind": "#2C325F",
    "reinit": "#6FBE4B",
    "scratch": "#4D4D4D",
    "scratch-long": "#938089",
}
OTHER = "#BAA18B"  # a treatment that has no colour here yet

UNTRAINED = "none"
MODE = "finetune"
SHUFFLE = "shuffle-kernels"  # the treatment of the thesis
INTACT, SHUFFLED, SCRATCH = "intact", "all kernels shuffled", "scratch"  # as legends have them
Loaded = list[tuple[dict[str, str], dict[str, np.ndarray]]]  # weights, each with what it is
Style = Literal["-", "--", ":"]
Entry = tuple[str, str, Style]  # of a legend: name, colour, line style
Entries = dict[str, Entry]

ABSENT = "no such arm in this study"


def colour(name: str) -> str:
    """Return the colour of a treatment (its suffixes don't matter), of `scratch`, or of `scratch-long`."""
    return COLOURS.get(name.split("+")[0], OTHER)


def rung(name: str) -> float:
    """Return a treatment's place in the order of the ladder; unknown ones stand before scratch."""
    order = list(COLOURS)
    base = name.split("+")[0]
    return order.index(base) if base in order else order.index("scratch") - 0.5


@dataclass(frozen=True)
class Setting:
    """A source and a target that a panel is about."""

    name: str
    source: str
    epoch: str
    target: str
    shots: str
    guess: str = ""  # of an uneven target: what always guessing its largest class gets right

    @property
    def label(self) -> str:
        """What goes where, and from how many images."""
        shots = "all images" if self.shots == "full" else f"{self.shots} shots"
        return f"{self.source} → {self.target}, {shots}" + (f", guessing gives {self.guess}" if self.guess else "")


def settings_of(frame: pd.DataFrame, view: View) -> list[Setting]:
    """Return the study's settings; where it names none, the pairs of source and target of its intact arms."""
    if view.settings:
        return [Setting(**setting) for setting in view.settings]
    rows = frame[(frame["source"] != UNTRAINED) & (frame["treatment"] == "intact") & (frame["mode"] == MODE)]
    keys = ["source", "epoch", "target", "shots"]
    found = rows[keys].astype(str).drop_duplicates().sort_values(keys)
    return [Setting(f"{s} at {e}", s, e, t, n) for s, e, t, n in found.itertuples(index=False)]


def of_study(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the rows of the figure's study."""
    return frame[frame["study"] == view.study]


def of_runs(design: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table of runs that belong to the rows of a design."""
    return design.drop(columns="study").merge(runs, on=[key for key in KEYS if key in runs], how="inner")


def in_panel(frame: pd.DataFrame, view: View, architecture: str, setting: Setting) -> pd.DataFrame:
    """Return the rows of one architecture and setting: from its source with the study's recipe, and from scratch."""
    here = (
        (frame["architecture"] == architecture)
        & (frame["target"] == setting.target)
        & (frame["shots"] == setting.shots)
        & (frame["mode"] == MODE)
    )
    transferred = (
        (frame["source"] == setting.source) & (frame["epoch"] == setting.epoch) & (frame["recipe"] == view.recipe)
    )
    scratch = (frame["source"] == UNTRAINED) & (frame["treatment"] == "intact")
    return frame[here & (transferred | scratch)]


def treated(frame: pd.DataFrame, treatment: str, span: str = "all") -> pd.DataFrame:
    """Return the rows of one treatment and span of a pre-trained source."""
    return frame[(frame["source"] != UNTRAINED) & (frame["treatment"] == treatment) & (frame["span"] == span)]


def top_layers(treatment: str, span: str, depth: int) -> float:
    """Return how many top layers an arm shuffles; NaN for a span that isn't a top one."""
    if treatment == "intact":
        return 0
    if span == "all":
        return depth
    kind, _, number = span.partition("-")
    return int(number) if kind == "top" else float("nan")


@dataclass(frozen=True, eq=False)
class MainArm:
    """One of the arms that a panel compares, with how it is drawn."""

    name: str
    shade: str
    style: Style
    rows: pd.DataFrame

    @property
    def entry(self) -> Entry:
        """Its entry in a legend."""
        return (self.name, self.shade, self.style)


def main_arms(panel: pd.DataFrame, view: View) -> list[MainArm]:
    """Return intact, all kernels shuffled, and every recipe of scratch; those that the panel lacks are left out."""
    arms = [
        MainArm(INTACT, colour("intact"), "-", treated(panel, "intact")),
        MainArm(SHUFFLED, colour("shuffle-kernels"), "-", treated(panel, "shuffle-kernels")),
    ]
    scratch = panel[panel["source"] == UNTRAINED]
    for recipe in sorted({str(each) for each in scratch["recipe"]}):
        rows = scratch[scratch["recipe"] == recipe]
        if recipe == view.scratch_recipe:
            arms.insert(2, MainArm(SCRATCH, colour("scratch"), "--", rows))
        else:
            arms.append(MainArm(recipe, colour("scratch-long"), ":", rows))
    return [arm for arm in arms if len(arm.rows)]


# --- estimates ---------------------------------------------------------------------------


def estimates(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Return mean, low, high (95 % t-interval over rows, NaN for one) and n of `y` at each `x`."""
    rows = []
    for value, group in frame.groupby(x, observed=True):
        found = interval(group[y].to_numpy(dtype=float))
        rows.append((value, found.mean, *limits(found), found.n))
    return pd.DataFrame(rows, columns=[x, "mean", "low", "high", "n"])


def limits(found: Interval) -> tuple[float, float]:
    """Return an interval's limits, NaN (which is not drawn) where they are infinite."""
    return (found.low, found.high) if np.isfinite(found.low) else (np.nan, np.nan)


def difference(of: pd.DataFrame, minus: pd.DataFrame, measure: str = "top1_test") -> Interval:
    """Return the paired difference of two arms over the seeds that both have."""
    a, b = (dict(zip(rows["seed"].tolist(), rows[measure].tolist(), strict=True)) for rows in (of, minus))
    both = a.keys() & b.keys()
    return interval(paired({s: a[s] for s in both}, {s: b[s] for s in both}))


# --- words -------------------------------------------------------------------------------


def points(value: float, signed: bool = False) -> str:
    """Write a difference of fractions in points of 100, with a real minus sign."""
    return f"{100 * value:{'+' if signed else ''}.1f}".replace("-", "−")


def how_many(counts: Iterable[int]) -> str:
    """Write n, or its range."""
    numbers = sorted({int(count) for count in counts})
    if not numbers:
        return "n = 0"
    return f"n = {numbers[0]}" if len(numbers) == 1 else f"n = {numbers[0]} to {numbers[-1]}"


def listed(words: Sequence[str]) -> str:
    """Join words by commas and `and`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def cost_sentence(subject: str, effects: Sequence[tuple[str, Interval]]) -> str:
    """Say what a treatment costs or gains, in points of test top-1, by where its interval lies.

    `effects` are paired differences to intact with the place each is from; with more than four the places
    are counted, not named.
    """
    known = [(place, effect) for place, effect in effects if effect.n and np.isfinite(effect.mean)]
    if not known:
        return f"{subject}: {ABSENT}"
    groups = {
        "costs": [each for each in known if each[1].high < 0],
        "gains": [each for each in known if each[1].low > 0],
    }
    unclear = [each for each in known if not any(each in group for group in groups.values())]
    clauses = []
    for verb, group in groups.items():
        if not group:
            continue
        sizes = sorted(abs(effect.mean) for _, effect in group)
        if len(known) > 4:
            span = points(sizes[0]) if len(sizes) == 1 else f"{points(sizes[0])} to {points(sizes[-1])}"
            clauses.append(f"{verb} {span} points of test top-1 in {len(group)} of {len(known)} panels")
        else:
            parts = [f"{points(abs(effect.mean))} ({place})" for place, effect in group]
            clauses.append(f"{verb} {listed(parts)} points of test top-1")
    if unclear:
        parts = [f"{place}: {points(effect.mean, signed=True)}" for place, effect in unclear]
        where = f"{len(unclear)} of {len(known)} panels" if len(known) > 4 else "; ".join(parts)
        clauses.append(f"shows no clear difference ({where})")
    return f"{subject} {listed(clauses)} ({how_many(effect.n for _, effect in known)})"


# --- drawing -----------------------------------------------------------------------------


def new_figure(height: float, title: str) -> Figure:
    """Return an empty figure of the full width with its title, which is wrapped to fit."""
    # no-break spaces, so that a number stays with what it is of
    lines = textwrap.wrap(title.replace(" = ", "\u00a0=\u00a0").replace(" %", "\u00a0%"), 95)
    figure = Figure(figsize=(WIDTH, height + 0.15 * len(lines)), layout="constrained")
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontweight="bold")
    return figure


def panel_name(architecture: str, setting: Setting | None, columns: int = 1) -> list[str]:
    """Return a panel's architecture and setting, in lines that fit into one of `columns`."""
    lines = [architecture] if setting is None else [f"{architecture}, {setting.name}", setting.label]
    wide = max(100 // columns, 20)
    return [part for line in lines for part in textwrap.wrap(line, wide)]


def name_panel(axes: Axes, architecture: str, setting: Setting | None, columns: int = 1) -> None:
    """Write above a panel its architecture and setting."""
    axes.set_title("\n".join(panel_name(architecture, setting, columns)), loc="left", fontsize=7.5)


def name_x(axes: Axes, text: str, columns: int) -> None:
    """Name a panel's horizontal axis, in lines that fit into one of `columns`."""
    axes.set_xlabel("\n".join(textwrap.wrap(text, 84 // max(columns, 1))))


def within(axes: Axes, low: float, high: float) -> None:
    """Keep the vertical axis to what a measure can be; intervals of few seeds may reach beyond."""
    bottom, top = axes.get_ylim()
    room = 0.02 * (high - low)
    axes.set_ylim(max(bottom, low - room), min(top, high + room))


def errors(found: pd.DataFrame, scale: float = 1.0) -> np.ndarray:
    """Return the lengths of the lower and upper halves of intervals, as `errorbar` takes them."""
    return scale * np.stack([found["mean"] - found["low"], found["high"] - found["mean"]])


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
    words = "\n".join(textwrap.wrap(text, 110))
    figure.text(0.015, 1 + pad, words, ha="left", va="bottom", fontsize=8, **{"color": "#3C3C3C", **looks})


def say(axes: Axes, text: str = ABSENT) -> None:
    """Write into an empty panel why it is empty."""
    axes.text(0.5, 0.5, textwrap.fill(text, 24), transform=axes.transAxes, ha="center", va="center", color="#767676")
    axes.set_xticks([])
    axes.set_yticks([])


def band(axes: Axes, found: pd.DataFrame, x: str, shade: str, style: Style = "-", scale: float = 1.0) -> None:
    """Draw a mean over `x` with its interval as a band."""
    axes.plot(found[x], scale * found["mean"], color=shade, linestyle=style)
    axes.fill_between(found[x], scale * found["low"], scale * found["high"], color=shade, alpha=0.2, linewidth=0)


GUESSING = "dotted: always guessing the largest class"


def guess(axes: Axes, largest: pd.Series, upright: bool = False) -> None:
    """Draw what always guessing the largest class gets right; where it lies beyond the axis that stays as it is."""
    limits = axes.get_xlim(), axes.get_ylim()
    for share in sorted(set(largest)):
        (axes.axvline if upright else axes.axhline)(
            100 * share, color="#767676", linestyle=":", linewidth=0.9, zorder=0
        )
    axes.set(xlim=limits[0], ylim=limits[1])


def guessed(largest: pd.Series) -> str:
    """Say what always guessing the largest class gets right, and how it is drawn."""
    ends = [f"{100 * share:.1f}" for share in (largest.min(), largest.max())]
    return f"{GUESSING}, {' to '.join(dict.fromkeys(ends))} %" if len(largest) else ""


def legend(figure: Figure, entries: Entries, title: str, columns: int = 4) -> None:
    """Put a legend of lines (name, colour, style) below the panels; its title says how intervals are made."""
    handles = [Line2D([], [], color=shade, linestyle=style, label=name) for name, shade, style in entries.values()]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        title=title,
        title_fontsize=7.5,
        handlelength=2.2,
    )
