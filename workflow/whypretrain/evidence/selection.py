"""Which learning rate an arm has: the one that validation prefers, averaged over seeds."""

import math
from collections.abc import Sequence

import pandas as pd

from whypretrain.grid.coordinates import ARM_KEYS
from whypretrain.randomness import stream


def preference(top1: float, loss: float, rate: float | None, criterion: str = "top1") -> tuple[float, float, float]:
    """Return what learning rates are ordered by, the best first: mean validation top-1, then loss, then the rate.

    With the criterion `loss` the loss comes first. Accuracies are counts of images: what differs by less than any count
    is a tie, and so is a loss but for rounding. Where there is no loss (an SVM) or no rate it counts as zero, so that
    any list can be sorted.
    """
    wrong, nats = -round(top1, 9), 0.0 if math.isnan(loss) else round(loss, 9)
    first, second = (nats, wrong) if criterion == "loss" else (wrong, nats)
    return first, second, 0.0 if rate is None or math.isnan(rate) else rate


def select_learning_rates(pilots: pd.DataFrame, criterion: str = "top1") -> pd.DataFrame:
    """Return one row an arm: its learning rate and whether that is at the edge of its grid.

    The rate with the highest validation top-1, averaged over seeds; ties go to the lower validation loss, then to the
    lower rate. With the criterion `loss` it is the rate with the lowest validation loss. A grid of one rate has no
    edge: nothing is selected, the rate is part of the recipe. A probe has no rate, and below the lowest rate of `lpft`,
    which goes on from a probe, there is nothing but that probe, an arm of its own.
    """
    columns = ["top1_validation", "loss_validation"]
    keys = [*ARM_KEYS, "learning_rate"]
    means = pilots.groupby(keys, as_index=False, observed=True, dropna=False)[columns].mean()
    order = [
        preference(top1, loss, rate, criterion)
        for top1, loss, rate in means[[*columns, "learning_rate"]].itertuples(index=False, name=None)
    ]
    rate, rates = means["learning_rate"], means.groupby(ARM_KEYS, observed=True)["learning_rate"]
    least, largest = rates.transform("min"), rates.transform("max")
    means["grid_edge"] = (least < largest) & (((rate == least) & (means["mode"] != "lpft")) | (rate == largest))
    best = means.iloc[sorted(range(len(order)), key=order.__getitem__)].drop_duplicates(ARM_KEYS)
    return best[[*keys, "grid_edge"]].sort_values(ARM_KEYS, ignore_index=True)


def by_few(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs as the few validation images see them, and with what those select (`selection: shots`)."""
    few = {name.removesuffix("_few"): runs[name] for name in map(str, runs) if name.endswith("_few")}
    return runs.assign(**few)


def draw_seeds(seeds: Sequence[int], draws: int) -> list[list[int]]:
    """Return as many draws of as many seeds, with replacement: the same ones for all arms and studies."""
    rng = stream("selection-draws")
    return [rng.choice(list(seeds), size=len(seeds)).tolist() for _ in range(draws)]


def select_again(
    pilots: pd.DataFrame, draws: Sequence[Sequence[int]], criterion: str
) -> dict[tuple[str, ...], list[tuple[float, bool]]]:
    """Return what each draw of pilot seeds selects for each arm, by its key: a rate, and whether it is at an edge."""
    by_seed = {int(str(seed)): own for seed, own in pilots.groupby("seed")}
    found: dict[tuple[str, ...], list[tuple[float, bool]]] = {}
    for draw in draws:
        chosen = select_learning_rates(pd.concat([by_seed[seed] for seed in draw]), criterion)
        for *key, rate, edge in chosen[[*ARM_KEYS, "learning_rate", "grid_edge"]].itertuples(index=False, name=None):
            found.setdefault(tuple(map(str, key)), []).append((float(rate), bool(edge)))
    return found
