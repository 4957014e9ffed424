"""What the tables say of an arm, a pair or a checkpoint, by seed."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from whypretrain.evidence.analysis import seed_values
from whypretrain.evidence.values import Values, mean_of
from whypretrain.study.coordinates import ARM_KEYS, UNTRAINED, Arm, key_of, split_epoch

NOTHING = pd.DataFrame
NEAR = 0.01  # of top-1: a rate this near to the best is as good
SHARE = 0.95  # of scratch's best validation top-1


@dataclass(frozen=True)
class Tables:
    """What the claims are decided on; tables that no claim reads may be empty."""

    runs: pd.DataFrame
    selected: pd.DataFrame
    kernels: pd.DataFrame
    sources: pd.DataFrame = field(default_factory=NOTHING)
    parts: pd.DataFrame = field(default_factory=NOTHING)
    pairs: pd.DataFrame = field(default_factory=NOTHING)
    history: pd.DataFrame = field(default_factory=NOTHING)


def _by_arm(table: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
    return {tuple(map(str, keys)): group for keys, group in table.groupby(ARM_KEYS, observed=True)}


def _by_seed(group: pd.DataFrame, column: str) -> Values:
    return dict(zip(group["seed"].tolist(), group[column].tolist(), strict=True))


class Readings:
    """Looks values up by arm, each arm at its selected learning rate."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._columns: dict[str, dict[tuple[str, ...], Values]] = {}

    def _column(self, column: str) -> dict[tuple[str, ...], Values]:
        """A column of `runs` by seed, of every arm at its selected rate."""
        if column not in self._columns:
            self._columns[column] = seed_values(self.tables.runs, self.tables.selected, column)
        return self._columns[column]

    @cached_property
    def _runs(self) -> dict[tuple[str, ...], pd.DataFrame]:
        return _by_arm(self.tables.runs)

    @cached_property
    def _histories(self) -> dict[tuple[str, ...], pd.DataFrame]:
        return _by_arm(self.tables.history)

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

    def value(self, measure: str, arm: Arm, rate: float | None = None) -> Values:
        """Return a measure of an arm, at a learning rate or else at the selected one.

        `parts.PART.IMAGES.MOMENT`, `movement` (mean over layers of one minus the final kernel cosine), `rate_width`
        (of all rates), or a column of `runs`.
        """
        if measure.startswith("parts."):
            return self._parts[(*key_of(arm), *measure.split(".")[1:])]
        if measure == "movement":
            return self._movement(arm, self.rate(arm) if rate is None else rate)
        if measure == "rate_width":
            return self._rate_width(arm)
        if rate is None:
            return self._column(measure)[key_of(arm)]
        runs = self._runs[key_of(arm)]
        return _by_seed(runs[runs["learning_rate"] == rate], measure)

    def _movement(self, arm: Arm, rate: float) -> Values:
        layers = [found for keys, found in self.cosines.items() if keys[:-1] == (*key_of(arm), rate)]
        return {seed: 1 - cosine for seed, cosine in mean_of(layers).items()}

    def _rate_width(self, arm: Arm) -> Values:
        """Factors of ten between the least and the largest rate whose test top-1 is within a point of the best."""
        found = {}
        for seed, runs in self._runs[key_of(arm)].groupby("seed"):
            near = runs["learning_rate"][runs["top1_test"] >= runs["top1_test"].max() - NEAR]
            found[int(str(seed))] = float(np.log10(near.max() / near.min()))
        return found

    def steps_to(self, arm: Arm, scratch: Arm, rate: float | None = None) -> Values:
        """Return the updates after which an arm's validation top-1 first is 95 % of the best that scratch reaches.

        Read at the read-out epochs, seed by seed; the whole length where it never gets there.
        """
        found = {}
        best = self._history(scratch, None).groupby("seed")["top1_validation"].max()
        for seed, rows in self._history(arm, rate).groupby("seed"):
            reached = rows.loc[rows["top1_validation"] >= SHARE * best[seed] - 1e-9, "step"]
            found[int(str(seed))] = float(reached.min() if len(reached) else rows["step"].max())
        return found

    def _history(self, arm: Arm, rate: float | None) -> pd.DataFrame:
        rows = self._histories[key_of(arm)]
        return rows[rows["learning_rate"] == (self.rate(arm) if rate is None else rate)]

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
        """Return the CKA of a pair by seed, averaged over layers; NaN where it is undefined in one of them."""
        table = self.tables.pairs
        rows = table[(table["pair"] == pair) & (table["architecture"] == architecture) & table["layer"].isin(layers)]
        return {int(str(seed)): float(group["cka"].mean(skipna=False)) for seed, group in rows.groupby("seed")}
