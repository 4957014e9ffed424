"""Which rows of the tables a figure shows, and their means over seeds."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from whypretrain.evidence.statistics import Interval, interval
from whypretrain.evidence.values import paired
from whypretrain.figures.plotting.palette import MARKERS, MODE, SHADES, Look, along, colour, rung
from whypretrain.figures.plotting.view import View
from whypretrain.figures.plotting.wording import epoch_text, shots_text
from whypretrain.grid.coordinates import KEYS, split_epoch

UNTRAINED = "none"
SHUFFLE = "shuffle-kernels"  # the treatment of the thesis
INTACT, SHUFFLED, SCRATCH = "intact", "all kernels shuffled", "scratch"  # as legends have them
MOST_ARMS = 8  # curves in a panel
# what features are of: moment and images, and how a panel's heading says it
FEATURES = {
    "start source": "source images, start",
    "start target": "target images, start",
    "final target": "target images, end",
}


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
        guess = f", guessing gives {self.guess}" if self.guess else ""
        return f"{self.source} → {self.target}, {shots_text(self.shots)}{guess}"


# --- rows --------------------------------------------------------------------------------


def settings_of(frame: pd.DataFrame, view: View) -> list[Setting]:
    """Return the study's settings; where it names none, the pairs of source and target of its intact arms."""
    if view.settings:
        return [Setting(**setting) for setting in view.settings]
    rows = frame[(frame["source"] != UNTRAINED) & (frame["treatment"] == "intact") & (frame["mode"] == MODE)]
    keys = ["source", "epoch", "target", "shots"]
    found = rows[keys].astype(str).drop_duplicates().sort_values(keys)
    return [Setting(f"{s} at {e}", s, e, t, n) for s, e, t, n in found.itertuples(index=False)]


def settings_in(frame: pd.DataFrame, view: View) -> list[str]:
    """Return the settings that a table's rows name, those of the study first and in its order.

    One of several pairs of source and target has no number there, as each of its pairs has in the study's view.
    """
    names = [str(setting["name"]) for setting in view.settings]
    order = list(dict.fromkeys(each for name in names for each in (name, re.sub(r" \d+$", "", name))))
    found = {str(name) for name in frame["setting"].unique()}
    return [name for name in order if name in found] + sorted(found - set(order))


