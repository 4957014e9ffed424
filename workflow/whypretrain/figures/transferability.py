"""Distance and transferability scores of each start against what the start is worth on the target."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from whypretrain.evidence.values import rank_correlation
from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("starts", "arms")
SCORES = {"proxy_a_distance": "proxy A-distance", "log_me": "LogME (nats an image)", "leep": "LEEP (nats an image)"}
SHOWN = (palette.MODE, "probe")
FILLS: tuple[palette.Fill, ...] = ("full", "none", "left", "bottom", "right", "top")  # architectures
START = ["architecture", "source", "epoch", "target", "shots"]


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each target with its shots (rows) and each score (columns)."""
    dots = dots_of(tables["starts"], choice.of_study(tables["arms"], view), view)
    known = dots[dots[list(SCORES)].notna().any(axis=1)]
    names = sorted(set(known["source"]))
    sources = {name: palette.MARKERS[number % len(palette.MARKERS)] for number, name in enumerate(names)}
    fills = dict(zip(view.architectures, FILLS * len(view.depths), strict=False))

    def paint(axes: Axes, panel: Panel) -> set[int]:
        for row in panel.rows.to_dict("records"):
            look = Look(
                "", palette.MODES[row["mode"]], "none", sources[row["source"]], fills[row["architecture"]], size=5.5
            )
            x, y = ([row[name + end] for end in ("", "_low", "_high")] for name in (panel.of, "top1_test"))
            bars: dict[str, Any] = {"xerr": _halves(*x), "yerr": _halves(*(100 * each for each in y))}
            axes.errorbar([x[0]], [100 * y[0]], **bars, elinewidth=0.6, **look.style)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.ticklabel_format(axis="x", useOffset=False)
        return set(panel.rows["n"])

    entries = [Look(mode, palette.MODES[mode], "none", "s") for mode in SHOWN if (dots["mode"] == mode).any()]
    entries += [Look(f"from {name}", "#000000", "none", marker) for name, marker in sources.items()]
    if len(view.depths) > 1:
        held = set(dots["architecture"])
        entries += [Look(name, "#000000", "none", fill=fill) for name, fill in fills.items() if name in held]
    return drawing.draw_panels(
        title(dots),
        [[_panel(dots, score, place) for score in SCORES] for place in places(dots) or [("", "")]],
        paint,
        x=list(SCORES.values()),
        y="test top-1 (%)",
        height=2.45,
        bounds=(0, 100),
        looks=[look._replace(size=5) for look in entries],
        told=f"{drawing.MEANS}; ρ: rank correlation over dots",
        absent="no such score" if len(dots) else wording.ABSENT,
    )


def dots_of(starts: pd.DataFrame, arms: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return a row for each setting's start, architecture and mode: its test top-1, and each score's mean over seeds.

    Starts are intact ones of trained sources; scores have limits of 95 % t-intervals as `…_low` and `…_high`, NaN
    where unknown, as scores themselves are.
    """
    arms, starts = (each[(each["treatment"] == "intact") & (each["span"] == "all")] for each in (arms, starts))
    own = arms[
        (arms["source"] != choice.UNTRAINED) & arms["recipe"].isin([view.recipe, "none"]) & arms["mode"].isin(SHOWN)
    ]
    asked = pd.DataFrame([vars(at) for at in choice.settings_of(arms, view)], columns=["name", *START[1:]])[START[1:]]
    own = own.astype(dict.fromkeys([*START, "mode"], str)).merge(asked.drop_duplicates(), on=START[1:])
    found = own[[*START, "mode", "n", "top1_test", "top1_test_low", "top1_test_high"]]
    starts = starts.astype(dict.fromkeys(START, str))
    for score in SCORES:
        known = starts.dropna(subset=score)
        known = known.assign(start=pd.MultiIndex.from_frame(known[START]).to_flat_index())
        means = choice.estimates(known, "start", score).rename(
            columns={"mean": score, "low": f"{score}_low", "high": f"{score}_high"}
        )
        keys = pd.DataFrame(means.pop("start").tolist(), columns=START, dtype=str)
        found = found.merge(keys.join(means.drop(columns="n").astype(float)), on=START, how="left")
    return found


def places(dots: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the targets with their shots that any dot with a score is of."""
    known = dots[dots[list(SCORES)].notna().any(axis=1)]
    held = set(zip(known["target"], known["shots"], strict=True))
    return [(t, n) for t in dict.fromkeys(known["target"]) for n in wording.in_order(known["shots"]) if (t, n) in held]


def correlations(dots: pd.DataFrame, score: str) -> dict[str, tuple[float, int]]:
    """Return Spearman's rank correlation of a score with test top-1 and the number of dots, by mode."""
    found = {}
    for mode in SHOWN:
        mine = dots[dots["mode"] == mode].dropna(subset=[score, "top1_test"])
        if len(mine):
            found[mode] = (rank_correlation(mine[score].tolist(), mine["top1_test"].tolist()), len(mine))
    return found


def _panel(dots: pd.DataFrame, score: str, place: tuple[str, str]) -> Panel:
    """Return the panel of a target and a score, named with the correlations of its dots."""
    here = dots[(dots["target"] == place[0]) & (dots["shots"] == place[1])].dropna(subset=[score, "top1_test"])
    lines = [f"{place[0]}, {wording.shots_text(place[1])}"] if any(place) else []
    for mode, (value, count) in correlations(here, score).items():
        lines.append(f"ρ {mode}: {wording.plain(value)} ({count} dot{'s' if count > 1 else ''})")
    return Panel("\n".join(lines), here, of=score)


def _halves(mean: float, low: float, high: float) -> np.ndarray:
    return np.array([[mean - low], [high - mean]])


def title(dots: pd.DataFrame) -> str:
    """Say how each score goes together with test top-1, over the panels."""
    said: list[str] = []
    counts: set[int] = set()
    defined: list[float] = []
    for score, name in SCORES.items():
        panels = [correlations(_panel(dots, score, place).rows, score) for place in places(dots)]
        told = []
        for mode in SHOWN:
            found = [panel[mode] for panel in panels if mode in panel]
            counts.update(count for _, count in found)
            values = [value for value, _ in found if np.isfinite(value)]
            defined += values
            told += [f"{wording.span(values, wording.plain) if values else 'undefined'} ({mode})"] if found else []
        said += [f"{name.split(' (')[0]} {wording.listed(told)}"] if told else []
    if not said:
        return f"Scores of transferability: {wording.ABSENT}"
    if not defined:
        return f"No rank correlation of scores and test top-1 is defined ({wording.how_many(dots['n'])})"
    dot = f"{wording.span(sorted(counts))} dot{'s' if counts != {1} else ''} a panel"
    return f"Rank correlation with test top-1 over {dot}: {'; '.join(said)} ({wording.how_many(dots['n'])})"
