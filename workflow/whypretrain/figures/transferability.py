"""Distance and transferability scores of each start against what the start is worth on the target."""

import textwrap
from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from whypretrain.evidence.values import rank_correlation
from whypretrain.figures.plotting import curve_drawing, drawing, mode_drawing
from whypretrain.figures.plotting.view import View

TABLES = ("starts", "arms")

SCORES = {
    "proxy_a_distance": "proxy A-distance",
    "log_me": "LogME (nats an image)",
    "leep": "LEEP (nats an image)",
}
SHOWN = (drawing.MODE, "probe")
Fill = Literal["full", "none", "left", "bottom", "right", "top"]
FILLS: tuple[Fill, ...] = ("full", "none", "left", "bottom", "right", "top")  # architectures
START = ["architecture", "source", "epoch", "target", "shots"]


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each target with its shots (rows) and each score (columns)."""
    dots = dots_of(tables["starts"], drawing.of_study(tables["arms"], view), view)
    lines = places(dots)
    figure = drawing.new_figure(2.45 * max(len(lines), 1) + 0.9, title(dots))
    grid = figure.subplots(max(len(lines), 1), len(SCORES), squeeze=False)
    sources, fills = _sources(dots), dict(zip(view.architectures, FILLS * len(view.depths), strict=False))
    for line, place in zip(grid, lines or [("", "")], strict=True):
        here = dots[(dots["target"] == place[0]) & (dots["shots"] == place[1])]
        for axes, (score, name) in zip(line, SCORES.items(), strict=True):
            known = here.dropna(subset=[score, "top1_test"])
            _name(axes, known, score, place)
            if known.empty:
                drawing.say(axes, "no such score" if len(dots) else drawing.ABSENT)
                continue
            _draw_panel(axes, known, score, sources, fills)
            axes.set_xlabel(name)
            drawing.within(axes, 0, 100)
        curve_drawing.level(line)
        if line[0].has_data():
            line[0].set_ylabel("test top-1 (%)")
        else:
            next((axes for axes in line if axes.has_data()), line[0]).set_ylabel("test top-1 (%)")
    _legend(figure, dots, sources, fills, view)
    return figure


def dots_of(starts: pd.DataFrame, arms: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return a row for each setting's start, architecture and mode: its test top-1, and each score's mean over seeds.

    Starts are intact ones of trained sources; scores have limits of 95 % t-intervals as `…_low` and `…_high`, NaN
    where unknown, as scores themselves are.
    """
    intact = arms[(arms["treatment"] == "intact") & (arms["span"] == "all") & (arms["source"] != drawing.UNTRAINED)]
    own = intact[intact["recipe"].isin([view.recipe, "none"]) & intact["mode"].isin(SHOWN)]
    settings = [vars(setting) for setting in drawing.settings_of(arms, view)]
    asked = pd.DataFrame(settings, columns=["name", *START[1:]])[START[1:]].drop_duplicates()
    kept = own.astype(dict.fromkeys([*START, "mode"], str)).merge(asked, on=START[1:])
    measured = starts[(starts["treatment"] == "intact") & (starts["span"] == "all")]
    scores = [
        drawing.estimates(group.dropna(subset=score).assign(score=score), "score", score).assign(
            **dict(zip(START, map(str, key), strict=True))
        )
        for key, group in measured.groupby(START, observed=True)
        for score in SCORES
    ]
    columns = [*START, "mode", "n", "top1_test", "top1_test_low", "top1_test_high"]
    found = kept[[column for column in columns if column in kept]]
    long = pd.concat(scores) if scores else pd.DataFrame(columns=[*START, "score", "mean", "low", "high"])
    for score in SCORES:
        names = {"mean": score, "low": f"{score}_low", "high": f"{score}_high"}
        mine = long[long["score"] == score].rename(columns=names)[[*START, *names.values()]]
        found = found.merge(mine.astype(dict.fromkeys(names.values(), float)), on=START, how="left")
    return found


