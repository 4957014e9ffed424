"""How arms, modes and curves look, the same in all figures."""

from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

# One colour for each treatment, in the order of the ladder. Any two stay apart in normal, deuteranope and protanope
# vision (a test holds them to it). Scratch is the source `none`, whatever the recipe; its longer recipe has a colour
# of its own. All other colours of figures are of these.
COLOURS = {
    "intact": "#0072B2",
    "permute-channels": "#22C4EC",
    "shuffle-filters": "#FFC20A",
    "shuffle-inputs": "#96DB8D",
    "shuffle-kernels": "#D55E00",
    "shuffle-taps": "#618253",
    "shuffle-weights": "#682C00",
    "resample-kernels": "#6275FF",
    "gaussian-kernels": "#2009DD",
    "gaussian": "#4B0092",
    "bank-layer": "#2D6987",
    "bank-kernels": "#4BA5FF",
    "gabor": "#6ADCD4",
    "glorot": "#4B000F",
    "rewind": "#2C325F",
    "reinit": "#6FBE4B",
    "scratch": "#4D4D4D",
    "scratch-long": "#938089",
}
OTHER = "#BAA18B"  # a treatment that has no colour here yet
GREY = "#767676"
SHADES = ("#0072B2", "#D55E00", "#FFC20A", "#4B0092", "#22C4EC", "#618253", "#682C00", "#938089")
MARKERS = "osD^v<>P"
STYLES = ("-", "--", ":")
MODE = "finetune"
# modes, and the families that the mode map compares, the cheapest first
MODES = {
    "probe": "#0072B2",
    "probe+source-norm": "#22C4EC",
    "probe-L": "#6275FF",
    "svm-L": "#2009DD",
    "freeze-N": "#682C00",
    "lpft": "#FFC20A",
    MODE: "#D55E00",
    "scratch": COLOURS["scratch"],
}
Fill = Literal["full", "none", "left", "bottom", "right", "top"]


class Look(NamedTuple):
    """How a curve or a mark is drawn, and its name in the legend."""

    name: str
    shade: str
    line: str = "-"
    marker: str = "o"
    fill: Fill = "full"
    width: float = 1.4
    size: float = 3.5

    @property
    def style(self) -> dict[str, Any]:
        """What matplotlib calls it; what is hollow is white within."""
        hollow = self.fill == "none"
        return {
            "color": self.shade,
            "linestyle": self.line,
            "linewidth": self.width,
            "marker": self.marker,
            "markersize": self.size,
            "markerfacecolor": "white" if hollow else self.shade,
            "fillstyle": "full" if hollow else self.fill,
        }


def colour(name: str) -> str:
    """Return the colour of a treatment (its suffixes don't matter), of `scratch`, or of `scratch-long`."""
    return COLOURS.get(name.split("+")[0], OTHER)


def rung(name: str) -> float:
    """Return a treatment's place in the order of the ladder; unknown ones stand before scratch."""
    order = list(COLOURS)
    base = name.split("+")[0]
    return order.index(base) if base in order else order.index("scratch") - 0.5


def filled(full: bool) -> Fill:
    """Return how a mark is filled that is hollow where something isn't so."""
    return "full" if full else "none"


def numbered(number: int, name: str, shades: tuple[str, ...] = SHADES) -> Look:
    """Return the look of the curve of this number, from 0; beyond the colours lines are dashed and dotted."""
    style = STYLES[number // len(shades) % len(STYLES)]
    return Look(name, shades[number % len(shades)], style, MARKERS[number % len(MARKERS)])


def along(count: int) -> list[str]:
    """Return so many colours, from dark to light, of a sequential map."""
    return [to_hex(matplotlib.colormaps["viridis"](place)) for place in np.linspace(0, 0.92, max(count, 1))]
