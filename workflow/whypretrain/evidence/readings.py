"""What the tables say of an arm, a pair or a checkpoint, by seed."""

from collections.abc import Callable, Collection, Iterable
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from whypretrain.evidence.analysis import selected_in
from whypretrain.evidence.selection import by_few
from whypretrain.evidence.values import Values, combined, mean_height, mean_of, reached_at, width_near_top
from whypretrain.files.storage import read_columns
from whypretrain.grid.coordinates import ARM_KEYS, UNTRAINED, Arm, key_of, split_epoch

NOTHING = pd.DataFrame
AT_SELECTED = ("_parts", "_edges", "_rates")  # what of the readings goes by the selected rates
SHARE = 0.95  # of scratch's best validation top-1


@dataclass(frozen=True)
class Tables:
    """What the claims are decided on: runs of fresh seeds at the rates that pilots selected.

    Tables that no claim reads may be empty.
    """

    runs: pd.DataFrame
    selected: pd.DataFrame
    kernels: pd.DataFrame = field(default_factory=NOTHING)
    sources: pd.DataFrame = field(default_factory=NOTHING)
    parts: pd.DataFrame = field(default_factory=NOTHING)
    pairs: pd.DataFrame = field(default_factory=NOTHING)
    history: pd.DataFrame = field(default_factory=NOTHING)
    pilots: pd.DataFrame = field(default_factory=NOTHING)
    few: Collection[str] = ()  # studies that select by as few validation images as a user has


TABLES = ("runs", "selected", "pilots", "kernels", "sources", "parts", "pairs", "history")  # their files, in this order


def read_evidence(path: Callable[[str], str], few: Collection[str]) -> Tables:
    """Read the tables that claims are decided on; `path` gives the file of each."""
    return Tables(**{name: read_columns(path(name))[0].to_pandas() for name in TABLES}, few=few)


