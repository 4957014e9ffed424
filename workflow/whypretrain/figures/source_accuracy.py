"""Whether a better source is a better start: the checkpoint's own accuracy against the target's (Deng et al. 2022)."""

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import Look
from whypretrain.figures.plotting.view import View

TABLES = ("maturity", "correlations")

SHOWN = ("probe", drawing.MODE)
LINE = 8.5  # points from one line of text in a panel to the next
HEIGHT = 2.5  # of a panel, inches


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns); below, what holds across architectures."""
    rows = drawing.of_study(tables["maturity"], view).dropna(subset=["mean", "source_top1"])
    rows = rows[rows["mode"].isin(SHOWN)]
    found = drawing.of_study(tables["correlations"], view)
    found = found[found["mode"].isin(SHOWN)]
    settings = curve_drawing.settings_in(rows, view)
    across = found[found["scope"] == "all architectures"]
    notes = {setting: correlation_lines(across[across["setting"] == setting], len(settings)) for setting in settings}
    deepest = 1 + max(map(len, notes.values()), default=0)
    told = [deepest * LINE / 72 + 0.1] if deepest > 1 else []
    figure = drawing.new_figure(HEIGHT * len(view.depths) + sum(told) + 0.7, title(found, view))
    heights = [HEIGHT] * len(view.depths) + told
    grid = figure.subplots(len(heights), max(len(settings), 1), squeeze=False, height_ratios=heights)
    for axes, here, architecture, setting in curve_drawing.filled(grid, rows, view, settings):
        own = found[(found["architecture"] == architecture) & (found["scope"] == "one architecture")]
        _draw_panel(axes, here)
        _write(axes, correlation_lines(own[own["setting"] == setting], len(settings)), room=True)
    for axes in grid[: len(view.depths), 0]:
        axes.set_ylabel("target test top-1 (%)")
    for axes in grid[len(view.depths) - 1]:
        drawing.name_x(axes, "source's own test top-1 (%)", len(settings))
    for axes, setting in zip(grid[-1], settings, strict=False):
        if told:
            axes.set_axis_off()
            _write(axes, [("all architectures together", "#000000"), *notes[setting]], room=False)
    legend_title = (
        f"means over seeds, in the order of epochs; ρ: rank correlation, 95 % t-interval; {drawing.how_many(rows['n'])}"
    )
    curve_drawing.legend(figure, _entries(rows), legend_title)
    return figure


def look_of(mode: str, annealed: bool) -> Look:
    """Return how a mode's raw or annealed checkpoints are drawn."""
    marker = "o" if mode == "probe" else "s"
    name = f"{mode}, {'annealed' if annealed else 'raw'}"
    return Look(name, curve_drawing.MODES[mode], "-" if annealed else "--", marker, filled=annealed, width=0.8)


def _entries(rows: pd.DataFrame) -> list[Look]:
    kinds = {(str(mode), bool(annealed)) for mode, annealed in zip(rows["mode"], rows["annealed"], strict=True)}
    return [look_of(mode, annealed) for mode in SHOWN for annealed in (True, False) if (mode, annealed) in kinds]


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    keys = ["mode", "recipe", "annealed"]
    for (mode, _, annealed), mine in rows.groupby(keys, observed=True):
        look, line = look_of(str(mode), bool(annealed)), mine.sort_values("epoch")
        axes.plot(
            100 * line["source_top1"],
            100 * line["mean"],
            color=look.shade,
            linestyle=look.style,
            linewidth=look.width,
            marker=look.marker,
            markersize=4,
            markerfacecolor=look.shade if look.filled else "white",
        )


def correlation_lines(found: pd.DataFrame, columns: int) -> list[tuple[str, str]]:
    """Return lines that say each correlation with its interval, and their colours."""
    lines = []
    for mode in SHOWN:
        for annealed in (True, False):
            mine = found[(found["mode"] == mode) & (found["annealed"].astype(bool) == annealed)]
            for mean, low, high in mine[["mean", "low", "high"]].astype(float).to_numpy():
                text = f"ρ {look_of(mode, annealed).name}: {correlation_text(mean, low, high)}"
                wrapped = textwrap.wrap(text, max(96 // max(columns, 1), 20), subsequent_indent="   ")
                lines += [(part, curve_drawing.MODES[mode]) for part in wrapped]
    return lines


def correlation_text(mean: float, low: float, high: float) -> str:
    """Write a correlation with its interval; in words where either isn't defined."""
    plain = curve_drawing.plain
    if not pd.notna(mean):
        return "undefined"
    if not (pd.notna(low) and pd.notna(high)) or abs(low) == float("inf"):
        return f"{plain(mean)} (no interval)"
    return f"{plain(mean)} ({plain(max(low, -1.0))}\u00a0to\u00a0{plain(min(high, 1.0))})"  # no-break spaces


def _write(axes: Axes, lines: list[tuple[str, str]], room: bool) -> None:
    """Write lines into the top of a panel; with `room` above all that is drawn."""
    if room and lines:
        bottom, top = axes.get_ylim()
        share = min((len(lines) + 1) * LINE / 72 / (HEIGHT - 0.75), 0.6)
        axes.set_ylim(bottom, top + (top - bottom) * share / (1 - share))
        axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick <= min(top, 100)])
    for number, (text, shade) in enumerate(lines):
        axes.annotate(
            text,
            (0, 1),
            xytext=(2, -2 - LINE * number),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="left",
            va="top",
            fontsize=6.5,
            color=shade,
        )


def title(found: pd.DataFrame, view: View) -> str:
    """Say how a checkpoint's own accuracy and the target's go together along annealed checkpoints."""
    rows = found[found["scope"] == "one architecture"]
    annealed = rows["annealed"].astype(bool)
    rows = rows[annealed] if annealed.any() else rows
    said = []
    for mode in SHOWN:
        mine = rows[rows["mode"] == mode]
        places = [f"{a}, {s}" for a, s in zip(mine["architecture"], mine["setting"], strict=True)]
        values = list(zip(places, mine["mean"].astype(float), strict=True))
        if values:
            said.append(f"{mode} {curve_drawing.ranged(values, curve_drawing.plain)}")
    if not said:
        return f"Source accuracy and target accuracy: {drawing.ABSENT}"
    kind = "annealed" if annealed.any() else "raw"
    text = f"Rank correlation of source and target top-1 along {kind} checkpoints: {'; '.join(said)}"
    return f"{text} ({drawing.how_many(rows['n'])})"
