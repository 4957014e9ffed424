"""What excites units: maximised images and the test patches that excite them most, before and after fine-tuning."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.evidence.statistics import Interval, interval
from whypretrain.figures.plotting import choice, drawing, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.view import View

TABLES = ("design", "units")

LAYERS = 4  # at most, at equal steps from the first to the last
ARMS = {"intact": choice.INTACT, choice.SHUFFLE: choice.SHUFFLED}
MOMENTS = ("start", "final")
SIDE = 24  # dots of a picture's longer side at least; each pixel is so many whole dots
GAP = 2  # dots between pictures
APART = 6  # between the maximised image and the patches
OUTSIDE = (0.75, 0.85, 0.95)  # between pictures, and what a window would take in beyond the image's edge
SILENT = (0.98, 0.88, 0.80)


def shown_rows(tables: dict[str, pd.DataFrame], view: View) -> tuple[str | None, pd.DataFrame]:
    """Return the deepest architecture that was measured, and its intact and shuffled rows in the first setting."""
    rows = choice.measured(tables["design"], tables["units"], view)
    for setting in choice.settings_of(rows, view):
        for architecture in reversed(view.architectures):
            here = choice.in_panel(rows, view, architecture, setting)
            found = pd.concat([choice.treated(here, treatment) for treatment in ARMS])
            if len(found):
                return architecture, found
    return None, rows[:0]


def tile(picture: pd.Series, size: tuple[int, int]) -> np.ndarray:
    """Return a picture as colours (h, w, 3) in a frame of `size`: placed as its window lies in what the unit sees.

    A window that is smaller than the frame was cut off at the image's edge, above or to the left where it begins there.
    The maximised image's greys are stretched from black to white; patches keep theirs.
    """
    height, width = int(picture["height"]), int(picture["width"])
    if not height:
        return np.full((*size, 3), SILENT)
    found = np.full((*size, 3), OUTSIDE)
    grey = np.frombuffer(picture["pixels"], np.uint8).reshape(height, width) / 255
    if picture["rank"] == 0 and np.ptp(grey) > 0:
        grey = (grey - grey.min()) / np.ptp(grey)
    y = 0 if picture["top"] else size[0] - height
    x = 0 if picture["left"] else size[1] - width
    found[y : y + height, x : x + width] = grey[..., None]
    return found


def mosaic(rows: pd.DataFrame) -> np.ndarray:
    """Return the pictures of a layer's units as colours (h, w, 3): a line for each unit, by rank, with gaps between."""
    size = (int(rows["height"].max()) or 1, int(rows["width"].max()) or 1)
    dots = -(-SIDE // max(size))
    height, width = dots * size[0], dots * size[1]
    units = rows.sort_values(["unit", "rank"]).groupby("unit")
    lefts = [0, *(width + APART + number * (width + GAP) for number in range(units.size().max() - 1))]
    found = np.full((len(units) * (height + GAP) - GAP, lefts[-1] + width, 3), OUTSIDE)
    for line, (_, unit) in enumerate(units):
        top = line * (height + GAP)
        for left, (_, picture) in zip(lefts, unit.iterrows(), strict=False):
            found[top : top + height, left : left + width] = tile(picture, size).repeat(dots, 0).repeat(dots, 1)
    return found


def kept(rows: pd.DataFrame) -> Interval:
    """Return the share of a unit's most exciting images at the start that still are among them at the end.

    The mean over units of all layers, with its interval over seeds; units that are silent at the start are left out.
    """
    patches = rows[(rows["rank"] > 0) & rows["image"].notna()]
    keys = ["seed", "layer", "unit", "image"]
    start, final = (patches.loc[patches["moment"] == moment, keys] for moment in MOMENTS)
    both = start.merge(final.assign(still=1.0), on=keys, how="left").fillna({"still": 0.0})
    by_unit = both.groupby(["seed", "layer", "unit"])["still"].mean()
    return interval(by_unit.groupby("seed").mean().to_numpy(dtype=float))


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for some layers of one architecture, and columns for start and end of intact and of shuffled."""
    architecture, rows = shown_rows(tables, view)
    one = rows[rows["seed"] == view.seed]
    layers = choice.spread(sorted({int(layer) for layer in one["layer"]}), LAYERS) or [0]
    lines = []
    for layer in layers:
        here = one[one["layer"] == layer]
        heads = {(t, m): f"{name},\n{m}" if layer == layers[0] else "" for t, name in ARMS.items() for m in MOMENTS}
        lines.append([
            Panel(head, here[(here["treatment"] == treatment) & (here["moment"] == moment)])
            for (treatment, moment), head in heads.items()
        ])  # fmt: skip
    shapes = [[mosaic(panel.rows).shape for panel in line if len(panel.rows)] for line in lines]
    seen = one.groupby("layer")[["height", "width"]].max().astype(int)

    def paint(axes: Axes, panel: Panel) -> set[int]:
        axes.imshow(mosaic(panel.rows), interpolation="nearest")
        drawing.bare(axes)
        axes.spines[:].set_visible(False)
        return {1}

    patches = int(one["rank"].max()) if len(one) else 0
    told = (
        f"a line is a channel (the first {one['unit'].nunique()}): the image made to excite it (greys stretched), then "
        f"the {patches} test patches that do so most; blue: beyond the image's edge; orange: nothing excites it"
    )
    return drawing.draw_panels(
        title(architecture, rows),
        lines,
        paint,
        y=[f"layer {n}\nsees {seen['height'][n]}×{seen['width'][n]}" if n else "" for n in layers],
        height=[1.5 * max([h / w for h, w, _ in each], default=0.3) + 0.08 for each in shapes],
        told=f"{told}; seed {view.seed}" if patches else f"nothing was measured with seed {view.seed}",
    )


def title(architecture: str | None, rows: pd.DataFrame) -> str:
    """Say how many of the most exciting images fine-tuning leaves in their place."""
    said: list[str] = []
    counts: list[int] = []
    for treatment, name in ARMS.items():
        found = kept(rows[rows["treatment"] == treatment])
        if found.n and np.isfinite(found.mean):
            low, high = choice.limits(found)
            between = "" if np.isnan(low) else f", {100 * max(low, 0):.0f} to {100 * min(high, 1):.0f}"
            said.append(f"{100 * found.mean:.0f} % ({name}{between})")
            counts.append(found.n)
    if not said:
        return f"What excites units: {wording.ABSENT}"
    left = f"fine-tuning leaves {wording.listed(said)} among them ({architecture}, {wording.how_many(counts)})"
    return f"Of the test images that excite a unit most, {left}"
