"""From runs to arms and contrasts: the learning rate of each arm, its mean, and differences by seed.

Frames in, frames out; validation selects, test is only reported.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from whypretrain.evidence.lookup import Lookup, Tables
from whypretrain.evidence.selection import by_few
from whypretrain.evidence.statistics import interval, one_sample, p_of
from whypretrain.evidence.values import paired, table
from whypretrain.files.schemas import PARTS
from whypretrain.grid.coordinates import ARM_KEYS, Arm, key_columns

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
    runs: pd.DataFrame, selected: pd.DataFrame, studies: Mapping[Arm, Sequence[str]], relations: Mapping[Arm, str]
) -> pd.DataFrame:
    """Return one row a study and run: which study each run belongs to, and whether its rate was selected."""
    arms = [
        {"study": study, **key_columns(arm), "relation": relations[arm]} for arm in studies for study in studies[arm]
    ]
    design = pd.DataFrame(arms).merge(runs[[*ARM_KEYS, "learning_rate", "seed"]], on=ARM_KEYS)
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

    `largest` gives for each target task what always guessing its largest class gets right, `few` names the studies that
    select by as few validation images as a user has, `one_network` the sources that all seeds share.
    """
    kept = design[design["selected"]].merge(runs, on=[*ARM_KEYS, "learning_rate", "seed"])
    kept = pd.concat([by_few(group) if study in few else group for study, group in kept.groupby("study")])
    kept = kept.merge(selected[[*_keys(selected), "grid_edge"]], on=_keys(selected))
    rows = []
    for keys, group in kept.groupby(["study", *ARM_KEYS], observed=True):
        first, estimate = group.iloc[0], interval(group["top1_test"].to_numpy())
        row = dict(zip(["study", *ARM_KEYS], keys, strict=True))
        row |= {
            "relation": first["relation"],
            "learning_rate": first["learning_rate"],
            "grid_edge": bool(first["grid_edge"]),
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
        rows.append(
            row | {f"{what}_{part}": group[f"{what}_{part}"].mean() for what in ("top1", "loss") for part in PARTS}
        )
    return table(rows)


def _keys(selected: pd.DataFrame) -> list[str]:
    """Return what tells selections apart: study and arm, or the arm alone where all studies select alike."""
    return ["study", *ARM_KEYS] if "study" in selected else ARM_KEYS


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
    rows, lookup = [], Lookup(Tables(runs, selected, few=few))
    for study, (arms, scratch_recipe) in studies.items():
        value = cache(lookup.of(study).value)
        for (arm, minus), measure in itertools.product(_pairs(arms, scratch_recipe), MEASURES):
            differences = np.array(list(paired(value(measure, arm), value(measure, minus)).values()))
            if np.isnan(differences).all():  # of what isn't complete no seed is common, and an SVM has no loss
                continue
            estimate = interval(differences)
            rows.append(
                {
                    "study": study,
                    **key_columns(arm),
                    **{f"minus_{name}": getattr(minus, name) for name in ("source", "treatment", "span", "recipe")},
                    "measure": measure,
                    "n": estimate.n,
                    "effect": estimate.mean,
                    "low": estimate.low,
                    "high": estimate.high,
                    "p": min(p_of(one_sample(each), "superiority", 0) for each in (differences, -differences)),
                }
            )
    return table(rows)
