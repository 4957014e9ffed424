"""What the figures of layers, checkpoints and pairs share: curves, their looks, axes of epochs, the choice of arms."""

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from whypretrain.figures.plotting import drawing
from whypretrain.figures.plotting.view import View
from whypretrain.grid.coordinates import KEYS, split_epoch

# any two of them stay apart in normal, deuteranope and protanope vision: they are of `drawing.COLOURS`
SHADES = ("#0072B2", "#D55E00", "#FFC20A", "#4B0092", "#22C4EC", "#618253", "#682C00", "#938089")
MARKERS = "osD^v<>P"
STYLES: tuple[drawing.Style, ...] = ("-", "--", ":")
# modes, and the families that the mode map compares, the cheapest first
MODES = {
    "probe": "#0072B2",
    "probe+source-norm": "#22C4EC",
    "probe-L": "#6275FF",
    "svm-L": "#2009DD",
    "freeze-N": "#682C00",
    "lpft": "#FFC20A",
    drawing.MODE: "#D55E00",
    "scratch": drawing.COLOURS["scratch"],
}

MOST_ARMS = 8  # curves in a panel
NAMED = 2  # places that a title names; of more it gives the range
FRACTIONS = {0.125: "⅛", 0.25: "¼", 0.375: "⅜", 0.5: "½", 0.625: "⅝", 0.75: "¾", 0.875: "⅞"}

# what the features are of: moment, images, and how a panel's heading says it
FEATURES = (
    ("start", "source", "source images, start"),
    ("start", "target", "target images, start"),
    ("final", "target", "target images, end"),
)


@dataclass(frozen=True)
class Look:
    """How a curve is drawn, and its name in the legend."""

    name: str
    shade: str
    style: drawing.Style | Literal["none"] = "-"
    marker: str = "o"
    filled: bool = True
    width: float = 1.4

    def line(self) -> Line2D:
        """Return its entry in a legend."""
        return Line2D(
            [],
            [],
            color=self.shade,
            linestyle=self.style,
            linewidth=self.width,
            marker=self.marker,
            markersize=4,
            markerfacecolor=self.shade if self.filled else "white",
            label="\n".join(textwrap.wrap(self.name, 80)),
        )


# --- panels ------------------------------------------------------------------------------


def panels(figure: Figure, view: View, columns: int) -> np.ndarray:
    """Return the axes of a row for each architecture, at least one column wide."""
    return figure.subplots(len(view.depths), max(columns, 1), squeeze=False)


