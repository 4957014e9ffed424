"""What excites the units of each layer, before and after target training: test patches, and images made for it.

Units are the first `UNITS` channels of each layer in the order of the weights, whatever they answer to: a choice that
favours no moment and no arm, and shows silent units as such. Patches are those of Zeiler & Fergus 2014: where a
channel's activation (after ReLU, before pooling) is largest, at most one an image, cut to the window that the unit
sees. The maximised image is that of the unit in the middle of the channel's map (`excitation.maximise`).
"""

from collections.abc import Mapping

import numpy as np
import torch

from whypretrain.measures.excitation import NOISE, Unit, map_sizes, maximise, peaks, strongest, window
from whypretrain.measures.measuring import Measured
from whypretrain.randomness import stream
from whypretrain.training.data import Columns, append

UNITS = 4
PATCHES = 6
BLACK, WHITE = 0, 255

Window = tuple[int, int, int, int]  # first and past-the-last row, first and past-the-last column


def to_pixels(images: np.ndarray, normalisation: Mapping[str, float]) -> np.ndarray:
    """Return standardised images (…, c, h, w) as grey pixels (…, h, w) uint8, the mean over channels."""
    scaled = images * normalisation["standard_deviation"] + normalisation["mean"]
    return np.clip(np.rint(255 * scaled.mean(-3)), BLACK, WHITE).astype(np.uint8)


def seen(measured: Measured, unit: Unit) -> Window:
    """Return the window of the target's images that a unit sees."""
    height, width = measured.target.images["test"].shape[2:]
    top, bottom = window(measured.layers, unit.layer, unit.row, height)
    left, right = window(measured.layers, unit.layer, unit.column, width)
    return top, bottom, left, right


def _picture(pixels: np.ndarray, at: Window, activation: float) -> dict[str, object]:
    """Return the columns of a picture: the window `at` of an image (h, w)."""
    top, bottom, left, right = at
    place = {"top": top, "left": left, "height": bottom - top, "width": right - left}
    return {"activation": activation, **place, "pixels": pixels[top:bottom, left:right].tobytes()}


EMPTY = {"activation": float("nan"), "top": 0, "left": 0, "height": 0, "width": 0, "pixels": b""}


def read_out(measured: Measured) -> Columns:
    """Return for each moment, layer and unit its maximised image (rank 0) and its `PATCHES` best patches (rank 1 up).

    Patches are of up to 1,000 test images of the target. Where the activation is not above zero there is no picture.
    """
    columns: Columns = {}
    chosen = measured.some("target", "test")
    images, labels = measured.target.images["test"][chosen], measured.target.labels["test"][chosen].cpu().numpy()
    pixels, places = to_pixels(images.cpu().numpy(), measured.normalisation), chosen.cpu().numpy()
    for moment in ("start", "final"):
        network = measured.network(moment, "target")
        found = peaks(network, images, UNITS)
        middle = middle_units(measured)
        made, activations = _maximised(measured, moment, middle)
        for k, unit in enumerate(middle):
            row = {"moment": moment, "layer": unit.layer, "unit": unit.channel + 1}
            picture = _picture(made[k], seen(measured, unit), float(activations[k])) if activations[k] > 0 else EMPTY
            append(columns, {**row, "rank": 0, "image": None, "label": None, **picture})
            values, at = (each[:, unit.channel] for each in found[unit.layer])
            best = strongest(values, PATCHES)
            for rank in range(1, PATCHES + 1):
                shown = {"image": None, "label": None, **EMPTY}
                if rank <= len(best):
                    image = best[rank - 1]
                    where = seen(measured, Unit(unit.layer, unit.channel, *map(int, at[image])))
                    shown = {"image": int(places[image]), "label": int(labels[image])}
                    shown |= _picture(pixels[image], where, float(values[image]))
                append(columns, {**row, "rank": rank, **shown})
    return columns


def middle_units(measured: Measured) -> list[Unit]:
    """Return the units whose images are maximised, layer by layer: in the middle of the first channels' maps."""
    height, width = measured.target.images["test"].shape[2:]
    rows, across = map_sizes(measured.layers, height), map_sizes(measured.layers, width)
    return [
        Unit(layer.number, channel, rows[layer.number - 1] // 2, across[layer.number - 1] // 2)
        for layer in measured.layers
        for channel in range(min(UNITS, layer.outputs))
    ]


def _maximised(measured: Measured, moment: str, units: list[Unit]) -> tuple[np.ndarray, np.ndarray]:
    """Return maximised images of units as pixels (n, h, w), and their activations (n,); all start from one image."""
    shape = measured.target.images["test"].shape[1:]
    noise = NOISE * stream("maximisation", measured.seed).standard_normal(tuple(shape))
    mean, deviation = (measured.normalisation[name] for name in ("mean", "standard_deviation"))
    first = torch.from_numpy(noise.astype(np.float32)).to(measured.device)
    made, activations = maximise(
        measured.network(moment, "target"), units, first, low=-mean / deviation, high=(1 - mean) / deviation
    )
    return to_pixels(made.cpu().numpy(), measured.normalisation), activations
