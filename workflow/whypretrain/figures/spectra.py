"""How few directions the features lie along: cumulative spectra, checkpoint by checkpoint (Deng et al. 2022)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("design", "spectra")
MOST = 7  # checkpoints in a panel
TICKS = (1, 3, 10, 30, 100, 300, 1000, 3000)
MAIN = 0.8  # of the spectrum: the main part
RIM = Look("80 %: the main part", palette.GREY, ":", "", width=0.8)


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a row for each architecture, and a column for each kind of features."""
    table = tables["spectra"]
    where, rows = choice.checkpoints(
        choice.measured(tables["design"], table[~table["centred"].astype(bool)], view), view
    )
    epochs = choice.spread(sorted(set(rows["at"])), MOST)
    shades = zip(epochs, palette.along(len(epochs)), strict=False)
    looks = {epoch: Look(f"epoch {wording.epoch_text(epoch)}", shade, "-", "", width=1.2) for epoch, shade in shades}
    spectra = cumulative(rows)
    shown = spectra[spectra["at"].isin(epochs)]
    shown = shown.assign(features=shown["moment"].astype(str) + " " + shown["images"].astype(str))
    seeds = rows.groupby(["architecture", "at"], observed=True)["seed"].nunique()

    def paint(axes: Axes, panel: Panel) -> set[int]:
        axes.axhline(100 * MAIN, **RIM.style)
        for epoch, mine in panel.rows.groupby("at"):
            axes.plot(mine["component"], 100 * mine["cumulative"], **looks[epoch].style)
        drawing.log_axis(axes, TICKS, 1, max(panel.rows["component"].max(), 2), value="log")
        axes.set_ylim(0, 102)
        return set(seeds)

    return drawing.draw_panels(
        title(spectra, view),
        drawing.panels_of(shown, view, "features", choice.FEATURES),
        paint,
        x="component (log scale)",
        y="cumulative share (%)",
        looks=[*looks.values(), *([RIM] if looks else [])],
        told=f"{where}means over seeds",
    )


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


def title(spectra: pd.DataFrame, view: View) -> str:
    """Say how many components hold 80 % of the spectrum at the first and the last checkpoint."""
    said: dict[float, list[tuple[str, float]]] = {}
    for architecture in view.architectures:
        epochs = spectra.loc[spectra["architecture"] == architecture, "at"]
        for epoch in dict.fromkeys((epochs.min(), epochs.max())):
            count = components_to_main(spectra, architecture, "target", epoch)
            if count is not None:
                said.setdefault(epoch, []).append((architecture, count))
    if not said:
        return f"Spectra of features along checkpoints: {wording.ABSENT}"
    parts = [
        f"{wording.ranged(found, '{:.0f}'.format, 'architectures')} at epoch {wording.epoch_text(epoch)}"
        for epoch, found in sorted(said.items())
    ]
    return f"Components that hold 80 % of the spectrum of target images at the start: {', '.join(parts)}"
