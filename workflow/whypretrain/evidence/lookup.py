"""What the tables say of an arm, a pair or a checkpoint, by seed."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.evidence.selection import by_few
from whypretrain.evidence.values import Array, Values, combined, mean_height, reached_at, width_near_top
from whypretrain.files.storage import read_columns
from whypretrain.grid.coordinates import ARM_KEYS, UNTRAINED, Arm, key_of, split_epoch

NOTHING = pd.DataFrame
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


def _by_seed(group: pd.DataFrame, column: str) -> Values:
    return dict(zip(group["seed"].tolist(), group[column].tolist(), strict=True))


class Lookup:
    """Looks values up by arm, each arm at the learning rate that a study selected.

    Lookups at other rates, and of single studies, share the rows of arms, which don't go by the rates.
    """

    def __init__(self, tables: Tables, few: bool = False, shared: dict[Any, Any] | None = None) -> None:
        self.tables, self.few = tables, few
        self._by_arm: dict[tuple[str, bool], dict[tuple[str, ...], pd.DataFrame]] = {} if shared is None else shared

    def of(self, study: str) -> "Lookup":
        """Return the lookup at the rates that one study selected."""
        selected = self.tables.selected
        selected = selected[selected["study"] == study] if "study" in selected else selected  # else all select alike
        return Lookup(replace(self.tables, selected=selected), study in self.tables.few, self._by_arm)

    def at(self, selected: pd.DataFrame) -> "Lookup":
        """Return the lookup at other selected rates."""
        return Lookup(replace(self.tables, selected=selected), self.few, self._by_arm)

    def _of_arm(self, name: str, arm: Arm) -> pd.DataFrame:
        """Return an arm's rows of a table."""
        table, few = getattr(self.tables, name), self.few and name in ("runs", "pilots")
        if (name, few) not in self._by_arm:
            rows = by_few(table) if few else table
            self._by_arm[name, few] = {tuple(map(str, key)): own for key, own in rows.groupby(ARM_KEYS, observed=True)}
        return self._by_arm[name, few].get(key_of(arm), table.iloc[:0])

    def _at(self, name: str, arm: Arm, rate: float | None) -> pd.DataFrame:
        """Return an arm's rows of a table at a learning rate, or else at the selected one."""
        rows, rate = self._of_arm(name, arm), self.rate(arm) if rate is None else rate
        return rows[rows["learning_rate"].isna() if np.isnan(rate) else rows["learning_rate"] == rate]

    @cached_property
    def _sources(self) -> dict[Any, Values]:
        groups = self.tables.sources.groupby(["architecture", "source", "epoch", "annealed"], observed=True)
        return {key: _by_seed(group, "top1_test") for key, group in groups}

    @cached_property
    def _selected(self) -> dict[tuple[str, ...], tuple[float, bool]]:
        rows = self.tables.selected[[*ARM_KEYS, "learning_rate", "grid_edge"]].itertuples(index=False, name=None)
        return {tuple(map(str, key)): (float(rate), bool(edge)) for *key, rate, edge in rows}

    def rate(self, arm: Arm) -> float:
        """Return an arm's selected learning rate; NaN where it has none."""
        return self._selected[key_of(arm)][0]

    def at_edge(self, arm: Arm) -> bool:
        """Whether an arm's selected learning rate is at the edge of its grid."""
        return self._selected[key_of(arm)][1]

    def selection(self, arms: Iterable[Arm]) -> tuple[str, ...]:
        """Return what is selected for each arm, so that what is selected alike is equal."""
        return tuple(str(self._selected.get(key_of(arm))) for arm in arms)

    def _learnt(self, arm: Arm, rate: float | None) -> Values:
        """Return 1 by seed, and NaN for a run that diverged: it ended early, and so its curves break off."""
        return {seed: np.nan if lost else 1.0 for seed, lost in self.value("diverged", arm, rate).items()}

    def cosines(self, arm: Arm, rate: float | None) -> pd.DataFrame:
        """Return the kernel cosine: a row for each seed, a column for each layer and read-out epoch after the start.

        NaN for a run that diverged; empty where the arm has no run at the rate.
        """
        rows, learnt = self._at("kernels", arm, rate), self._learnt(arm, rate)
        moved = rows[(rows["target_epoch"] > 0) & rows["seed"].isin(learnt)]
        found = moved.pivot(index="seed", columns=["layer", "target_epoch"], values="cosine_mean")
        return found.mul([learnt[seed] for seed in found.index], axis=0)

    def value(self, measure: str, arm: Arm, rate: float | None = None) -> Values:
        """Return a measure of an arm, at a learning rate or else at the selected one.

        `parts.PART.IMAGES.MOMENT` (at the selected rate), `movement` (mean over layers of one minus the final kernel
        cosine), `curve_area` (mean of validation top-1 over the steps), `loss_gap` (test loss minus training loss), or
        a column of `runs`.
        """
        if measure.startswith("parts."):
            rows, (_, *parts) = self._at("parts", arm, None), measure.split(".")
            return _by_seed(rows[(rows[["part", "images", "moment"]] == parts).all(axis=1)], "top1_test")
        if measure == "movement":
            found = self.cosines(arm, rate)
            final = found.xs(found.columns.get_level_values("target_epoch").max(), axis=1, level="target_epoch")
            return {seed: 1 - float(np.mean(row)) for seed, row in zip(final.index, final.to_numpy(), strict=True)}
        if measure == "curve_area":
            return {seed: mean_height(steps, top1) for seed, (steps, top1) in self._curves(arm, rate).items()}
        if measure == "loss_gap":
            return combined([self.value("loss_test", arm, rate)], [self.value("loss_train", arm, rate)])
        return _by_seed(self._at("runs", arm, rate), measure)

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
        return self._of_arm("pilots", arm).pivot(index="seed", columns="learning_rate", values="top1_test").dropna()

    def steps_to(self, arm: Arm, scratch: Arm, rate: float | None = None) -> Values:
        """Return the updates after which an arm's validation top-1 first is 95 % of the best that scratch reaches.

        Seed by seed, between read-outs on a straight line; the whole length where it never gets there, NaN for a run
        that diverged.
        """
        best = {seed: float(np.max(top1)) for seed, (_, top1) in self._curves(scratch, None).items()}
        return {
            seed: reached_at(steps, top1, SHARE * best[seed]) for seed, (steps, top1) in self._curves(arm, rate).items()
        }

    def _curves(self, arm: Arm, rate: float | None) -> dict[int, tuple[Array, Array]]:
        """Return steps and validation top-1 by seed; of a run that diverged, whose curve breaks off, no top-1."""
        rows, learnt = self._at("history", arm, rate).sort_values("step"), self._learnt(arm, rate)
        return {
            seed: (curve["step"].to_numpy(float), curve["top1_validation"].to_numpy(float) * factor)
            for seed, factor in learnt.items()
            if len(curve := rows[rows["seed"] == seed])
        }

    def source_accuracy(self, arm: Arm) -> Values:
        """Return the test top-1 on the source's own task of the checkpoint that an arm starts from.

        A checkpoint at epoch 0 counts in both branches. Empty for the untrained network and for a source that isn't in
        the tables, NaN with every seed for a source that learns no labels.
        """
        if arm.source == UNTRAINED:
            return {}
        return self._sources.get((arm.architecture, arm.source, *split_epoch(arm.epoch)), {})

    def likeness(self, pair: str, architecture: str, layers: tuple[int, ...]) -> Values:
        """Return the CKA of a pair by seed, averaged over layers; NaN where it is undefined in one of them.

        Where two studies selected other rates for its networks, over these as well.
        """
        table = self.tables.pairs
        rows = table[(table["pair"] == pair) & (table["architecture"] == architecture) & table["layer"].isin(layers)]
        return {int(str(seed)): float(group["cka"].mean(skipna=False)) for seed, group in rows.groupby("seed")}
