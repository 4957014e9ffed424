"""From runs to arms and contrasts: the learning rate of each arm, its mean, and differences by seed.

Frames in, frames out; validation selects, test is only reported.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from whypretrain.evidence.selection import by_few
from whypretrain.evidence.statistics import interval, p_value, paired
from whypretrain.evidence.values import common
from whypretrain.files.schemas import PARTS
from whypretrain.grid.coordinates import ARM_KEYS, Arm, key_columns, key_of

MEASURES = ("top1_test", "loss_test")

# Pairs of treatments of which the first destroys what the second does, and more.
NESTED = (
    ("shuffle-kernels", "shuffle-filters"),
    ("shuffle-kernels", "shuffle-inputs"),
    ("shuffle-weights", "shuffle-kernels"),
    ("shuffle-weights", "shuffle-taps"),
    ("resample-kernels", "shuffle-kernels"),
    ("gaussian-kernels", "resample-kernels"),
    ("gaussian", "gaussian-kernels"),
)


def make_design(
    runs: pd.DataFrame,
    selected: pd.DataFrame,
    studies: Mapping[Arm, Sequence[str]],
    relations: Mapping[Arm, str],
) -> pd.DataFrame:
    """Return one row a study and run: which study each run belongs to, and whether its rate was selected."""
    membership = pd.DataFrame(
        [
            {"study": study, **key_columns(arm), "relation": relations[arm]}
            for arm, names in studies.items()
            for study in names
        ]
    )
    design = membership.merge(runs[[*ARM_KEYS, "learning_rate", "seed"]], on=ARM_KEYS)
    chosen = selected[[*_keys(selected), "learning_rate"]].assign(selected=True)
    design = design.merge(chosen, on=[*_keys(selected), "learning_rate"], how="left")
    design["selected"] = design["selected"].eq(True)
    return design.sort_values(["study", *ARM_KEYS, "learning_rate", "seed"], ignore_index=True)


def summarise_arms(
    runs: pd.DataFrame,
    design: pd.DataFrame,
    selected: pd.DataFrame,
    largest: Mapping[str, float],
    few: Collection[str] = (),
    one_network: Collection[str] = (),
) -> pd.DataFrame:
    """Return one row a study and arm: the means over seeds at the selected rate, with a t-interval for test top-1.

    `largest` gives for each target task what always guessing its largest class gets right, `few` names the studies
    that select by as few validation images as a user has, `one_network` the sources that all seeds share.
    """
    kept = design[design["selected"]].merge(runs, on=[*ARM_KEYS, "learning_rate", "seed"])
    kept = pd.concat([by_few(group) if study in few else group for study, group in kept.groupby("study")])
    kept = kept.merge(selected[[*_keys(selected), "grid_edge"]], on=_keys(selected))
    rows = []
    for keys, group in kept.groupby(["study", *ARM_KEYS], observed=True):
        estimate = interval(group["top1_test"].to_numpy())
        row = dict(zip(["study", *ARM_KEYS], keys, strict=True))
        row |= {
            "relation": group["relation"].iloc[0],
            "learning_rate": group["learning_rate"].iloc[0],
            "grid_edge": bool(group["grid_edge"].iloc[0]),
            "n": len(group),
            "source_networks": 1 if row["source"] in one_network else len(group),
            "diverged": int(group["diverged"].sum()),
            "collapsed": int(group["collapsed"].sum()),
            "unconverged": int((~group["converged"].astype(bool)).sum()),
            "top1_test_low": estimate.low,
            "top1_test_high": estimate.high,
            "balanced_test": group["balanced_test"].mean(),
            "largest_class": largest[str(row["target"])],
        }
        row |= {f"{what}_{part}": group[f"{what}_{part}"].mean() for what in ("top1", "loss") for part in PARTS}
        rows.append(row)
    return pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)


def _keys(selected: pd.DataFrame) -> list[str]:
    """Return what tells selections apart: study and arm, or the arm alone where all studies select alike."""
    return ["study", *ARM_KEYS] if "study" in selected else ARM_KEYS


def selected_in(selected: pd.DataFrame, study: str) -> pd.DataFrame:
    """Return the selections of a study."""
    return selected[selected["study"] == study] if "study" in selected else selected


def seed_values(runs: pd.DataFrame, selected: pd.DataFrame, measure: str) -> dict[tuple[str, ...], dict[int, float]]:
    """Return a measure by seed of every arm at its selected rate; arms are given by their key columns' values."""
    chosen = runs.merge(selected[[*ARM_KEYS, "learning_rate"]], on=[*ARM_KEYS, "learning_rate"])
    return {
        tuple(map(str, keys)): dict(zip(group["seed"].tolist(), group[measure].tolist(), strict=True))
        for keys, group in chosen.groupby(ARM_KEYS, observed=True)
    }


def _pairs(arms: Iterable[Arm], scratch_recipe: str) -> Iterable[tuple[Arm, Arm]]:
    alike: dict[tuple[str, str, str], list[Arm]] = {}
    for arm in sorted(set(arms)):
        alike.setdefault((arm.architecture, arm.target, arm.mode), []).append(arm)
    for arm, other in (pair for group in alike.values() for pair in itertools.permutations(group, 2)):
        same_source = (other.source, other.epoch, other.recipe) == (arm.source, arm.epoch, arm.recipe)
        intact = same_source and other.treatment == "intact"
        scratch = other.source == "none" and other.treatment == "intact" and other.recipe == scratch_recipe
        nested = same_source and other.span == arm.span and (arm.treatment, other.treatment) in NESTED
        if intact or scratch or nested:
            yield arm, other


def make_contrasts(
    runs: pd.DataFrame,
    selected: pd.DataFrame,
    studies: Mapping[str, tuple[Sequence[Arm], str]],
    few: Collection[str] = (),
) -> pd.DataFrame:
    """Return every arm minus intact, minus scratch, and minus the treatments nested in it.

    `studies` gives each study's arms and scratch recipe, `few` is as in `summarise_arms`. Intervals are t-intervals of
    95 % on paired differences and p values two-sided, neither adjusted: these describe, `verdicts` decides.
    """
    rows = []
    for study, (arms, scratch_recipe) in studies.items():
        own = selected_in(selected, study)
        seen = by_few(runs) if study in few else runs
        values = {measure: seed_values(seen, own, measure) for measure in MEASURES}
        for arm, minus in _pairs(arms, scratch_recipe):
            for measure in MEASURES:
                differences = paired(*common([values[measure][key_of(each)] for each in (arm, minus)]))
                if not differences.size:  # of what isn't complete, no seed is common
                    continue
                if measure == "loss_test" and np.isnan(differences).all():  # an SVM has none
                    continue
                estimate = interval(differences)
                rows.append(
                    {
                        "study": study,
                        **key_columns(arm),
                        "minus_source": minus.source,
                        "minus_treatment": minus.treatment,
                        "minus_span": minus.span,
                        "minus_recipe": minus.recipe,
                        "measure": measure,
                        "n": estimate.n,
                        "effect": estimate.mean,
                        "low": estimate.low,
                        "high": estimate.high,
                        "p": min(p_value(differences, "superiority", 0), p_value(-differences, "superiority", 0)),
                    }
                )
    return pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)
