"""How far kernels turn in target training: their cosine to the start, layer by layer."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View
from whypretrain.grid.coordinates import KEYS

TABLES = ("design", "runs", "kernels")
COLUMNS = 8  # panels side by side
NULL = Look("null: kernels re-paired at random", "#000000", "--", "")
MEASURES = {"cosine_mean": ("cosine\nto start", "-"), "cosine_null": ("null", "--")}  # labels and lines


def common_rate(arms: list[choice.MainArm]) -> float | None:
    """Return the middle one of the learning rates that all arms have and none diverged at, or None."""
    sets = [set(arm.rows["learning_rate"]) - set(arm.rows.loc[arm.rows["diverged"], "learning_rate"]) for arm in arms]
    rates = sorted(set.intersection(*sets)) if sets else []
    return rates[(len(rates) - 1) // 2] if rates else None


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each layer, the layers of an architecture side by side, in the first setting."""
    runs = choice.of_runs(choice.of_study(tables["design"], view), tables["runs"])
    setting = next(iter(choice.settings_of(runs, view)), None)
    where = "" if setting is None else f"{setting.name} ({setting.label}), "
    found: dict[str, list[choice.MainArm]] = {}  # with the cosines of their runs
    heads = {}
    for name in view.architectures:
        panel = runs[:0] if setting is None else choice.in_panel(runs, view, name, setting)
        arms = [arm for arm in choice.main_arms(panel, view) if arm.look.shade != palette.colour("scratch-long")]
        rate = common_rate(arms)
        told = f"learning rate {rate:g}" if rate else "each arm at its selected learning rate"
        heads[name] = f"{name}, {where}{told}"
        found[name] = [
            arm._replace(look=arm.look._replace(line="-"), rows=_cosines(arm.rows, rate, tables["kernels"]))
            for arm in arms
        ]
    lines = [-(-view.depths[name] // COLUMNS) for name in found]
    figure = drawing.new_figure(2.0 * sum(lines) + 0.6, title(found))
    blocks = figure.subfigures(len(lines), 1, squeeze=False, height_ratios=lines)[:, 0]
    counts: set[int] = set()
    for block, (name, arms) in zip(blocks, found.items(), strict=True):
        block.suptitle(heads[name], fontsize=8, x=0.01, ha="left")
        counts |= _draw_block(block, arms, view.depths[name])
    looks = list(dict.fromkeys(arm.look for arms in found.values() for arm in arms))
    drawing.below(figure, [*looks, NULL] if looks else [], f"{drawing.MEANS}; {wording.how_many(counts)}")
    return figure


def _cosines(runs: pd.DataFrame, rate: float | None, kernels: pd.DataFrame) -> pd.DataFrame:
    """Return the cosines of the runs at a rate, or, where the arms have none in common, at the selected one."""
    kept = runs["selected"] if rate is None else runs["learning_rate"] == rate
    keys = [key for key in KEYS if key in runs]
    return runs.loc[kept, keys].merge(kernels, on=keys)


def _draw_block(block: SubFigure, arms: list[choice.MainArm], depth: int) -> set[int]:
    """Draw an architecture: above each other the cosine, close up, and its null, on a scale of its own."""
    columns = min(depth, COLUMNS)
    lines = -(-depth // columns)
    grid = block.subplots(2 * lines, columns, squeeze=False, sharex=True, height_ratios=[3, 1] * lines)
    counts: set[int] = set()
    for number, row in enumerate(grid):
        measure = "cosine_null" if number % 2 else "cosine_mean"
        for layer, axes in enumerate(row, number // 2 * columns + 1):
            if layer > depth:
                axes.set_axis_off()
            elif measure == "cosine_mean":
                axes.set_title(f"layer {layer}")
                if not arms:
                    drawing.say(axes)
            for arm in arms if layer <= depth else []:
                here = arm.rows[arm.rows["layer"] == layer]
                counts |= drawing.band(
                    axes, here, "target_epoch", measure, arm.look._replace(line=MEASURES[measure][1])
                )
        _share_scale(list(row), *MEASURES[measure])
    block.supxlabel("read-out epoch of target training", fontsize=8)
    return counts


def _share_scale(row: list[Axes], label: str, line: str) -> None:
    """Give the panels of a line one scale, that of their means and intervals; the first has its numbers."""
    row[0].set_ylabel(label)
    drawing.share(row, "y")
    for axes in row:
        if axes.has_data():
            drawing.within(axes, -1, 1)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4 if line == "-" else 1))
            axes.tick_params(labelleft=axes is row[0])


def title(found: dict[str, list[choice.MainArm]]) -> str:
    """Say where the mean over layers of the cosine ends, arm by arm; its range where there are many architectures."""
    ends: dict[str, dict[str, float]] = {}
    for name, arms in found.items():
        for arm in arms:
            last = arm.rows[arm.rows["target_epoch"] == arm.rows["target_epoch"].max()]
            if len(last):
                ends.setdefault(name, {})[arm.name] = last["cosine_mean"].mean()
    if not ends:
        return f"Kernel cosine: {wording.ABSENT}"
    if len(ends) <= wording.NAMED:
        parts = {name: ", ".join(f"{arm} {end:.3f}" for arm, end in each.items()) for name, each in ends.items()}
        said = "; ".join(f"{part} ({name})" for name, part in parts.items())
    else:
        table = pd.DataFrame(ends)
        said = ", ".join(
            f"{arm} {wording.span(each.dropna().tolist(), '{:.3f}'.format)}" for arm, each in table.iterrows()
        )
        said += f" ({len(ends)} architectures)"
    return f"Cosine of kernels to their start at the end, mean over layers: {said}"
