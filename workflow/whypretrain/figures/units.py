"""What excites units: maximised images and the test patches that excite them most, before and after fine-tuning."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.evidence.statistics import Interval, interval
from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.view import View

TABLES = ("design", "units")

LAYERS = 4  # at most, at equal steps from the first to the last
TREATMENT = "shuffle-kernels"
ARMS = (("intact", drawing.INTACT), (TREATMENT, drawing.SHUFFLED))
MOMENTS = ("start", "final")
SIDE = 24  # dots of a picture's longer side at least; each pixel is so many whole dots
GAP = 2  # dots between pictures
APART = 6  # between the maximised image and the patches
OUTSIDE = (0.75, 0.85, 0.95)  # between pictures, and what a window would take in beyond the image's edge
SILENT = (0.98, 0.88, 0.80)


def shown_rows(tables: dict[str, pd.DataFrame], view: View) -> tuple[str | None, pd.DataFrame]:
    """Return the deepest architecture that was measured, and its intact and shuffled rows in the first setting."""
    rows = curve_drawing.measured(tables["design"], tables["units"], view)
    for setting in drawing.settings_of(rows, view):
        for architecture in reversed(view.architectures):
            here = drawing.in_panel(rows, view, architecture, setting)
            found = pd.concat([drawing.treated(here, treatment) for treatment, _ in ARMS])
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
        return np.broadcast_to(SILENT, (*size, 3)).copy()
    found = np.broadcast_to(OUTSIDE, (*size, 3)).copy()
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
    lines = []
    for _, unit in rows.sort_values(["unit", "rank"]).groupby("unit"):
        tiles = [tile(picture, size).repeat(dots, 0).repeat(dots, 1) for _, picture in unit.iterrows()]
        gaps = [np.broadcast_to(OUTSIDE, (dots * size[0], gap, 3)) for gap in (APART, *[GAP] * (len(tiles) - 2))]
        parts = [part for pair in zip(tiles, gaps, strict=False) for part in pair] + tiles[len(gaps) :]
        lines.append(np.concatenate(parts, axis=1))
    between = np.broadcast_to(OUTSIDE, (GAP, lines[0].shape[1], 3))
    parts = [part for line in lines for part in (line, between)]
    return np.concatenate(parts[:-1], axis=0)


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


def sizes(rows: pd.DataFrame) -> str:
    """Return the size of the largest window of some rows in words."""
    return f"sees {int(rows['height'].max())}×{int(rows['width'].max())}"


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for some layers of one architecture, and columns for start and end of intact and of shuffled."""
    architecture, rows = shown_rows(tables, view)
    one = rows[rows["seed"] == view.seed]
    layers = curve_drawing.spread(sorted({int(layer) for layer in one["layer"]}), LAYERS) or [0]
    columns = [(treatment, name, moment) for treatment, name in ARMS for moment in MOMENTS]
    pictures = {
        (layer, treatment, moment): mosaic(cell)
        for (layer, treatment, moment), cell in one.groupby(["layer", "treatment", "moment"], observed=True)
        if layer in layers
    }
    shapes = [max((p.shape[0] / p.shape[1] for k, p in pictures.items() if k[0] == n), default=0.3) for n in layers]
    heights = [1.5 * shape for shape in shapes]
    figure = drawing.new_figure(sum(heights) + 0.08 * len(layers) + 0.75, title(architecture, rows))
    grid = figure.subplots(len(layers), len(columns), squeeze=False, gridspec_kw={"height_ratios": heights})
    for number, (line, layer) in enumerate(zip(grid, layers, strict=True)):
        for axes, (treatment, name, moment) in zip(line, columns, strict=True):
            if number == 0:
                axes.set_title(f"{name},\n{moment}", loc="left", fontsize=7.5, color=drawing.colour(treatment))
            _draw_cell(axes, pictures.get((layer, treatment, moment)))
        if layer:
            line[0].set_ylabel(f"layer {layer}\n{sizes(one[one['layer'] == layer])}")
    figure.supxlabel(_below(one, view), fontsize=7.5)
    return figure


def _draw_cell(axes: Axes, picture: np.ndarray | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if picture is None:
        drawing.say(axes)
    else:
        axes.imshow(picture, interpolation="nearest")


def _below(one: pd.DataFrame, view: View) -> str:
    patches = int(one["rank"].max()) if len(one) else 0
    if not patches:
        return f"nothing was measured with seed {view.seed}"
    return (
        f"a line is a channel (the first {one['unit'].nunique()}): the image made to excite it (greys stretched), then "
        f"the {patches} test patches that do so most; seed {view.seed}\n"
        "blue: beyond the image's edge; orange: nothing excites it"
    )


def title(architecture: str | None, rows: pd.DataFrame) -> str:
    """Say how many of the most exciting images fine-tuning leaves in their place."""
    said: list[str] = []
    counts: Sequence[int] = ()
    for treatment, name in ARMS:
        found = kept(rows[rows["treatment"] == treatment])
        if found.n and np.isfinite(found.mean):
            low, high = drawing.limits(found)
            between = "" if np.isnan(low) else f", {100 * max(low, 0):.0f} to {100 * min(high, 1):.0f}"
            said.append(f"{100 * found.mean:.0f} % ({name}{between})")
            counts = (*counts, found.n)
    if not said:
        return f"What excites units: {drawing.ABSENT}"
    return (
        f"Of the test images that excite a unit most, fine-tuning leaves {drawing.listed(said)} among them "
        f"({architecture}, {drawing.how_many(counts)})"
    )
