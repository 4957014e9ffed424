"""What a checkpoint is worth to a probe and to fine-tuning, along pre-training (Deng et al. 2022)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("maturity",)
NAMES = {"probe": "probe (FE)", palette.MODE: "finetune (FT)"}
OTHERS = ("#4B0092", "#618253", "#682C00", "#FFC20A")  # further modes and recipes
SOURCE = Look("source's own top-1", "#938089", "-", "", width=0.8)


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture (rows) and setting (columns)."""
    rows = choice.of_study(tables["maturity"], view).dropna(subset="mean").astype({"annealed": bool, "peak": bool})
    rows = rows.assign(way=[f"{m}, {r}" for m, r in zip(rows["mode"], rows["recipe"], strict=True)])
    lines = drawing.by_setting(rows, view)
    looks = looks_of(rows, view)

    def paint(axes: Axes, panel: Panel) -> set[int]:
        place = drawing.epoch_axis(axes, panel.rows["epoch"], len(lines[0]))
        here = panel.rows.assign(place=panel.rows["epoch"].map(place).astype(float))
        for annealed, line in ((False, "--"), (True, "-")):
            branch = here[here["annealed"] == annealed]
            own = branch.groupby("place")["source_top1"].mean().dropna()
            axes.plot(own.index, 100 * own, **SOURCE._replace(line=line).style)
            drawn = {w: k._replace(line=line, fill="full" if annealed else "none") for w, k in looks.items()}
            drawing.curves(axes, branch, "place", drawn, "way", scale=100, width=0.16)
            beside = dict(zip(looks, drawing.shifts(len(looks), 0.16), strict=True))
            peak = branch[branch["peak"]]
            drawing.ring(axes, peak["place"] + peak["way"].map(beside).astype(float), 100 * peak["mean"])
        return set(here["n"])

    more = [SOURCE] if rows["source_top1"].notna().any() else []
    more += [drawing.RING._replace(name="peak on validation", size=6)] if rows["peak"].any() else []
    return drawing.draw_panels(
        title(rows, view),
        lines,
        paint,
        x="checkpoint: epoch of pre-training",
        y="test top-1 (%)",
        height=2.4,
        bounds=(0, 100),
        looks=[*looks.values(), *more],
        told=f"{drawing.MEANS}; solid: annealed, dashed: raw",
    )


def looks_of(rows: pd.DataFrame, view: View) -> dict[str, Look]:
    """Return how each mode, with each of its recipes, is drawn."""
    order = list(palette.MODES)
    ways = sorted({(str(mode), str(recipe)) for mode, recipe in zip(rows["mode"], rows["recipe"], strict=True)})
    ways.sort(key=lambda way: (order.index(way[0]) if way[0] in order else len(order), way[1] != view.recipe))
    looks: dict[str, Look] = {}
    for (mode, recipe), marker in zip(ways, palette.MARKERS * len(ways), strict=False):
        several = sum(other == mode for other, _ in ways) > 1
        taken = {look.shade for look in looks.values()}
        shade = next((s for s in (palette.MODES.get(mode, OTHERS[0]), *OTHERS) if s not in taken), palette.OTHER)
        looks[f"{mode}, {recipe}"] = Look(NAMES.get(mode, mode) + f", {recipe}" * several, shade, "-", marker)
    return looks


def peaks(rows: pd.DataFrame, mode: str, view: View) -> list[tuple[str, float, float]]:
    """Return, place by place, a mode's peak on validation and what it has there over the last checkpoint (test top-1).

    It is that of the annealed curve, or of the raw one where no other is; the recipe is the study's.
    """
    found = []
    for panel in (each for line in drawing.by_setting(rows[rows["mode"] == mode], view) for each in line):
        here = panel.rows
        here = here[here["recipe"].isin([view.recipe, "none"])] if here["recipe"].nunique() > 1 else here
        annealed = here["annealed"].astype(bool)
        mine = (here[annealed] if annealed.any() else here).sort_values("epoch")
        best = mine[mine["peak"].astype(bool)]
        if len(best):
            over = float(best["mean"].iloc[0] - mine["mean"].iloc[-1])
            found.append((panel.head, float(best["epoch"].iloc[0]), over))
    return found


def title(rows: pd.DataFrame, view: View) -> str:
    """Say where probe and fine-tuning peak, and what the peak has over the last checkpoint."""
    said = []
    for mode in ("probe", palette.MODE):
        found = peaks(rows, mode, view)
        if len(found) > wording.NAMED:
            gains = wording.ranged([(place, over) for place, _, over in found], wording.gain)
            said.append(f"{mode} at epoch {wording.span([at for _, at, _ in found], wording.epoch_text)} by {gains}")
        elif found:
            parts = [f"epoch {wording.epoch_text(at)} by {wording.gain(over)} ({place})" for place, at, over in found]
            said.append(f"{mode} at {wording.listed(parts)}")
    if not said:
        return f"Checkpoints along pre-training: {wording.ABSENT}"
    text = "Peaks on validation over the last checkpoint, in points of test top-1"
    return f"{text}: {wording.listed(said)} ({wording.how_many(rows['n'])})"
