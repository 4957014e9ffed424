"""Which classes fine-tuned networks take for which: intact, all kernels shuffled, and scratch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.view import View

TABLES = ("design", "confusion")
NAMES = (choice.INTACT, choice.SHUFFLED, choice.SCRATCH)
WRITTEN = 12  # classes up to which a cell's number is written
NAMED = 30  # classes up to which all are named
ACROSS = 30  # characters that fit beside each other below a panel
LONGEST = 24  # characters of a name
LETTER = 0.02  # inches that a figure is higher for each of them


def shares(rows: pd.DataFrame) -> np.ndarray:
    """Return the share of each class's test images (row) with each prediction (column), the mean over seeds.

    A class that has no test image gives NaN.
    """
    count = int(rows["label"].max()) + 1
    found = []
    for _, run in rows.groupby("seed"):
        matrix = np.zeros((count, count))
        matrix[run["label"], run["prediction"]] = run["images"]
        images = matrix.sum(1, keepdims=True)
        found.append(np.divide(matrix, images, out=np.full_like(matrix, np.nan), where=images > 0))
    return np.mean(found, axis=0)


def worst(matrix: np.ndarray) -> tuple[int, int]:
    """Return the class and the wrong prediction of the largest share off the diagonal, the first of equal ones."""
    off = np.nan_to_num(matrix, nan=-1.0)
    np.fill_diagonal(off, -1.0)
    label, prediction = np.unravel_index(off.argmax(), off.shape)
    return int(label), int(prediction)


def panels(tables: dict[str, pd.DataFrame], view: View) -> tuple[choice.Setting | None, dict, set[int]]:
    """Return the first setting that was measured, its matrix by architecture and arm, and the numbers of seeds.

    Where the target's classes are drawn anew with each seed, matrices are those of the seed shown.
    """
    rows = choice.measured(tables["design"], tables["confusion"], view)
    for setting in choice.settings_of(rows, view):
        matrices, counts = {}, set()
        for architecture in view.architectures:
            for name, _, every in choice.main_arms(choice.in_panel(rows, view, architecture, setting), view):
                found = every if setting.target in view.classes else every[every["seed"] == view.seed]
                if name in NAMES and len(found):
                    matrices[architecture, name] = shares(found)
                    counts.add(found["seed"].nunique())
        if matrices:
            return setting, matrices, counts
    return None, {}, set()


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture and a column for each of the three arms."""
    setting, matrices, counts = panels(tables, view)
    names = [_short(str(name)) for name in view.classes.get(setting.target, ())] if setting else []
    shown = [name for name in view.architectures if any(key[0] == name for key in matrices)] or view.architectures
    lines = [[Panel(f"{name}, {arm}", matrices.get((name, arm), ()), name, arm) for arm in NAMES] for name in shown]

    def paint(axes: Axes, panel: Panel) -> set[int]:
        matrix = 100 * panel.rows
        axes.imshow(matrix, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        _write(axes, matrix)
        first = next(arm for arm in NAMES if (panel.architecture, arm) in matrices)
        _name_classes(axes, names or [str(place) for place in range(len(matrix))], panel.of == first)
        return counts

    figure = drawing.draw_panels(
        title(matrices, [str(name) for name in view.classes.get(setting.target, ())] if setting else [], counts),
        lines,
        paint,
        x="prediction",
        y="class",
        height=2.35 + LETTER * max(map(len, names), default=0),  # names may stand upright
        level=None,
        told="means over seeds",
    )
    if matrices:
        scale = ScalarMappable(cmap="Blues")
        scale.set_clim(0, 100)
        size = max(0.9 / len(shown), 0.3)
        figure.colorbar(scale, ax=figure.axes, shrink=size, label="share of the class's test images (%)")
    return figure


def _write(axes: Axes, matrix: np.ndarray) -> None:
    """Write the shares, in per cent, where there is room; a class that has no images has none."""
    if len(matrix) > WRITTEN:
        return
    for (label, prediction), share in np.ndenumerate(matrix):
        if np.isfinite(share) and round(share) > 0:
            shade = "white" if share > 60 else "#222222"
            axes.text(prediction, label, f"{share:.0f}", ha="center", va="center", fontsize=4.5, color=shade)


def _short(name: str) -> str:
    """Return a name in one line, without its middle where it is long."""
    words, half = " ".join(name.split()), LONGEST // 2
    return words if len(words) <= LONGEST else f"{words[: half - 1]}…{words[-half:]}"


def _name_classes(axes: Axes, names: Sequence[str], first: bool) -> None:
    """Name classes along both axes, those of rows in a line's first panel alone: all up to NAMED, of more as many."""
    places = range(0, len(names), -(-len(names) // NAMED))
    texts = [names[place] for place in places]
    axes.set_xticks(list(places), texts, rotation=90 if len(texts) * max(map(len, texts)) > ACROSS else 0)
    axes.set_yticks(list(places), texts if first else [""] * len(texts))
    axes.tick_params(length=0, labelsize=min(5.5, 100 / len(texts)))
    axes.spines[:].set_visible(False)


def title(matrices: dict[tuple[str, str], np.ndarray], names: Sequence[str], counts: set[int]) -> str:
    """Name the most frequent confusion of each arm in the deepest architecture that has any."""
    if not matrices:
        return f"Confusion matrices: {wording.ABSENT}"
    architecture = list(matrices)[-1][0]
    said = []
    for name in NAMES:
        matrix = matrices.get((architecture, name))
        if matrix is not None and len(matrix) > 1:
            label, prediction = worst(matrix)
            words = [names[place] if names else str(place) for place in (label, prediction)]
            said.append(f"{words[0]} taken for {words[1]} in {100 * matrix[label, prediction]:.0f} % ({name})")
    if not said:
        return f"Confusion matrices: one class alone ({architecture})"
    return f"Most frequent confusion in {architecture}: {'; '.join(said)} ({wording.how_many(counts)})"
