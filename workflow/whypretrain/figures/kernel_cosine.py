"""How far kernels turn in target training: their cosine to the start, layer by layer."""

import pandas as pd
from matplotlib.figure import Figure

from whypretrain import drawing
from whypretrain.view import View

TABLES = ("design", "runs", "kernels")

COLUMNS = 8  # panels side by side


def common_rate(arms: list[pd.DataFrame]) -> float | None:
    """Return the middle one of the learning rates that all arms have and none diverged at, or None."""
    sets = [set(rows["learning_rate"]) - set(rows.loc[rows["diverged"], "learning_rate"]) for rows in arms]
    rates = sorted(set.intersection(*sets)) if sets else []
    return rates[(len(rates) - 1) // 2] if rates else None


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each layer, the layers of an architecture side by side, in the first setting."""
    design = drawing.of_study(tables["design"], view)
    runs = drawing.of_runs(design, tables["runs"])
    settings = drawing.settings_of(runs, view)[:1]
    arms = {
        architecture: [
            arm
            for arm in drawing.main_arms(drawing.in_panel(runs, view, architecture, settings[0]), view)
            if arm[1] != drawing.colour("scratch-long")
        ]
        if settings
        else []
        for architecture in view.architectures
    }
    rates = {name: common_rate([rows for *_, rows in each]) for name, each in arms.items()}
    curves = {
        name: [
            (label, shade, _cosines(rows[rows["learning_rate"] == rates[name]], tables["kernels"]))
            for label, shade, _, rows in each
        ]
        for name, each in arms.items()
    }
    lines = {name: -(-depth // COLUMNS) for name, depth in view.depths.items()}
    figure = drawing.new_figure(1.55 * sum(lines.values()) + 0.75, title(curves))
    blocks = figure.subfigures(len(lines), 1, squeeze=False, height_ratios=list(lines.values()))[:, 0]
    shown: drawing.Entries = {}
    counts: set[int] = set()
    for block, (name, depth) in zip(blocks, view.depths.items(), strict=True):
        told = f"learning rate {rates[name]:g}" if rates[name] else "no learning rate common to all arms"
        block.suptitle(f"{name}, {settings[0].label}, {told}" if settings else name, fontsize=8, x=0.01, ha="left")
        panels = block.subplots(lines[name], min(depth, COLUMNS), squeeze=False, sharex=True, sharey=True)
        for layer, axes in enumerate(panels.flat, start=1):
            if layer > depth:
                axes.set_axis_off()
                continue
            axes.set_title(f"layer {layer}")
            if rates[name] is None:
                drawing.say(axes)
                continue
            for label, shade, rows in curves[name]:
                here = rows[rows["layer"] == layer]
                found = drawing.estimates(here, "target_epoch", "cosine_mean")
                drawing.band(axes, found, "target_epoch", shade)
                null = here.groupby("target_epoch")["cosine_null"].mean()
                axes.plot(null.index, null, color=shade, linestyle="--", linewidth=0.8)
                counts.update(found["n"])
                shown.setdefault(label, (label, shade, "-"))
        for axes in panels[:, 0]:
            axes.set_ylabel("cosine to start")
        block.supxlabel("read-out epoch of target training", fontsize=8)
    shown["null"] = ("the same with kernels re-paired at random", "#000000", "--")
    drawing.legend(figure, shown, f"means over seeds with 95 % t-intervals; {drawing.how_many(counts)}")
    return figure


def _cosines(rows: pd.DataFrame, kernels: pd.DataFrame) -> pd.DataFrame:
    keys = [key for key in drawing.KEYS if key in rows]
    return rows[keys].merge(kernels, on=keys)


def title(curves: dict[str, list[tuple[str, str, pd.DataFrame]]]) -> str:
    """Say where the mean over layers of the cosine ends, arm by arm."""
    said = []
    for name, arms in curves.items():
        ends = []
        for label, _, rows in arms:
            last = rows[rows["target_epoch"] == rows["target_epoch"].max()]
            if len(last):
                ends.append(f"{last['cosine_mean'].mean():.2f} {label}")
        if ends:
            said.append(f"{drawing.listed(ends)} in {name}")
    if not said:
        return f"Kernel cosine: {drawing.ABSENT}"
    return f"Mean cosine of kernels to their start after target training: {'; '.join(said)}"