def places(dots: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the targets with their shots that any dot with a score is of."""
    known = dots[dots[list(SCORES)].notna().any(axis=1)]
    targets = list(dict.fromkeys(known["target"]))
    shots = mode_drawing.in_order(known["shots"])
    held = set(zip(known["target"], known["shots"], strict=True))
    return [(target, each) for target in targets for each in shots if (target, each) in held]


def correlations(dots: pd.DataFrame, score: str) -> dict[str, tuple[float, int]]:
    """Return Spearman's rank correlation of a score with test top-1 and the number of dots, by mode."""
    found = {}
    for mode in SHOWN:
        mine = dots[dots["mode"] == mode].dropna(subset=[score, "top1_test"])
        if len(mine):
            found[mode] = (rank_correlation(mine[score].tolist(), mine["top1_test"].tolist()), len(mine))
    return found


def _name(axes: Axes, dots: pd.DataFrame, score: str, place: tuple[str, str]) -> None:
    """Write above a panel what it is of, and the correlations of its dots."""
    lines = textwrap.wrap(f"{place[0]}, {mode_drawing.shots_text(place[1])}", 34) if any(place) else []
    for mode, (value, count) in correlations(dots, score).items():
        lines.append(f"ρ {mode}: {curve_drawing.plain(value)} ({count} dot{'s' if count > 1 else ''})")
    axes.set_title("\n".join(lines), loc="left", fontsize=7.5)


def _sources(dots: pd.DataFrame) -> dict[str, str]:
    """Return a marker for each source that has a score."""
    names = sorted(set(dots.loc[dots[list(SCORES)].notna().any(axis=1), "source"]))
    return {name: curve_drawing.MARKERS[number % len(curve_drawing.MARKERS)] for number, name in enumerate(names)}


def _draw_panel(axes: Axes, dots: pd.DataFrame, score: str, sources: dict[str, str], fills: dict[str, Fill]) -> None:
    for row in dots.to_dict("records"):
        axes.errorbar(
            [row[score]],
            [100 * row["top1_test"]],
            xerr=_halves(row[score], row[f"{score}_low"], row[f"{score}_high"]),
            yerr=_halves(*(100 * row[f"top1_test{end}"] for end in ("", "_low", "_high"))),
            color=curve_drawing.MODES[row["mode"]],
            marker=sources[row["source"]],
            fillstyle=fills[row["architecture"]],
            markersize=5.5,
            linestyle="none",
            elinewidth=0.6,
        )
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.ticklabel_format(axis="x", useOffset=False)


def _halves(mean: float, low: float, high: float) -> np.ndarray:
    return np.array([[mean - low], [high - mean]])


def _legend(figure: Figure, dots: pd.DataFrame, sources: dict[str, str], fills: dict[str, Fill], view: View) -> None:
    """Say that colours are modes, marks sources and their filling architectures."""
    if dots.empty:
        return

    def entry(name: str, shade: str, marker: str, fill: Fill) -> Line2D:
        name = "\n".join(textwrap.wrap(name, 40))
        return Line2D([], [], color=shade, marker=marker, fillstyle=fill, linestyle="none", markersize=5, label=name)

    shown = [mode for mode in SHOWN if (dots["mode"] == mode).any()]
    handles = [entry(mode, curve_drawing.MODES[mode], "s", "full") for mode in shown]
    handles += [entry(f"from {name}", "#000000", marker, "full") for name, marker in sources.items()]
    if len(view.depths) > 1:
        held = set(dots["architecture"])
        handles += [entry(name, "#000000", "o", fill) for name, fill in fills.items() if name in held]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 5),
        title=f"means over seeds with 95 % t-intervals; {drawing.how_many(dots['n'])}; ρ: rank correlation over dots",
        title_fontsize=7.5,
    )


def _span(values: Iterable[float]) -> str:
    known = sorted(value for value in values if np.isfinite(value))
    return " to ".join(dict.fromkeys(map(curve_drawing.plain, (known[0], known[-1])))) if known else "undefined"


def title(dots: pd.DataFrame) -> str:
    """Say how each score goes together with test top-1, over the panels."""
    lines = places(dots)
    said: list[str] = []
    defined = False
    counts: set[int] = set()
    for score, name in SCORES.items():
        panels = [correlations(dots[(dots["target"] == t) & (dots["shots"] == s)], score) for t, s in lines]
        told = []
        for mode in SHOWN:
            found = [panel[mode] for panel in panels if mode in panel]
            counts.update(count for _, count in found)
            defined |= any(np.isfinite(value) for value, _ in found)
            if found:
                told.append(f"{_span(value for value, _ in found)} ({mode})")
        if told:
            said.append(f"{name.split(' (')[0]} {drawing.listed(told)}")
    if not said:
        return f"Scores of transferability: {drawing.ABSENT}"
    if not defined:
        return f"No rank correlation of scores and test top-1 is defined ({drawing.how_many(dots['n'])})"
    dot = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    text = f"Rank correlation with test top-1 over {dot} dot{'s' if counts != {1} else ''} a panel: {'; '.join(said)}"
    return f"{text} ({drawing.how_many(dots['n'])})"
