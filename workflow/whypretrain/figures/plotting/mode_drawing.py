"""What the figures of modes of use share: the study's cells in order, and how far each source is from its target."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from whypretrain.figures.plotting.view import View

Pair = tuple[str, str]  # source and target
ALL = "full"  # shots: every training image
TIE = "\u00a0"  # a no-break space: a number stays with what it is of


def in_order(shots: Iterable[str]) -> list[str]:
    """Return numbers of shots in order, all images last."""
    return sorted(set(shots), key=lambda each: (each == ALL, 0 if each == ALL else int(each)))


def shots_text(shots: str) -> str:
    """Say how many training images there are for each class, in words that no line parts."""
    if shots == ALL:
        return f"all{TIE}images"
    return f"{shots}{TIE}shot{'s' if shots != '1' else ''}"


def cells_of(rows: pd.DataFrame, view: View) -> dict[Pair, dict[str, list[str]]]:
    """Return the study's settings that rows of `modes` are of, by pair and then shots, in the order of config.

    A setting of several pairs, and what is compared over all sources of a target, is no such cell.
    """
    found = set(rows["setting"].astype(str))
    cells: dict[Pair, dict[str, list[str]]] = {}
    for setting in view.settings:
        if setting["name"] in found:
            of_pair = cells.setdefault((setting["source"], setting["target"]), {})
            of_pair.setdefault(setting["shots"], []).append(setting["name"])
    return cells


def distances(starts: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the mean proxy A-distance by architecture, source and target, where it was measured."""
    known = starts.dropna(subset="proxy_a_distance")
    means = known.groupby(["architecture", "source", "target"], observed=True)["proxy_a_distance"].mean().reset_index()
    return {(str(a), str(s), str(t)): float(mean) for a, s, t, mean in means.itertuples(index=False)}


def by_distance(pairs: Sequence[Pair], measured: Mapping[tuple[str, str, str], float]) -> list[Pair]:
    """Return the pairs, target by target, the nearest source first; those that weren't measured stand last.

    Over several architectures the distance is their mean.
    """
    targets = list(dict.fromkeys(target for _, target in pairs))

    def place(pair: Pair) -> tuple[int, float]:
        found = [far for (_, *between), far in measured.items() if tuple(between) == pair]
        return targets.index(pair[1]), float(np.mean(found)) if found else np.inf

    return sorted(pairs, key=place)


def heading(pair: Pair, distance: float | None) -> str:
    """Return what goes where, and from how far."""
    told = "" if distance is None else f", distance{TIE}{distance:.2f}".replace("-", "−")
    return f"{pair[0]} → {pair[1]}{told}"


def architecture_word(architecture: str, view: View) -> list[str]:
    """Name the architecture where the study has several."""
    return [architecture] if len(view.depths) > 1 else []


def counted(number: int, total: int, what: str) -> str:
    """Write a count of some."""
    return f"all {total} {what}s" if number == total > 1 else f"{number} of {total} {what}{'s' if total > 1 else ''}"
