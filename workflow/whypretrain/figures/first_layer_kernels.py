"""First-layer kernels as pictures: pre-trained, after the treatment, and after fine-tuning."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import drawing
from whypretrain.figures.plotting.view import View

TABLES = ("arms",)
WEIGHTS = True

SHOWN = 32  # filters at most
COLUMNS = 16
NAMED = 3  # architectures in the title
TREATMENT = "shuffle-kernels"
STATES = (("intact", "start"), (TREATMENT, "start"), ("intact", "final"), (TREATMENT, "final"))


def first_layer(weights: dict[str, np.ndarray]) -> np.ndarray:
    """Return the kernels (filters, kh, kw) of layer 1 on the first input channel, at most 32."""
    return weights["layer1.weight"][:SHOWN, 0]


def mosaic(kernels: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Lay kernels (n, kh, kw) side by side in lines of `columns`, with gaps of NaN between."""
    n, height, width = kernels.shape
    columns = min(columns, n)
    lines = -(-n // columns)
    picture = np.full((lines * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for k, kernel in enumerate(kernels):
        y, x = (k // columns) * (height + 1), (k % columns) * (width + 1)
        picture[y : y + height, x : x + width] = kernel
    return picture


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean over kernels (n, kh, kw) of the cosine between `a` and `b`."""
    x, y = a.reshape(len(a), -1).astype(float), b.reshape(len(b), -1).astype(float)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    kept = norms > 0
    return float((np.sum(x * y, axis=1)[kept] / norms[kept]).mean()) if kept.any() else float("nan")


def selected_rates(arms: pd.DataFrame, view: View) -> dict[tuple[str, str], float]:
    """Return the selected learning rate of intact and of the shuffled arm of each architecture."""
    arms = drawing.of_study(arms, view)
    settings = drawing.settings_of(arms, view)
    rates = {}
    for architecture in view.architectures:
        for treatment in ("intact", TREATMENT):
            rows = (
                drawing.treated(drawing.in_panel(arms, view, architecture, settings[0]), treatment)
                if settings
                else arms[:0]
            )
            if len(rows):
                rates[architecture, treatment] = float(rows["learning_rate"].iloc[0])
    return rates


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw four lines of kernels for each architecture, of one seed, in the first setting."""
    rates = selected_rates(tables["arms"], view)
    found: dict[tuple[str, str, str], np.ndarray] = {}
    for label, tensors in weights:
        key = (label["architecture"], label["treatment"])
        if label["what"] == "start" or float(label["learning_rate"]) == rates.get(key):
            found[(*key, label["what"])] = first_layer(tensors)
    heights = []
    for architecture in view.architectures:
        sizes = [mosaic(each).shape for (name, *_), each in found.items() if name == architecture]
        heights.append(max([5.2 * h / w for h, w in sizes], default=0.2) + 0.16)
    figure = drawing.new_figure(len(STATES) * sum(heights) + 0.3 * len(heights) + 0.25, title(found, view))
    grid = figure.subplots(
        len(STATES) * len(heights),
        1,
        squeeze=False,
        gridspec_kw={"height_ratios": [h for h in heights for _ in STATES]},
    )[:, 0]
    lines = iter(grid)
    for architecture in view.architectures:
        for number, (treatment, what) in enumerate(STATES):
            axes = next(lines)
            if number == 0:
                axes.set_title(architecture, loc="left")
            axes.set_ylabel(
                _words(treatment, what, rates.get((architecture, treatment))),
                rotation=0,
                ha="right",
                va="center",
                color=drawing.colour(treatment),
            )
            _draw_line(axes, found.get((architecture, treatment, what)))
    figure.supxlabel(
        f"filters in file order, seed {view.seed}, first input channel; blue negative, white zero, red positive; "
        "± is the end of each line's colour scale",
        fontsize=7.5,
    )
    return figure


def _words(treatment: str, what: str, rate: float | None) -> str:
    words = "pre-trained" if treatment == "intact" else "shuffled"
    if what == "start":
        return words
    return f"{words}, tuned" + (f"\nat rate {rate:g}" if rate else "")


def _draw_line(axes: Axes, kernels: np.ndarray | None) -> None:
    if kernels is None:
        axes.text(0.01, 0.5, drawing.ABSENT, transform=axes.transAxes, va="center", color="#767676")
    else:
        end = max(float(np.abs(kernels).max()), 1e-12)
        axes.imshow(mosaic(kernels), cmap="RdBu_r", vmin=-end, vmax=end, interpolation="nearest")
        axes.text(1.01, 0.5, f"±{end:.2g}", transform=axes.transAxes, va="center", fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def title(found: dict[tuple[str, str, str], np.ndarray], view: View) -> str:
    """Say how alike the kernels are before and after fine-tuning, in the three shallowest architectures."""
    said = []
    for architecture in view.architectures:
        parts = []
        for treatment, word in (("intact", "pre-trained"), (TREATMENT, "shuffled")):
            start, final = (found.get((architecture, treatment, what)) for what in ("start", "final"))
            if start is not None and final is not None:
                parts.append(f"{mean_cosine(start, final):.3f} ({word})")
        if parts:
            said.append(f"{drawing.listed(parts)} in {architecture}")
    said = said[:NAMED]
    if not said:
        return f"First-layer kernels: {drawing.ABSENT}"
    return f"First-layer kernels after fine-tuning, mean cosine to their start: {'; '.join(said)} (seed {view.seed})"