def of_study(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the rows of the figure's study."""
    return frame[frame["study"] == view.study]


def of_runs(design: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table of runs that belong to the rows of a design."""
    return design.drop(columns="study").merge(runs, on=[key for key in KEYS if key in runs], how="inner")


def selected_runs(design: pd.DataFrame, runs: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the rows of a table of runs that are of the study, at the selected rates."""
    design = of_study(design, view)
    return of_runs(design[design["selected"]], runs)


def measured(design: pd.DataFrame, table: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the rows of a measure that are of the study's runs; a probe has no learning rate, and is kept."""
    rows, own = (each.astype({"learning_rate": float}).fillna({"learning_rate": 0.0}) for each in (design, table))
    found = of_study(rows, view)[list(KEYS)].merge(own, on=list(KEYS))
    return found.replace({"learning_rate": {0.0: np.nan}})


def in_panel(frame: pd.DataFrame, view: View, architecture: str, setting: Setting) -> pd.DataFrame:
    """Return the rows of one architecture and setting: from its source with the study's recipe, and from scratch."""
    here = (frame["architecture"] == architecture) & on_target(frame, setting)
    own = (frame["source"] == setting.source) & (frame["epoch"] == setting.epoch) & (frame["recipe"] == view.recipe)
    scratch = (frame["source"] == UNTRAINED) & (frame["treatment"] == "intact")
    return frame[here & (own | scratch)]


def on_target(frame: pd.DataFrame, setting: Setting) -> pd.Series:
    """Return which rows are fine-tuned on a setting's target."""
    return (frame["target"] == setting.target) & (frame["shots"] == setting.shots) & (frame["mode"] == MODE)


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


def shuffled(frame: pd.DataFrame, depth: int) -> pd.DataFrame:
    """Return the rows of a pre-trained source, intact or with kernels of top layers shuffled: of how many `layers`."""
    rows = frame[(frame["source"] != UNTRAINED) & frame["treatment"].isin(["intact", SHUFFLE])]
    spans = zip(rows["treatment"], rows["span"], strict=True)
    return rows.assign(layers=[top_layers(str(treatment), str(span), depth) for treatment, span in spans]).dropna(
        subset="layers"
    )


def checkpoints(frame: pd.DataFrame, view: View) -> tuple[str, pd.DataFrame]:
    """Return what the first setting is that has any, and its intact fine-tuned runs, their epoch as the number `at`.

    They start from annealed branches and from epoch 0; from raw checkpoints where there is no branch.
    """
    rows = frame[(frame["treatment"] == "intact") & (frame["recipe"] == view.recipe)]
    for setting in settings_of(rows, view):
        here = rows[(rows["source"] == setting.source) & on_target(rows, setting)]
        epochs = {epoch: split_epoch(str(epoch)) for epoch in here["epoch"].unique()}
        branches = any(annealed for _, annealed in epochs.values())
        wanted = {epoch: at for epoch, (at, annealed) in epochs.items() if annealed or at == 0 or not branches}
        here = here[here["epoch"].isin(list(wanted))]
        if len(here):
            return f"{setting.name} ({setting.label}); ", here.assign(at=[wanted[epoch] for epoch in here["epoch"]])
    return "", rows[:0].assign(at=pd.Series(dtype=float))


class MainArm(NamedTuple):
    """One of the arms that a panel compares, with how it is drawn."""

    name: str
    look: Look
    rows: pd.DataFrame


def main_arms(panel: pd.DataFrame, view: View) -> list[MainArm]:
    """Return intact, all kernels shuffled, and every recipe of scratch; those that the panel lacks are left out."""
    scratch = panel[panel["source"] == UNTRAINED]
    found = {
        Look(INTACT, colour("intact"), marker=""): treated(panel, "intact"),
        Look(SHUFFLED, colour(SHUFFLE), marker=""): treated(panel, SHUFFLE),
        Look(SCRATCH, colour("scratch"), "--", ""): scratch[scratch["recipe"] == view.scratch_recipe],
    }
    for recipe in sorted({str(each) for each in scratch["recipe"]} - {view.scratch_recipe}):
        found[Look(recipe, colour("scratch-long"), ":", "")] = scratch[scratch["recipe"] == recipe]
    return [MainArm(look.name, look, rows) for look, rows in found.items() if len(rows)]


# --- means over seeds ------------------------------------------------------------------------


def estimates(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Return mean, low, high (95 % t-interval over rows, NaN for one) and n of `y` at each `x`."""
    rows = [(value, *estimate(interval(each))) for value, each in frame.astype({y: float}).groupby(x, observed=True)[y]]
    return pd.DataFrame(rows, columns=[x, "mean", "low", "high", "n"])


def means(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Return mean, interval and n of `y` at each `x` over the seeds that have a value; NaN and 0 where none has."""
    found = estimates(frame.dropna(subset=[y]), x, y).set_index(x)
    found = found.reindex(pd.Index(sorted(frame[x].unique()), name=x)).reset_index()
    return found.assign(n=found["n"].fillna(0).astype(int))


def estimate(found: Interval) -> tuple[float, float, float, int]:
    """Return an interval's mean, limits and n."""
    return found.mean, *limits(found), found.n


def limits(found: Interval) -> tuple[float, float]:
    """Return an interval's limits, NaN (which is not drawn) where they are infinite."""
    return (found.low, found.high) if np.isfinite(found.low) else (np.nan, np.nan)


def difference(of: pd.DataFrame, minus: pd.DataFrame, measure: str = "top1_test") -> Interval:
    """Return the paired difference of two arms over the seeds that both have."""
    a, b = (dict(zip(rows["seed"].tolist(), rows[measure].tolist(), strict=True)) for rows in (of, minus))
    return interval(list(paired(a, b).values()))


def at_most(rows: pd.DataFrame, quantity: str, view: View) -> dict[str, tuple[str, float]]:
    """Return, place by place, the largest n at which a quantity is known with that place, and its mean there."""
    last = (
        rows[rows["quantity"] == quantity]
        .sort_values("layers")
        .drop_duplicates(["architecture", "setting"], keep="last")
    )
    found = {}
    for architecture in view.architectures:
        for setting in settings_in(rows, view):
            mine = last[(last["architecture"] == architecture) & (last["setting"] == setting)]
            for n, mean in zip(mine["layers"], mine["mean"], strict=True):
                found[f"{architecture}, {setting}"] = (f"{architecture}, {setting}, n = {n}", float(mean))
    return found


# --- arms of a figure with a curve for each ----------------------------------------------------


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
        return self.source == UNTRAINED

    @property
    def order(self) -> tuple:
        """Its place in a legend: along sources, epochs and the ladder, and what has no source last."""
        return (self.untrained, self.source, *split_epoch(self.epoch), rung(self.treatment), *self)


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
        lambda arm: arm.mode == MODE,
        lambda arm: arm.recipe in (view.recipe, view.scratch_recipe),
        lambda arm: arm.span == "all",
        lambda arm: split_epoch(arm.epoch)[1] or split_epoch(arm.epoch)[0] == 0,
    )
    for wish in wishes:
        if len(arms) > MOST_ARMS:
            arms = [arm for arm in arms if wish(arm)] or arms
    return spread(arms, MOST_ARMS)


def spread(items: list, most: int) -> list:
    """Return at most so many of the items, the first, the last and those at equal steps between."""
    if len(items) <= most:
        return items
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


def course_names(arms: Sequence[Course]) -> dict[Course, str]:
    """Name arms by what differs between them."""
    targets = {(arm.target, arm.shots) for arm in arms}
    named = {}
    for arm in arms:
        alike = [other for other in arms if other.untrained == arm.untrained]
        differs = {field for field in Course._fields if len({getattr(other, field) for other in alike}) > 1}
        words = []
        if arm.untrained:
            words.append("scratch" if arm.mode == MODE else "untrained")
        else:
            words += [arm.source] if "source" in differs else []
            words += [checkpoint(arm.epoch)] if "epoch" in differs else []
            if differs & {"treatment", "span"}:
                words.append(arm.treatment if arm.span == "all" else f"{arm.treatment} {arm.span}")
        words += [f"{arm.target}, {shots_text(arm.shots)}"] if len(targets) > 1 else []
        words += [getattr(arm, field) for field in ("mode", "recipe") if field in differs]
        named[arm] = ", ".join(words) or arm.treatment
    return named


def checkpoint(epoch: str) -> str:
    """Name a checkpoint."""
    at, annealed = split_epoch(epoch)
    return f"epoch {epoch_text(at)}{' annealed' if annealed else ''}"


def course_looks(arms: Sequence[Course]) -> dict[Course, Look]:
    """Return how arms are drawn: by their treatments' colours, or along epochs, where that tells them apart."""
    trained = [arm for arm in arms if not arm.untrained]
    shades = [colour("scratch" if arm.untrained else arm.treatment) for arm in arms]
    if len(trained) > 1 and len({arm._replace(epoch="") for arm in trained}) == 1:
        shades = along(len(trained)) + shades[len(trained) :]  # what has no source stands last
    elif len(set(shades)) < len(arms):
        shades = list(SHADES[: len(arms)])
    return {
        arm: Look(name, shade, "--" if arm.untrained else "-", marker)
        for (arm, name), shade, marker in zip(course_names(arms).items(), shades, MARKERS, strict=False)
    }


def by_course(frame: pd.DataFrame, view: View) -> tuple[pd.DataFrame, dict[str, Look]]:
    """Return the rows of a figure's arms, each with its name as `arm`, and how they are drawn."""
    looks = course_looks(courses(frame, view))
    fields = frame[list(Course._fields)].astype(str)
    names = pd.DataFrame([{**arm._asdict(), "arm": look.name} for arm, look in looks.items()], columns=[*fields, "arm"])
    arms = fields.merge(names, how="left")["arm"].to_numpy()
    return frame.assign(arm=arms).dropna(subset="arm"), {look.name: look for look in looks.values()}
