"""What excites the units of each layer, before and after target training: test patches, and images made for it.

Units are the first `UNITS` channels of each layer in the order of the weights, whatever they answer to: a choice that
favours no moment and no arm, and shows silent units as such. Patches are those of Zeiler & Fergus 2014: where a
channel's activation (after ReLU, before pooling) is largest, at most one an image, cut to the window that the unit
sees. The maximised image is that of the unit in the middle of the channel's map (`excitation.maximise`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whypretrain.measures.excitation import NOISE, Unit, Window, maps, maximise, peaks, strongest, windows
from whypretrain.measures.measuring import Measured
from whypretrain.randomness import stream
from whypretrain.training.data import Rows

UNITS = 4
PATCHES = 6
BLACK, WHITE = 0, 255


def constants(normalisation: Mapping[str, Any], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel, (c, 1, 1)."""
    told = (np.asarray(normalisation[name], np.float64) for name in ("mean", "standard_deviation"))
    mean, deviation = (np.broadcast_to(each, channels).reshape(-1, 1, 1).astype(np.float32) for each in told)
    return mean, deviation


def to_pixels(images: np.ndarray, normalisation: Mapping[str, Any]) -> np.ndarray:
    """Return standardised images (…, c, h, w) as grey pixels (…, h, w) uint8, the mean over channels."""
    mean, deviation = constants(normalisation, images.shape[-3])
    scaled = images * deviation + mean
    return np.clip(np.rint(255 * scaled.mean(-3)), BLACK, WHITE).astype(np.uint8)


def _picture(pixels: np.ndarray, at: Window, activation: float) -> dict[str, object]:
    """Return the columns of a picture: the window `at` of an image (h, w)."""
    top, bottom, left, right = at
    place = {"top": top, "left": left, "height": bottom - top, "width": right - left}
    return {"activation": activation, **place, "pixels": pixels[top:bottom, left:right].tobytes()}


NOWHERE = {"activation": float("nan"), "top": 0, "left": 0, "height": 0, "width": 0, "pixels": b""}
EMPTY: dict[str, object] = {"image": None, "label": None, **NOWHERE}


def read_out(measured: Measured) -> Rows:
    """Yield for each moment, layer and unit its maximised image (rank 0) and its `PATCHES` best patches (rank 1 up).

    Patches are of up to 1,000 test images of the target. Where the activation is not above zero there is no picture.
    """
    chosen = measured.some("target", "test")
    images, labels = measured.target.images["test"][chosen], measured.target.labels["test"][chosen].cpu().numpy()
    seen = windows(measured.network("final", "target"), images)
    pixels, places = to_pixels(images.cpu().numpy(), measured.normalisation), chosen.cpu().numpy()
    for moment in ("start", "final"):
        network = measured.network(moment, "target")
        found = peaks(network, images, UNITS)
        middle = middle_units(measured, images)
        made, activations = _maximised(measured, moment, middle)
        for k, unit in enumerate(middle):
            pictures: list[dict[str, object]] = [EMPTY] * (1 + PATCHES)
            if activations[k] > 0:
                pictures[0] = EMPTY | _picture(made[k], seen(unit), float(activations[k]))
            values, at = (each[:, unit.channel] for each in found[unit.layer])
            for rank, image in enumerate(strongest(values, PATCHES), 1):
                where = seen(Unit(unit.layer, unit.channel, *map(int, at[image])))
                shown = {"image": int(places[image]), "label": int(labels[image])}
                pictures[rank] = shown | _picture(pixels[image], where, float(values[image]))
            row = {"moment": moment, "layer": unit.layer, "unit": unit.channel + 1}
            for rank, picture in enumerate(pictures):
                yield {**row, "rank": rank, **picture}


def middle_units(measured: Measured, images: Tensor) -> list[Unit]:
    """Return the units whose images are maximised, layer by layer: in the middle of the first channels' maps."""
    return [
        Unit(layer, channel, height // 2, width // 2)
        for layer, (channels, height, width) in maps(measured.network("final", "target"), images).items()
        for channel in range(min(UNITS, channels))
    ]


def _maximised(measured: Measured, moment: str, units: list[Unit]) -> tuple[np.ndarray, np.ndarray]:
    """Return maximised images of units as pixels (n, h, w), and their activations (n,); all start from one image."""
    shape = measured.target.images["test"].shape[1:]
    noise = NOISE * stream("maximisation", measured.seed).standard_normal(tuple(shape))
    mean, deviation = constants(measured.normalisation, shape[0])
    low, high = (torch.from_numpy(each).to(measured.device) for each in (-mean / deviation, (1 - mean) / deviation))
    first = torch.from_numpy(noise.astype(np.float32)).to(measured.device)
    made, activations = maximise(measured.network(moment, "target"), units, first, low, high)
    return to_pixels(made.cpu().numpy(), measured.normalisation), activations
