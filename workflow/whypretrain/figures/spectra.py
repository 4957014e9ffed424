"""How few directions the features lie along: cumulative spectra, checkpoint by checkpoint (Deng et al. 2022)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from whypretrain.figures.plotting import curve_drawing, drawing
from whypretrain.figures.plotting.curve_drawing import FEATURES, Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "spectra")

MOST = 7  # checkpoints in a panel
TICKS = (1, 3, 10, 30, 100, 300, 1000, 3000)
MAIN = 0.8  # of the spectrum: the main part


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, and a column for each kind of features."""
    table = tables["spectra"]
    rows = curve_drawing.measured(tables["design"], table[~table["centred"].astype(bool)], view)
    setting, rows = curve_drawing.checkpoints(rows, view)
    epochs = curve_drawing.spread(sorted(set(rows["at"])), MOST)
    shades = dict(zip(epochs, curve_drawing.along(len(epochs)), strict=False))
    spectra = cumulative(rows)
    figure = drawing.new_figure(2.1 * len(view.depths) + 0.8, title(spectra, view, setting))
    grid = curve_drawing.panels(figure, view, len(FEATURES))
    for i, architecture in enumerate(view.architectures):
        for axes, (moment, images, words) in zip(grid[i], FEATURES, strict=True):
            curve_drawing.head(axes, [architecture, words], len(FEATURES))
            here = spectra[(spectra["architecture"] == architecture) & (spectra["moment"] == moment)]
            here = here[(here["images"] == images) & here["at"].isin(epochs)]
            if here.empty:
                drawing.say(axes)
                continue
            axes.axhline(100 * MAIN, color="#767676", linestyle=":", linewidth=0.8)
            for epoch, mine in here.groupby("at"):
                axes.plot(mine["component"], 100 * mine["cumulative"], color=shades[epoch], linewidth=1.2)
            _log_components(axes, int(here["component"].max()))
            axes.set_ylim(0, 102)
    for axes in grid[:, 0]:
        axes.set_ylabel("cumulative share (%)")
    for axes in grid[-1]:
        drawing.name_x(axes, "component (log scale)", len(FEATURES))
    counts = rows.groupby(["architecture", "at"], observed=True)["seed"].nunique()
    looks = [Look(f"epoch {curve_drawing.epoch_text(epoch)}", shades[epoch], "-", "") for epoch in epochs]
    looks += [Look("80 %: the main part", "#767676", ":", "", width=0.8)] if looks else []
    where = "" if setting is None else f"{setting.name} ({setting.label}); "
    curve_drawing.legend(figure, looks, f"{where}means over seeds; {drawing.how_many(counts)}")
    return figure


def _log_components(axes: Axes, last: int) -> None:
    axes.set_xscale("log")
    axes.set_xlim(1, max(last, 2))
    axes.set_xticks([tick for tick in TICKS if tick <= last])
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_locator(NullLocator())


def cumulative(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over seeds of the sum of shares up to each component; networks with no spectrum are left out."""
    keys = ["architecture", "moment", "images", "at"]
    ordered = rows.assign(architecture=rows["architecture"].astype(str)).sort_values([*keys, "seed", "component"])
    sums = ordered.groupby([*keys, "seed"], observed=True)["share"].transform(lambda share: share.cumsum(skipna=False))
    known = ordered.assign(cumulative=sums.astype(float)).dropna(subset="cumulative")
    return known.groupby([*keys, "component"], observed=True)["cumulative"].mean().reset_index()


def components_to_main(spectra: pd.DataFrame, architecture: str, images: str, epoch: float) -> int | None:
    """Return how many components of the start's features reach 80 % in the mean curve, or None."""
    here = (spectra["architecture"] == architecture) & (spectra["images"] == images) & (spectra["moment"] == "start")
    mine = spectra[here & (spectra["at"] == epoch) & (spectra["cumulative"] >= MAIN)]
    return None if mine.empty else int(mine["component"].min())


def title(spectra: pd.DataFrame, view: View, setting: drawing.Setting | None) -> str:
    """Say how many components hold 80 % of the spectrum at the first and the last checkpoint."""
    said: dict[float, list[tuple[str, float]]] = {}
    for architecture in view.architectures:
        epochs = sorted(set(spectra.loc[spectra["architecture"] == architecture, "at"]))
        for epoch in dict.fromkeys([*epochs[:1], *epochs[-1:]]):
            count = components_to_main(spectra, architecture, "target", epoch)
            if count is not None:
                said.setdefault(epoch, []).append((architecture, count))
    if setting is None or not said:
        return f"Spectra of features along checkpoints: {drawing.ABSENT}"
    parts = [
        f"{curve_drawing.ranged(found, '{:.0f}'.format, 'architectures')} at epoch {curve_drawing.epoch_text(epoch)}"
        for epoch, found in sorted(said.items())
    ]
    return f"Components that hold 80 % of the spectrum of target images at the start: {', '.join(parts)}"
