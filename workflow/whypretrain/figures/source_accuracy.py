"""Whether a better source is a better start: the checkpoint's own accuracy against the target's (Deng et al. 2022)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("maturity", "correlations")
LOOKS = {
    (mode, annealed): Look(
        f"{mode}, {'annealed' if annealed else 'raw'}",
        palette.MODES[mode],
        "-" if annealed else "--",
        "o" if mode == "probe" else "s",
        "full" if annealed else "none",
        0.8,
        4,
    )
    for mode in ("probe", palette.MODE)
    for annealed in (True, False)
}


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns); below, what holds across architectures."""
    modes = [mode for mode, _ in LOOKS]
    rows = choice.of_study(tables["maturity"], view).dropna(subset=["mean", "source_top1"])
    rows = rows[rows["mode"].isin(modes)].astype({"mode": str, "annealed": bool})
    found = choice.of_study(tables["correlations"], view)
    own, across = (found[found["scope"] == scope] for scope in ("one architecture", "all architectures"))
    lines = [
        [panel._replace(head="\n".join([panel.head, *_told(own[own["architecture"] == panel.architecture], panel.of)]))
         for panel in line]
        for line in drawing.by_setting(rows, view)
    ]  # fmt: skip
    together = [_told(across, setting) for setting in choice.settings_in(rows, view) or [""]]
    label = "source's own test top-1 (%)"

    def paint(axes: Axes, panel: Panel) -> set[int]:
        for (mode, annealed), look in LOOKS.items():
            mine = panel.rows[(panel.rows["mode"] == mode) & (panel.rows["annealed"] == annealed)]
            for _, line in mine.sort_values("epoch").groupby("recipe", observed=True):
                axes.plot(100 * line["source_top1"], 100 * line["mean"], **look.style)
        return set(panel.rows["n"])

    return drawing.draw_panels(
        title(found, view),
        lines,
        paint,
        x=["\n".join([label, *(["", "all architectures together", *told] if told else [])]) for told in together],
        y="target test top-1 (%)",
        height=2.9,
        level=None,
        looks=[LOOKS[kind] for kind in LOOKS if kind in set(zip(rows["mode"], rows["annealed"], strict=True))],
        told="means over seeds, in the order of epochs; ρ: rank correlation, 95 % t-interval",
    )


def _told(found: pd.DataFrame, setting: str) -> list[str]:
    return correlation_lines(found[found["setting"] == setting])


def correlation_lines(found: pd.DataFrame) -> list[str]:
    """Return lines that say each correlation with its interval."""
    kinds = list(zip(found["mode"], found["annealed"].astype(bool), strict=True))
    values = found[["mean", "low", "high"]].astype(float).to_numpy()
    return [
        f"ρ {look.name}: {correlation_text(*row)}"
        for kind, look in LOOKS.items()
        for row in values[[each == kind for each in kinds]]
    ]


def correlation_text(mean: float, low: float, high: float) -> str:
    """Write a correlation with its interval; in words where either isn't defined."""
    if not np.isfinite(mean):
        return "undefined"
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{wording.plain(mean)} (no interval)"
    return f"{wording.plain(mean)} ({wording.plain(max(low, -1.0))} to {wording.plain(min(high, 1.0))})".replace(
        " to ", "\u00a0to\u00a0"
    )


def title(found: pd.DataFrame, view: View) -> str:
    """Say how a checkpoint's own accuracy and the target's go together along annealed checkpoints."""
    rows = found[(found["scope"] == "one architecture") & found["mode"].isin([mode for mode, _ in LOOKS])]
    annealed = rows["annealed"].astype(bool)
    rows = rows[annealed] if annealed.any() else rows
    said = []
    for mode in ("probe", palette.MODE):
        mine = rows[rows["mode"] == mode]
        places = [f"{a}, {s}" for a, s in zip(mine["architecture"], mine["setting"], strict=True)]
        if places:
            said.append(f"{mode} {wording.ranged(zip(places, mine['mean'].astype(float), strict=True), wording.plain)}")
    if not said:
        return f"Source accuracy and target accuracy: {wording.ABSENT}"
    kind = "annealed" if annealed.any() else "raw"
    text = f"Rank correlation of source and target top-1 along {kind} checkpoints: {'; '.join(said)}"
    return f"{text} ({wording.how_many(rows['n'])})"