def head(axes: Axes, words: Sequence[str], columns: int) -> None:
    """Write above a panel what it is of, in lines that fit into one of `columns`."""
    text = "\n".join(textwrap.wrap(", ".join(words), max(100 // max(columns, 1), 18)))
    axes.set_title(text, loc="left", fontsize=7.5)


def settings_in(frame: pd.DataFrame, view: View) -> list[str]:
    """Return the settings that a table's rows name, those of the study first and in its order.

    One of several pairs of source and target has no number there, as each of its pairs has in the study's view.
    """
    names = [str(setting["name"]) for setting in view.settings]
    order = list(dict.fromkeys(each for name in names for each in (name, re.sub(r" \d+$", "", name))))
    found = {str(name) for name in frame["setting"].unique()}
    return [name for name in order if name in found] + sorted(found - set(order))


def filled(
    grid: np.ndarray, rows: pd.DataFrame, view: View, settings: Sequence[str]
) -> Iterator[tuple[Axes, pd.DataFrame, str, str]]:
    """Name the panel of each architecture (rows) and setting (columns); yield those that hold anything.

    With the panel come its rows of the table, its architecture and its setting. The others say that they are empty.
    """
    for line, architecture in zip(grid, view.architectures, strict=False):
        for axes, setting in zip(line, settings or [""], strict=True):  # without settings there is one empty column
            head(axes, [part for part in (architecture, setting) if part], len(settings))
            here = rows[(rows["architecture"] == architecture) & (rows["setting"] == setting)]
            if here.empty:
                drawing.say(axes)
            else:
                yield axes, here, architecture, setting


def level(row: Iterable[Axes]) -> None:
    """Give the panels of a row that hold anything one vertical scale, which takes in that of each."""
    drawn = [axes for axes in row if axes.has_data()]
    limits = [axes.get_ylim() for axes in drawn]
    for axes in drawn:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def legend(figure: Figure, looks: Iterable[Look], title: str) -> None:
    """Put a legend below the panels, in as many columns as its names leave room for."""
    lines = [look.line() for look in looks]
    if not lines:
        return
    longest = max((len(part) for line in lines for part in str(line.get_label()).split("\n")), default=1)
    most = min(max(int(6.6 / (0.062 * longest + 0.6)), 1), 5)
    deep = -(-len(lines) // most)
    figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=-(-len(lines) // deep),
        title="\n".join(textwrap.wrap(title, 110)),
        title_fontsize=7.5,
        handlelength=2.2,
    )


def layer_axis(axes: Axes, first: int, depth: int) -> None:
    """Let the horizontal axis be layers, from `first` to the network's depth."""
    axes.set_xlim(first - 0.5, depth + 0.5)
    axes.set_xticks(range(first, depth + 1, -(-(depth + 1) // 9)))


def epoch_text(epoch: float) -> str:
    """Write a checkpoint's epoch, the usual fractions as such."""
    whole, part = divmod(epoch, 1)
    if part in FRACTIONS:
        return f"{int(whole) if whole else ''}{FRACTIONS[part]}"
    return f"{epoch:g}"


def epoch_axis(axes: Axes, epochs: Sequence[float], columns: int) -> None:
    """Let places 0, 1, 2, … of the horizontal axis be checkpoints, and name as many as there is room for."""
    texts = [epoch_text(epoch) for epoch in epochs]
    needed = sum(0.065 * len(text) + 0.09 for text in texts)  # inches
    step = max(int(np.ceil(needed / max(6.2 / max(columns, 1) - 0.4, 0.5))), 1)
    places = range(0, len(texts), step)
    axes.set_xticks(list(places), [texts[place] for place in places])
    axes.set_xlim(-0.5, len(texts) - 0.5)


def places_of(epochs: pd.Series) -> dict[float, int]:
    """Return each epoch's place on an axis of equal steps."""
    return {epoch: place for place, epoch in enumerate(sorted(set(epochs.astype(float))))}


def along(count: int) -> list[str]:
    """Return so many colours, from dark to light, of a sequential map."""
    return [to_hex(matplotlib.colormaps["viridis"](place)) for place in np.linspace(0, 0.92, max(count, 1))]


def spread(items: list, most: int) -> list:
    """Return at most so many of the items, the first, the last and those at equal steps between."""
    if len(items) <= most:
        return items
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


# --- curves ------------------------------------------------------------------------------


def means(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Return mean, interval and n of `y` at each `x` over the seeds that have a value; NaN and 0 where none has."""
    found = drawing.estimates(frame.dropna(subset=[y]), x, y).set_index(x)
    found = found.reindex(pd.Index(sorted(frame[x].unique()), name=x)).reset_index()
    return found.assign(n=found["n"].fillna(0).astype(int))


def curve(axes: Axes, found: pd.DataFrame, x: str, look: Look, scale: float = 1.0, shift: float = 0.0) -> set[int]:
    """Draw means with their intervals; rows without a mean leave a gap. Returns the numbers of seeds drawn."""
    if found.empty or found["mean"].isna().all():
        return set()
    axes.errorbar(
        found[x].astype(float) + shift,
        scale * found["mean"],
        yerr=drawing.errors(found, scale),
        color=look.shade,
        linestyle=look.style,
        linewidth=look.width,
        marker=look.marker,
        markersize=3.5,
        markerfacecolor=look.shade if look.filled else "white",
        capsize=1.5,
        elinewidth=0.8,
    )
    return {int(n) for n in found.loc[found["mean"].notna(), "n"]}


def shifts(count: int, width: float = 0.3) -> list[float]:
    """Return how far curves stand beside their place, so that their intervals don't hide each other."""
    return list(np.linspace(-width / 2, width / 2, count)) if count != 1 else [0.0]


# --- words -------------------------------------------------------------------------------


def ranged(found: Sequence[tuple[str, float]], write: Callable[[float], str], what: str = "panels") -> str:
    """Write numbers, each with its place; of more than two their range. What isn't finite is left out."""
    known = [(place, value) for place, value in found if np.isfinite(value)]
    if not known:
        return "undefined"
    if len(known) <= NAMED:
        return drawing.listed([f"{write(value)} ({place})" for place, value in known])
    values = sorted(value for _, value in known)
    ends = dict.fromkeys((write(values[0]), write(values[-1])))
    return f"{' to '.join(ends)} ({len(known)} {what})"


def signed(value: float) -> str:
    """Write a difference of fractions in points, with its sign."""
    return drawing.points(value, signed=True)


def plain(value: float) -> str:
    """Write a number with two digits after its point, and a real minus sign; NaN as `undefined`."""
    return f"{value:.2f}".replace("-", "−") if np.isfinite(value) else "undefined"


def extremes(found: Sequence[tuple[str, str, float]]) -> str:
    """Say which curve has the least and which the largest number, in each place; in many the range over all."""
    known = [each for each in found if np.isfinite(each[2])]
    places = list(dict.fromkeys(place for place, _, _ in known))
    if not places:
        return "undefined"
    if len(places) > NAMED:
        values = sorted(value for _, _, value in known)
        return f"{plain(values[0])} to {plain(values[-1])} ({len(places)} architectures)"
    said = []
    for place in places:
        here = sorted(((value, name) for where, name, value in known if where == place), key=lambda each: each[0])
        ends = [here[0], here[-1]] if len(here) > 1 else here
        said.append(f"{' to '.join(f'{plain(value)} ({name})' for value, name in ends)} in {place}")
    return "; ".join(said)


def at_most(rows: pd.DataFrame, quantity: str, view: View) -> list[tuple[str, int, float]]:
    """Return, place by place, the largest n at which a quantity is known, and its mean there."""
    found = []
    for architecture in view.architectures:
        for setting in settings_in(rows, view):
            here = (rows["architecture"] == architecture) & (rows["setting"] == setting)
            mine = rows[here & (rows["quantity"] == quantity)].sort_values("layers")
            if len(mine):
                last = mine.iloc[-1]
                found.append((f"{architecture}, {setting}", int(last["layers"]), float(last["mean"])))
    return found


# --- runs of the study ---------------------------------------------------------------------


def measured(design: pd.DataFrame, table: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the rows of a measure that are of the study's runs; a probe has no learning rate, and is kept."""
    rows = drawing.of_study(design, view)[list(KEYS)].astype({"learning_rate": float}).fillna({"learning_rate": 0.0})
    own = table.astype({"learning_rate": float}).fillna({"learning_rate": 0.0})
    return rows.merge(own, on=list(KEYS)).replace({"learning_rate": {0.0: np.nan}})


def checkpoints(frame: pd.DataFrame, view: View) -> tuple[drawing.Setting | None, pd.DataFrame]:
    """Return the first setting that has any, and its intact fine-tuned runs, their epoch as the number `at`.

    They start from annealed branches and from epoch 0; from raw checkpoints where there is no branch.
    """
    rows = frame[(frame["mode"] == drawing.MODE) & (frame["treatment"] == "intact") & (frame["recipe"] == view.recipe)]
    for setting in drawing.settings_of(rows, view):
        here = rows[
            (rows["source"] == setting.source) & (rows["target"] == setting.target) & (rows["shots"] == setting.shots)
        ]
        epochs = {str(epoch): split_epoch(str(epoch)) for epoch in here["epoch"].unique()}
        branches = any(annealed for _, annealed in epochs.values())
        wanted = [epoch for epoch, (at, annealed) in epochs.items() if annealed or at == 0 or not branches]
        here = here[here["epoch"].isin(wanted)]
        if len(here):
            return setting, here.assign(at=[epochs[str(epoch)][0] for epoch in here["epoch"]])
    return None, rows[:0].assign(at=pd.Series(dtype=float))


class Course(NamedTuple):
    """An arm but for its architecture: what is the same curve in all rows of a figure."""

    source: str
    epoch: str
    treatment: str
    span: str
    target: str
    shots: str
    mode: str
    recipe: str

    @property
    def untrained(self) -> bool:
        """Whether it starts from no source."""
        return self.source == drawing.UNTRAINED

    @property
    def order(self) -> tuple:
        """Its place in a legend: along sources, epochs and the ladder, and what has no source last."""
        at, annealed = split_epoch(self.epoch)
        return (self.untrained, self.source, at, annealed, drawing.rung(self.treatment), *self)


def courses(frame: pd.DataFrame, view: View) -> list[Course]:
    """Return the arms of a figure, at most eight.

    Of more, those of the first setting's target are kept, then those of its source, what is fine-tuned, the recipes
    of the claims, treatments of all layers, and annealed checkpoints, until there are few enough; at last some at
    equal steps.
    """
    rows = frame[list(Course._fields)].astype(str).drop_duplicates()
    arms = sorted((Course(*row) for row in rows.itertuples(index=False)), key=lambda arm: arm.order)
    first = next(iter(view.settings), None)
    wishes: tuple[Callable[[Course], bool], ...] = (
        lambda arm: first is None or (arm.target, arm.shots) == (first["target"], first["shots"]),
        lambda arm: first is None or arm.untrained or arm.source == first["source"],
        lambda arm: arm.mode == drawing.MODE,
        lambda arm: arm.recipe in (view.recipe, view.scratch_recipe),
        lambda arm: arm.span == "all",
        lambda arm: split_epoch(arm.epoch)[1] or split_epoch(arm.epoch)[0] == 0,
    )
    for wish in wishes:
        kept = [arm for arm in arms if wish(arm)]
        if len(arms) > MOST_ARMS and kept:
            arms = kept
    return spread(arms, MOST_ARMS)


def course_names(arms: Sequence[Course]) -> dict[Course, str]:
    """Name arms by what differs between them."""
    targets = {(arm.target, arm.shots) for arm in arms}
    named = {}
    for arm in arms:
        alike = [other for other in arms if other.untrained == arm.untrained]
        differs = {field for field in Course._fields if len({getattr(other, field) for other in alike}) > 1}
        words = _words(arm, differs)
        if len(targets) > 1:
            words.append(f"{arm.target}, {'all images' if arm.shots == 'full' else f'{arm.shots} shots'}")
        words += [getattr(arm, field) for field in ("mode", "recipe") if field in differs]
        named[arm] = ", ".join(words) or arm.treatment
    return named


def _words(arm: Course, differs: set[str]) -> list[str]:
    """Return the words for where an arm starts."""
    if arm.untrained:
        return ["scratch" if arm.mode == drawing.MODE else "untrained"]
    words = [arm.source] if "source" in differs else []
    if "epoch" in differs:
        at, annealed = split_epoch(arm.epoch)
        words.append(f"epoch {epoch_text(at)}{' annealed' if annealed else ''}")
    if differs & {"treatment", "span"}:
        words.append(arm.treatment if arm.span == "all" else f"{arm.treatment} {arm.span}")
    return words


def course_looks(arms: Sequence[Course]) -> dict[Course, Look]:
    """Return how arms are drawn: by their treatments' colours, or along epochs, where that tells them apart."""
    trained = [arm for arm in arms if not arm.untrained]
    shades = [drawing.colour("scratch" if arm.untrained else arm.treatment) for arm in arms]
    if len(trained) > 1 and len({arm._replace(epoch="") for arm in trained}) == 1:
        shades = along(len(trained)) + shades[len(trained) :]  # what has no source stands last
    elif len(set(shades)) < len(arms):
        shades = [SHADES[number % len(SHADES)] for number in range(len(arms))]
    names = course_names(arms)
    return {
        arm: Look(names[arm], shade, "--" if arm.untrained else "-", MARKERS[number % len(MARKERS)])
        for number, (arm, shade) in enumerate(zip(arms, shades, strict=True))
    }


def of_course(frame: pd.DataFrame, arm: Course) -> pd.DataFrame:
    """Return the rows of an arm, in every architecture."""
    matches = [frame[field] == value for field, value in zip(Course._fields, arm, strict=True)]
    return frame[np.logical_and.reduce(matches)]
