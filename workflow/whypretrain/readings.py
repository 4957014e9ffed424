"""What the tables say of an arm, a pair or a checkpoint, by seed."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from whypretrain.analysis import ARM_KEYS, key_of, seed_values
from whypretrain.coordinates import UNTRAINED, Arm, split_epoch
from whypretrain.values import Values

NOTHING = pd.DataFrame


@dataclass(frozen=True)
class Tables:
    """What the claims are decided on; tables that no claim reads may be empty."""

    runs: pd.DataFrame
    selected: pd.DataFrame
    kernels: pd.DataFrame
    sources: pd.DataFrame = field(default_factory=NOTHING)
    parts: pd.DataFrame = field(default_factory=NOTHING)
    pairs: pd.DataFrame = field(default_factory=NOTHING)


def _by_seed(group: pd.DataFrame, column: str) -> Values:
    return dict(zip(group["seed"].tolist(), group[column].tolist(), strict=True))


class Readings:
    """Looks values up by arm, each arm at its selected learning rate."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    @cached_property
    def _top1(self) -> dict[str, dict[tuple[str, ...], Values]]:
        columns = ("top1_test", "top1_validation")
        return {column: seed_values(self.tables.runs, self.tables.selected, column) for column in columns}

    @cached_property
    def _parts(self) -> dict[tuple[str, ...], Values]:
        keys = [*ARM_KEYS, "part", "images", "moment"]
        groups = self.tables.parts.groupby(keys, observed=True)
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
    def cosines(self) -> dict[tuple[object, ...], Values]:
        """Final kernel cosine by seed, for every arm's key, learning rate and layer; NaN for a run that diverged."""
        run = [*ARM_KEYS, "learning_rate", "seed"]
        # a run that diverged ended early: what it had by then is no final cosine
        kernels = self.tables.kernels.merge(self.tables.runs[[*run, "diverged"]], on=run)
        kernels.loc[kernels["diverged"], "cosine_mean"] = np.nan
        last = kernels["target_epoch"] == kernels.groupby(run, observed=True)["target_epoch"].transform("max")
        groups = kernels[last].groupby([*ARM_KEYS, "learning_rate", "layer"], observed=True)
        return {keys: _by_seed(group, "cosine_mean") for keys, group in groups}

    def at_edge(self, arm: Arm) -> bool:
        """Whether an arm's selected learning rate is at the edge of its grid."""
        return self._edges[key_of(arm)]

    def value(self, measure: str, arm: Arm) -> Values:
        """Return `top1_test`, `top1_validation` or `parts.PART.IMAGES.MOMENT` of an arm."""
        if measure.startswith("parts."):
            return self._parts[(*key_of(arm), *measure.split(".")[1:])]
        return self._top1[measure][key_of(arm)]

    def source_accuracy(self, arm: Arm) -> Values:
        """Return the test top-1 on the source's own task of the checkpoint that an arm starts from.

        A checkpoint at epoch 0 counts in both branches. Empty for the untrained network.
        """
        if arm.source == UNTRAINED:
            return {}
        epoch, annealed = split_epoch(arm.epoch)
        return self._sources[arm.architecture, arm.source, epoch, annealed]

    def likeness(self, pair: str, architecture: str, layers: tuple[int, ...]) -> Values:
        """Return the CKA of a pair by seed, averaged over layers; NaN where it is undefined in one of them."""
        table = self.tables.pairs
        rows = table[(table["pair"] == pair) & (table["architecture"] == architecture) & table["layer"].isin(layers)]
        return {int(str(seed)): float(group["cka"].mean(skipna=False)) for seed, group in rows.groupby("seed")}
