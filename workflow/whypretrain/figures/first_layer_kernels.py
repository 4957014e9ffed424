"""First-layer kernels as pictures: pre-trained, after the treatment, and after fine-tuning."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.view import View

TABLES = ("arms",)
WEIGHTS = True
SHOWN = 32  # filters at most
COLUMNS = 16
NAMED = 3  # architectures in the title
WORDS = {"intact": "pre-trained", choice.SHUFFLE: "shuffled"}
STATES = [(treatment, what) for what in ("start", "final") for treatment in WORDS]


def first_layer(weights: dict[str, np.ndarray]) -> np.ndarray:
    """Return the kernels (filters, kh, kw) of layer 1 on the first input channel, at most 32."""
    return weights["layer1.weight"][:SHOWN, 0]


def mosaic(kernels: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Lay kernels (n, kh, kw) side by side in lines of `columns`, with gaps of NaN between."""
    n, height, width = kernels.shape
    columns = min(columns, n)
    cells = np.full((-(-n // columns) * columns, height + 1, width + 1), np.nan)
    cells[:n, :-1, :-1] = kernels
    lines = cells.reshape(-1, columns, height + 1, width + 1).swapaxes(1, 2)
    return lines.reshape(-1, columns * (width + 1))[:-1, :-1]


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean over kernels (n, kh, kw) of the cosine between `a` and `b`."""
    x, y = a.reshape(len(a), -1).astype(float), b.reshape(len(b), -1).astype(float)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    kept = norms > 0
    return float((np.sum(x * y, axis=1)[kept] / norms[kept]).mean()) if kept.any() else float("nan")


def selected_rates(arms: pd.DataFrame, view: View) -> dict[tuple[str, str], float]:
    """Return the selected learning rate of intact and of the shuffled arm of each architecture."""
    arms = choice.of_study(arms, view)
    rates = {}
    for setting in choice.settings_of(arms, view)[:1]:
        for architecture in view.architectures:
            for treatment in WORDS:
                for rate in choice.treated(choice.in_panel(arms, view, architecture, setting), treatment)[
                    "learning_rate"
                ][:1]:
                    rates[architecture, treatment] = float(rate)
    return rates


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw four lines of kernels for each architecture, of one seed, in the first setting."""
    rates = selected_rates(tables["arms"], view)
    found: dict[tuple[str, str, str], np.ndarray] = {}
    for label, tensors in weights:
        key = (label["architecture"], label["treatment"])
        if label["what"] == "start" or float(label["learning_rate"]) == rates.get(key):
            found[(*key, label["what"])] = first_layer(tensors)
    shapes = {name: [mosaic(each).shape for (a, *_), each in found.items() if a == name] for name in view.architectures}
    heights = [max([5.2 * h / w for h, w in sizes], default=0.2) + 0.16 for sizes in shapes.values() for _ in STATES]
    figure = drawing.new_figure(sum(heights) + 0.3 * len(shapes) + 0.25, title(found, view))
    lines = iter(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    for architecture in view.architectures:
        for treatment, what in STATES:
            axes = next(lines)
            rate = rates.get((architecture, treatment))
            tuned = f", tuned\nat rate {rate:g}" if rate else ", tuned"
            words = WORDS[treatment] + (tuned if what == "final" else "")
            axes.set_ylabel(words, rotation=0, ha="right", va="center", color=palette.colour(treatment))
            axes.set_title(architecture if (treatment, what) == STATES[0] else "", loc="left")
            _draw_line(axes, found.get((architecture, treatment, what)))
    told = "blue negative, white zero, red positive; ± is the end of each line's colour scale"
    drawing.below(figure, [], f"filters in file order, seed {view.seed}, first input channel; {told}")
    return figure


def _draw_line(axes: Axes, kernels: np.ndarray | None) -> None:
    if kernels is None:
        axes.text(0.01, 0.5, wording.ABSENT, transform=axes.transAxes, va="center", color=palette.GREY)
    else:
        end = max(float(np.abs(kernels).max()), 1e-12)
        axes.imshow(mosaic(kernels), cmap="RdBu_r", vmin=-end, vmax=end, interpolation="nearest")
        axes.text(1.01, 0.5, f"±{end:.2g}", transform=axes.transAxes, va="center", fontsize=7)
    drawing.bare(axes)
    axes.spines[:].set_visible(False)


def title(found: dict[tuple[str, str, str], np.ndarray], view: View) -> str:
    """Say how alike the kernels are before and after fine-tuning, in the three shallowest architectures."""
    said = []
    for architecture in view.architectures:
        parts = []
        for treatment, word in WORDS.items():
            start, final = (found.get((architecture, treatment, what)) for what in ("start", "final"))
            if start is not None and final is not None:
                parts.append(f"{mean_cosine(start, final):.3f} ({word})")
        said += [f"{wording.listed(parts)} in {architecture}"] if parts else []
    if not said:
        return f"First-layer kernels: {wording.ABSENT}"
    told = "; ".join(said[:NAMED])
    return f"First-layer kernels after fine-tuning, mean cosine to their start: {told} (seed {view.seed})"