def _by_arm(table: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
    return {tuple(map(str, keys)): group for keys, group in table.groupby(ARM_KEYS, observed=True)}


def _by_seed(group: pd.DataFrame, column: str) -> Values:
    return dict(zip(group["seed"].tolist(), group[column].tolist(), strict=True))


class Readings:
    """Looks values up by arm, each arm at the learning rate that a study selected."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._of: dict[str, Readings] = {}

    def of(self, study: str) -> "Readings":
        """Return the readings at the rates that one study selected."""
        if study not in self._of:
            own = replace(self.tables, selected=selected_in(self.tables.selected, study))
            if study in self.tables.few:
                own = replace(own, runs=by_few(own.runs), pilots=by_few(own.pilots))
            self._of[study] = Readings(own)
        return self._of[study]

    def at(self, selected: pd.DataFrame) -> "Readings":
        """Return the same at other selected rates; what doesn't go by them isn't gathered again."""
        other = copy(self)
        other.tables = replace(self.tables, selected=selected)
        other._of = {study: own.at(selected_in(selected, study)) for study, own in self._of.items()}
        for name in AT_SELECTED:
            other.__dict__.pop(name, None)
        return other

    @cached_property
    def _runs(self) -> dict[tuple[str, ...], pd.DataFrame]:
        return _by_arm(self.tables.runs)

    @cached_property
    def _pilots(self) -> dict[tuple[str, ...], pd.DataFrame]:
        return _by_arm(self.tables.pilots)

    @cached_property
    def _histories(self) -> dict[tuple[str, ...], pd.DataFrame]:
        return _by_arm(self.tables.history)

    @cached_property
    def _parts(self) -> dict[tuple[str, ...], Values]:
        at = [*ARM_KEYS, "learning_rate"]
        parts = self.tables.parts.merge(self.tables.selected[at], on=at)
        groups = parts.groupby([*ARM_KEYS, "part", "images", "moment"], observed=True)
        return {tuple(map(str, key)): _by_seed(group, "top1_test") for key, group in groups}

    @cached_property
    def _sources(self) -> dict[tuple[str, str, float, bool], Values]:
        groups = self.tables.sources.groupby(["architecture", "source", "epoch", "annealed"], observed=True)
        return {
            (str(architecture), str(source), float(str(epoch)), bool(annealed)): _by_seed(group, "top1_test")
            for (architecture, source, epoch, annealed), group in groups
        }

    @cached_property
    def _edges(self) -> dict[tuple[str, ...], bool]:
        rows = self.tables.selected.to_dict(orient="records")
        return {tuple(str(row[key]) for key in ARM_KEYS): bool(row["grid_edge"]) for row in rows}

    @cached_property
    def _cosines(self) -> dict[tuple[object, ...], dict[tuple[int, int], Values]]:
        # by arm and rate
        run = [*ARM_KEYS, "learning_rate", "seed"]
        # a run that diverged ended early: what it had by then is no cosine of a trained network
        kernels = self.tables.kernels.merge(self.tables.runs[[*run, "diverged"]], on=run)
        kernels.loc[kernels["diverged"], "cosine_mean"] = np.nan
        moved = kernels[kernels["target_epoch"] > 0]
        found: dict[tuple[object, ...], dict[tuple[int, int], Values]] = {}
        groups = moved.groupby([*ARM_KEYS, "learning_rate", "layer", "target_epoch"], observed=True)
        for (*keys, layer, epoch), group in groups:
            found.setdefault(tuple(keys), {})[int(str(layer)), int(str(epoch))] = _by_seed(group, "cosine_mean")
        return found

    @cached_property
    def _rates(self) -> dict[tuple[str, ...], float]:
        rows = self.tables.selected.to_dict(orient="records")
        return {tuple(str(row[key]) for key in ARM_KEYS): float(row["learning_rate"]) for row in rows}

    def at_edge(self, arm: Arm) -> bool:
        """Whether an arm's selected learning rate is at the edge of its grid."""
        return self._edges[key_of(arm)]

    def rate(self, arm: Arm) -> float:
        """Return an arm's selected learning rate; NaN where it has none."""
        return self._rates[key_of(arm)]

    def selection(self, arms: Iterable[Arm]) -> tuple[tuple[float | None, bool | None], ...]:
        """Return the selected rate of each arm, None where it has none, and whether it is at an edge."""
        found = ((self._rates.get(key), self._edges.get(key)) for key in map(key_of, arms))
        return tuple((None if rate is None or np.isnan(rate) else rate, edge) for rate, edge in found)

    def cosines(self, arm: Arm, rate: float) -> dict[tuple[int, int], Values]:
        """Return the kernel cosine by seed, for every layer and read-out epoch after the start.

        NaN for a run that diverged; empty where the arm has no run at the rate.
        """
        return self._cosines.get((*key_of(arm), rate), {})

    def value(self, measure: str, arm: Arm, rate: float | None = None) -> Values:
        """Return a measure of an arm, at a learning rate or else at the selected one.

        `parts.PART.IMAGES.MOMENT`, `movement` (mean over layers of one minus the final kernel cosine), `curve_area`,
        `loss_gap` (test loss minus training loss), or a column of `runs`.
        """
        if measure.startswith("parts."):
            return self._parts[(*key_of(arm), *measure.split(".")[1:])]
        if measure == "movement":
            return self._movement(arm, self.rate(arm) if rate is None else rate)
        if measure == "curve_area":
            return self._curve_area(arm, rate)
        if measure == "loss_gap":
            return combined([self.value("loss_test", arm, rate)], [self.value("loss_train", arm, rate)])
        runs = self._runs[key_of(arm)]
        rate = self.rate(arm) if rate is None else rate
        return _by_seed(
            runs[runs["learning_rate"].isna() if np.isnan(rate) else runs["learning_rate"] == rate], measure
        )

    def _movement(self, arm: Arm, rate: float) -> Values:
        found = self.cosines(arm, rate)
        last = max(epoch for _, epoch in found)
        layers = [cosine for (_, epoch), cosine in found.items() if epoch == last]
        return {seed: 1 - cosine for seed, cosine in mean_of(layers).items()}

    def rate_width(self, arm: Arm, scratch: Arm) -> Values:
        """Return by seed how many factors of ten the learning rates span that are nearly as good as the best.

        Nearly: in test top-1 within scratch's standard error over seeds, at scratch's best rate; one measure for all
        arms, so that an arm doesn't seem to have many good rates because its seeds differ much. Between the rates of
        the grid top-1 runs straight, on the logarithm of the rate. Of pilot seeds, which alone have the whole grid.
        """
        grid = self._grid(scratch)
        near = float(grid.sem().iloc[int(grid.mean().argmax())])
        return {
            int(str(seed)): width_near_top(np.log10(line.index.to_numpy(float)), line.to_numpy(), near)
            for seed, line in self._grid(arm).iterrows()
        }

    def _grid(self, arm: Arm) -> pd.DataFrame:
        """Return test top-1 of pilots, a row for each seed and a column for each rate."""
        runs = self._pilots[key_of(arm)]
        return runs.pivot(index="seed", columns="learning_rate", values="top1_test").dropna()

    def steps_to(self, arm: Arm, scratch: Arm, rate: float | None = None) -> Values:
        """Return the updates after which an arm's validation top-1 first is 95 % of the best that scratch reaches.

        Seed by seed, between read-outs on a straight line; the whole length where it never gets there, NaN for a run
        that diverged.
        """
        best = {seed: float(np.max(top1)) for seed, (_, top1) in self._curves(scratch, None).items()}
        return {
            seed: reached_at(steps, top1, SHARE * best[seed]) for seed, (steps, top1) in self._curves(arm, rate).items()
        }

    def _curve_area(self, arm: Arm, rate: float | None) -> Values:
        """Return the mean of validation top-1 over the steps of training, NaN for a run that diverged."""
        return {seed: mean_height(steps, top1) for seed, (steps, top1) in self._curves(arm, rate).items()}

    def _curves(self, arm: Arm, rate: float | None) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Return steps and validation top-1 by seed; of a run that diverged, whose curve breaks off, no top-1."""
        rate = self.rate(arm) if rate is None else rate
        rows, found = self._histories[key_of(arm)], {}
        diverged = self.value("diverged", arm, rate)
        for seed, curve in rows[rows["learning_rate"] == rate].sort_values("step").groupby("seed"):
            top1 = curve["top1_validation"].to_numpy(float)
            found[int(str(seed))] = curve["step"].to_numpy(float), top1 * (np.nan if diverged[int(str(seed))] else 1.0)
        return found

    def source_accuracy(self, arm: Arm) -> Values:
        """Return the test top-1 on the source's own task of the checkpoint that an arm starts from.

        A checkpoint at epoch 0 counts in both branches. Empty for the untrained network and for a source that isn't
        in the tables, NaN with every seed for a source that learns no labels.
        """
        if arm.source == UNTRAINED:
            return {}
        epoch, annealed = split_epoch(arm.epoch)
        return self._sources.get((arm.architecture, arm.source, epoch, annealed), {})

    def likeness(self, pair: str, architecture: str, layers: tuple[int, ...]) -> Values:
        """Return the CKA of a pair by seed, averaged over layers; NaN where it is undefined in one of them.

        Where two studies selected other rates for its networks, over these as well.
        """
        table = self.tables.pairs
        rows = table[(table["pair"] == pair) & (table["architecture"] == architecture) & table["layer"].isin(layers)]
        return {int(str(seed)): float(group["cka"].mean(skipna=False)) for seed, group in rows.groupby("seed")}
