"""Test accuracy of each mode of use against the number of training images."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import curve_drawing, drawing, mode_drawing
from whypretrain.figures.plotting.curve_drawing import Look
from whypretrain.figures.plotting.mode_drawing import Pair
from whypretrain.figures.plotting.view import View

TABLES = ("modes", "starts")

COLUMNS = 3  # panels beside each other
COMPARED = (drawing.MODE, ("probe", "scratch"))  # the title's difference: the first that there is is taken off


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture and source, the nearest source first."""
    rows = points(drawing.of_study(tables["modes"], view), view)
    measured = mode_drawing.distances(tables["starts"])
    places = [
        (architecture, pair)
        for architecture in view.architectures
        for pair in mode_drawing.by_distance(list(dict.fromkeys(rows["pair"])), measured)
        if ((rows["architecture"] == architecture) & (rows["pair"] == pair)).any()
    ]
    columns = min(max(len(places), 1), COLUMNS)
    lines = -(-max(len(places), 1) // columns)
    figure = drawing.new_figure(2.3 * lines + 0.8, title(rows, view))
    grid = figure.subplots(lines, columns, squeeze=False)
    shots = mode_drawing.in_order(rows["shots"])
    looks = looks_of(rows)
    for axes, place in zip(grid.flat, places, strict=False):
        architecture, pair = place
        told = mode_drawing.heading(pair, measured.get((architecture, *pair)))
        curve_drawing.head(axes, [*mode_drawing.architecture_word(architecture, view), told], columns)
        here = rows[(rows["architecture"] == architecture) & (rows["pair"] == pair)]
        _draw_panel(axes, here, looks, shots)
        drawing.within(axes, 0, 100)
    for axes in grid.flat[len(places) :]:
        if places:
            axes.set_axis_off()
        else:
            drawing.say(axes)
    curve_drawing.level(grid.flat)
    for axes, (architecture, pair) in zip(grid.flat, places, strict=False):
        drawing.guess(axes, rows.loc[(rows["architecture"] == architecture) & (rows["pair"] == pair), "largest_class"])
    for axes in grid[:, 0]:
        axes.set_ylabel("test top-1 (%)")
    for axes in grid.flat[max(len(places) - columns, 0) : max(len(places), 1)]:
        drawing.name_x(axes, "training images per class", columns)
    told = f"means over seeds with 95 % t-intervals; {drawing.how_many(rows['n'])}"
    told = "; ".join(filter(None, (told, drawing.guessed(rows["largest_class"]))))
    curve_drawing.legend(figure, looks.values(), told)
    return figure


def points(rows: pd.DataFrame, view: View) -> pd.DataFrame:
    """Return the rows of the study's settings, with the source and target of each as `pair`; each arm once."""
    pairs = {
        name: (pair, shots)
        for pair, of_pair in mode_drawing.cells_of(rows, view).items()
        for shots, names in of_pair.items()
        for name in names[:1]
    }
    kept = rows[rows["setting"].isin(list(pairs))].dropna(subset="mean")
    of_row = pd.Series([pairs[str(setting)][0] for setting in kept["setting"]], index=kept.index, dtype=object)
    found = kept.assign(pair=of_row)
    return found.astype({"shots": str, "family": str})


def looks_of(rows: pd.DataFrame) -> dict[str, Look]:
    """Return how each family is drawn that there is, the cheapest first."""
    families = [family for family in curve_drawing.MODES if (rows["family"] == family).any()]
    return {
        family: Look(
            family,
            curve_drawing.MODES[family],
            "--" if family == "scratch" else "-",
            curve_drawing.MARKERS[list(curve_drawing.MODES).index(family)],
        )
        for family in families
    }


def _draw_panel(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look], shots: list[str]) -> None:
    place = {each: number for number, each in enumerate(shots)}
    for (family, look), beside in zip(looks.items(), curve_drawing.shifts(len(looks), 0.36), strict=True):
        mine = rows[rows["family"] == family]
        mine = mine.assign(place=mine["shots"].map(place).astype(float)).sort_values("place")
        curve_drawing.curve(axes, mine, "place", look, 100, beside)
    axes.set_xticks(range(len(shots)), ["all" if each == mode_drawing.ALL else each for each in shots])
    axes.set_xlim(-0.5, len(shots) - 0.5)


def differences(rows: pd.DataFrame, view: View, minus: str, shots: str) -> list[tuple[str, float]]:
    """Return, panel by panel, the mean of fine-tuning minus that of another family at a number of shots."""
    here = rows[rows["shots"] == shots]
    found = []
    for architecture in view.architectures:
        pairs: list[Pair] = list(dict.fromkeys(here["pair"]))
        for pair in pairs:
            mine = here[(here["architecture"] == architecture) & (here["pair"] == pair)].set_index("family")["mean"]
            if {COMPARED[0], minus} <= set(mine.index):
                words = [*mode_drawing.architecture_word(architecture, view), mode_drawing.heading(pair, None)]
                found.append((", ".join(words), float(mine[COMPARED[0]] - mine[minus])))
    return found


def title(rows: pd.DataFrame, view: View) -> str:
    """Say how far fine-tuning is from the probe at the fewest and at the most shots."""
    shots = mode_drawing.in_order(rows["shots"])
    ends = list(dict.fromkeys([*shots[:1], *shots[-1:]]))
    for minus in COMPARED[1]:
        said = []
        for each in ends:
            found = differences(rows, view, minus, each)
            if found:
                told = curve_drawing.ranged(found, curve_drawing.signed)
                said.append(f"with {mode_drawing.shots_text(each)} {told}")
        if said:
            text = f"Fine-tuning minus {minus}, in points of test top-1: {', '.join(said)}"
            return f"{text} ({drawing.how_many(rows['n'])})"
    return (
        f"Modes of use and training images: {drawing.ABSENT if rows.empty else 'nothing to compare fine-tuning with'}"
    )
