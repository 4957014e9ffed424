"""The cells of the figures of modes of use: a source, a target, a number of images, and how far these are apart."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from whypretrain.figures.plotting.view import View
from whypretrain.figures.plotting.wording import in_order, plain


class Cell(NamedTuple):
    """An architecture, what goes where, with the distance and without, the images, its settings and its rows."""

    architecture: str
    head: str
    name: str
    shots: str
    settings: list[str]
    rows: pd.DataFrame


def cells_of(rows: pd.DataFrame, starts: pd.DataFrame, view: View) -> list[Cell]:
    """Return the cells that rows of `modes` are of: by architecture and target, the nearest source first, then shots.

    The distance is the mean proxy A-distance of `starts`; in their order it is the mean over architectures too, and
    those that weren't measured stand last. A setting of several pairs, and what is compared over all sources of a
    target, is no cell.
    """
    keys = ["architecture", "source", "target"]
    measured = starts.astype(dict.fromkeys(keys, str)).dropna(subset="proxy_a_distance")
    far = measured.groupby(keys)["proxy_a_distance"].mean()
    near = far.groupby(["source", "target"]).mean()
    held = set(rows["setting"].astype(str))
    named: dict[tuple[str, str, str], list[str]] = {}
    for setting in view.settings:
        if setting["name"] in held:
            named.setdefault((setting["target"], setting["source"], setting["shots"]), []).append(setting["name"])
    targets, sources, shots = (list(dict.fromkeys(each)) for each in zip(*named, strict=True)) if named else ([],) * 3
    shots = in_order(shots)

    def place(key: tuple[str, str, str]) -> tuple[float, ...]:
        target, source, number = key
        distance = near.get((source, target), np.inf)
        return targets.index(target), distance, sources.index(source), shots.index(number)

    found = []
    for architecture in view.architectures:
        for target, source, number in sorted(named, key=place):
            settings = named[target, source, number]
            here = rows[(rows["architecture"] == architecture) & (rows["setting"] == settings[0])]
            name = f"{architecture}, " * (len(view.depths) > 1) + f"{source} → {target}"
            distance = far.get((architecture, source, target))
            head = name if distance is None else f"{name}, distance {plain(distance)}"
            if len(here):
                found.append(Cell(architecture, head, name, number, settings, here))
    return found
