"""What a checkpoint is worth to a probe and to fine-tuning, along pre-training (Deng et al. 2022)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import Look
from whypretrain.figures.plotting.view import View

TABLES = ("maturity",)

NAMES = {"probe": "probe (FE)", drawing.MODE: "finetune (FT)"}
OTHERS = ("#4B0092", "#618253", "#682C00", "#FFC20A")  # further modes and recipes
SOURCE = "#938089"

Way = tuple[str, str]  # mode and recipe


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns)."""
    rows = drawing.of_study(tables["maturity"], view).dropna(subset="mean")
    settings = curve_drawing.settings_in(rows, view)
    looks = looks_of(rows, view)
    figure = drawing.new_figure(2.4 * len(view.depths) + 0.7, title(rows, view))
    grid = curve_drawing.panels(figure, view, len(settings))
    counts: set[int] = set()
    for axes, here, *_ in curve_drawing.filled(grid, rows, view, settings):
        places = curve_drawing.places_of(here["epoch"])
        _draw_panel(axes, here.assign(place=here["epoch"].astype(float).map(places)), looks)
        counts.update(here["n"])
        curve_drawing.epoch_axis(axes, list(places), len(settings))
        drawing.within(axes, 0, 100)
    for row in grid:
        curve_drawing.level(row)
    for axes in grid[:, 0]:
        axes.set_ylabel("test top-1 (%)")
    for axes in grid[-1]:
        drawing.name_x(axes, "checkpoint: epoch of pre-training", len(settings))
    told = f"means over seeds with 95 % t-intervals; solid: annealed, dashed: raw; {drawing.how_many(counts)}"
    curve_drawing.legend(figure, _entries(rows, looks), told)
    return figure


def looks_of(rows: pd.DataFrame, view: View) -> dict[Way, Look]:
    """Return how each mode, with each of its recipes, is drawn."""
    ways = sorted({(str(mode), str(recipe)) for mode, recipe in zip(rows["mode"], rows["recipe"], strict=True)})
    order = list(curve_drawing.MODES)
    ways.sort(key=lambda way: (order.index(way[0]) if way[0] in order else len(order), way[1] != view.recipe))
    looks: dict[Way, Look] = {}
    for way in ways:
        mode, recipe = way
        several = sum(other == mode for other, _ in ways) > 1
        name = NAMES.get(mode, mode) + (f", {recipe}" if several else "")
        taken = {look.shade for look in looks.values()}
        own = curve_drawing.MODES.get(mode, OTHERS[0])
        free = [shade for shade in (own, *OTHERS) if shade not in taken] or [drawing.OTHER]
        looks[way] = Look(name, free[0], "-", curve_drawing.MARKERS[len(looks) % len(curve_drawing.MARKERS)])
    return looks


def _entries(rows: pd.DataFrame, looks: dict[Way, Look]) -> list[Look]:
    entries = list(looks.values())
    if rows["source_top1"].notna().any():
        entries.append(Look("source's own top-1", SOURCE, "-", "", width=0.8))
    if rows["peak"].any():
        entries.append(Look("peak on validation", "#000000", "none", "o", filled=False))
    return entries


def _draw_panel(axes: Axes, rows: pd.DataFrame, looks: dict[Way, Look]) -> None:
    for annealed, style in ((False, "--"), (True, "-")):
        branch = rows[rows["annealed"].astype(bool) == annealed]
        own = branch.groupby("place", observed=True)["source_top1"].mean().dropna()
        axes.plot(own.index, 100 * own, color=SOURCE, linestyle=style, linewidth=0.8)
        for (way, look), beside in zip(looks.items(), curve_drawing.shifts(len(looks), 0.16), strict=True):
            mine = branch[(branch["mode"] == way[0]) & (branch["recipe"] == way[1])].sort_values("place")
            drawn = Look(look.name, look.shade, "-" if annealed else "--", look.marker, filled=annealed)
            curve_drawing.curve(axes, mine, "place", drawn, 100, beside)
            peak = mine[mine["peak"].astype(bool)]
            axes.plot(
                peak["place"] + beside,
                100 * peak["mean"],
                linestyle="none",
                marker="o",
                markersize=9,
                markerfacecolor="none",
                markeredgecolor="#000000",
                zorder=5,
                clip_on=False,
                in_layout=False,
            )


def peaks(rows: pd.DataFrame, mode: str, view: View) -> list[tuple[str, float, float]]:
    """Return, place by place, a mode's peak on validation and what it has there over the last checkpoint (test top-1).

    It is that of the annealed curve, or of the raw one where no other is; the recipe is the study's.
    """
    found = []
    for architecture in view.architectures:
        for setting in curve_drawing.settings_in(rows, view):
            here = rows[(rows["architecture"] == architecture) & (rows["setting"] == setting) & (rows["mode"] == mode)]
            here = here[here["recipe"].isin([view.recipe, "none"])] if len(set(here["recipe"])) > 1 else here
            annealed = here["annealed"].astype(bool)
            mine = (here[annealed] if annealed.any() else here).sort_values("epoch")
            peak = mine[mine["peak"].astype(bool)]
            if len(peak):
                gain = float(peak["mean"].iloc[0] - mine["mean"].iloc[-1])
                found.append((f"{architecture}, {setting}", float(peak["epoch"].iloc[0]), gain))
    return found


def title(rows: pd.DataFrame, view: View) -> str:
    """Say where probe and fine-tuning peak, and what the peak has over the last checkpoint."""
    said = []
    for mode in ("probe", drawing.MODE):
        found = peaks(rows, mode, view)
        if not found:
            continue
        if len(found) <= curve_drawing.NAMED:
            parts = [
                f"epoch {curve_drawing.epoch_text(at)} by {curve_drawing.signed(gain)} ({place})"
                for place, at, gain in found
            ]
            said.append(f"{mode} at {drawing.listed(parts)}")
            continue
        epochs = sorted({at for _, at, _ in found})
        text = " to ".join(curve_drawing.epoch_text(at) for at in dict.fromkeys((epochs[0], epochs[-1])))
        gains = curve_drawing.ranged([(place, gain) for place, _, gain in found], curve_drawing.signed)
        said.append(f"{mode} at epoch {text} by {gains}")
    if not said:
        return f"Checkpoints along pre-training: {drawing.ABSENT}"
    text = "Peaks on validation over the last checkpoint, in points of test top-1"
    return f"{text}: {drawing.listed(said)} ({drawing.how_many(rows['n'])})"
