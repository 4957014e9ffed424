"""How far kernels turn in target training: their cosine to the start, layer by layer."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from whypretrain.figures.plotting import drawing
from whypretrain.figures.plotting.view import View
from whypretrain.grid.coordinates import KEYS

TABLES = ("design", "runs", "kernels")

COLUMNS = 8  # panels side by side
NAMED = 2  # architectures that the title names

Curves = list[tuple[drawing.MainArm, pd.DataFrame]]  # arms with the cosines of their runs


def common_rate(arms: list[drawing.MainArm]) -> float | None:
    """Return the middle one of the learning rates that all arms have and none diverged at, or None."""
    sets = [set(arm.rows["learning_rate"]) - set(arm.rows.loc[arm.rows["diverged"], "learning_rate"]) for arm in arms]
    rates = sorted(set.intersection(*sets)) if sets else []
    return rates[(len(rates) - 1) // 2] if rates else None


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each layer, the layers of an architecture side by side, in the first setting."""
    design = drawing.of_study(tables["design"], view)
    runs = drawing.of_runs(design, tables["runs"])
    setting = next(iter(drawing.settings_of(runs, view)), None)
    curves: dict[str, Curves] = {}
    rates: dict[str, float | None] = {}
    for name in view.architectures:
        panel = runs[:0] if setting is None else drawing.in_panel(runs, view, name, setting)
        arms = [arm for arm in drawing.main_arms(panel, view) if arm.shade != drawing.colour("scratch-long")]
        rates[name] = common_rate(arms)
        curves[name] = [(arm, _cosines(_at(arm.rows, rates[name]), tables["kernels"])) for arm in arms]
    lines = {name: -(-view.depths[name] // COLUMNS) for name in view.architectures}
    figure = drawing.new_figure(1.9 * sum(lines.values()) + 0.5, title(curves))
    blocks = figure.subfigures(len(lines), 1, squeeze=False, height_ratios=list(lines.values()))[:, 0]
    shown: drawing.Entries = {}
    counts: set[int] = set()
    for block, name in zip(blocks, view.architectures, strict=True):
        told = f"learning rate {rates[name]:g}" if rates[name] else "each arm at its selected learning rate"
        where = "" if setting is None else f"{setting.name} ({setting.label}), "
        block.suptitle(f"{name}, {where}{told}", fontsize=8, x=0.01, ha="left")
        _draw_block(block, curves[name], view.depths[name], lines[name], shown, counts)
    drawing.legend(figure, shown, f"means over seeds with 95 % t-intervals; {drawing.how_many(counts)}")
    return figure


def _at(rows: pd.DataFrame, rate: float | None) -> pd.DataFrame:
    """Return the runs at a rate, or, where the arms have none in common, at the selected one."""
    return rows[rows["selected"]] if rate is None else rows[rows["learning_rate"] == rate]


def _cosines(rows: pd.DataFrame, kernels: pd.DataFrame) -> pd.DataFrame:
    keys = [key for key in KEYS if key in rows]
    return rows[keys].merge(kernels, on=keys)


def _draw_block(
    block: SubFigure, curves: Curves, depth: int, lines: int, shown: drawing.Entries, counts: set[int]
) -> None:
    """Draw an architecture: above each other the cosine, close up, and its null, on a scale of its own."""
    columns = min(depth, COLUMNS)
    grid = block.subplots(2 * lines, columns, squeeze=False, sharex=True, height_ratios=[3, 1] * lines)
    for layer in range(1, lines * columns + 1):
        line, column = divmod(layer - 1, columns)
        upper, lower = grid[2 * line][column], grid[2 * line + 1][column]
        if layer > depth:
            upper.set_axis_off()
            lower.set_axis_off()
            continue
        upper.set_title(f"layer {layer}")
        if not curves:
            drawing.say(upper)
        for arm, rows in curves:
            here = rows[rows["layer"] == layer]
            for axes, measure in ((upper, "cosine_mean"), (lower, "cosine_null")):
                found = drawing.estimates(here, "target_epoch", measure)
                drawing.band(axes, found, "target_epoch", arm.shade, "-" if axes is upper else "--")
                counts.update(found["n"])
            shown.setdefault(arm.name, (arm.name, arm.shade, "-"))
    for line in range(lines):
        _share_scale(list(grid[2 * line]), "cosine\nto start")
        _share_scale(list(grid[2 * line + 1]), "null")
    if curves:
        shown["null"] = ("null: kernels re-paired at random", "#000000", "--")
    block.supxlabel("read-out epoch of target training", fontsize=8)


def _share_scale(row: list[Axes], label: str) -> None:
    """Give the panels of a line one scale, that of their means and intervals; the first has its numbers."""
    drawn = [axes for axes in row if axes.lines]
    low = min((axes.dataLim.y0 for axes in drawn), default=0.0)
    high = max((axes.dataLim.y1 for axes in drawn), default=1.0)
    room = max(0.08 * (high - low), 0.005)
    row[0].set_ylabel(label)
    for axes in drawn:
        axes.set_ylim(max(low - room, -1 - room), min(high + room, 1 + room))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(2 if label == "null" else 4))
        axes.tick_params(labelleft=axes is row[0])


def title(curves: dict[str, Curves]) -> str:
    """Say where the mean over layers of the cosine ends, arm by arm; its range where there are many architectures."""
    ends: dict[str, dict[str, float]] = {}
    for name, arms in curves.items():
        for arm, rows in arms:
            last = rows[rows["target_epoch"] == rows["target_epoch"].max()]
            if len(last):
                ends.setdefault(name, {})[arm.name] = last["cosine_mean"].mean()
    if not ends:
        return f"Kernel cosine: {drawing.ABSENT}"
    if len(ends) <= NAMED:
        said = "; ".join(
            f"{', '.join(f'{arm} {end:.3f}' for arm, end in each.items())} ({name})" for name, each in ends.items()
        )
    else:
        arms_seen = dict.fromkeys(arm for each in ends.values() for arm in each)
        found = {arm: [each[arm] for each in ends.values() if arm in each] for arm in arms_seen}
        said = ", ".join(f"{arm} {min(values):.3f} to {max(values):.3f}" for arm, values in found.items())
        said += f" ({len(ends)} architectures)"
    return f"Cosine of kernels to their start at the end, mean over layers: {said}"
