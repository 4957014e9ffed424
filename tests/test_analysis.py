"""From runs to arms and contrasts: validation selects, test is only reported, differences are by seed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from whypretrain.evidence.analysis import make_contrasts, make_design, summarise_arms
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.files.schemas import check_table
from whypretrain.grid.coordinates import Arm, key_columns

INTACT = Arm("tiny", "letters", "1+anneal", "intact", "all", "digits.2", "finetune", "short")
SHUFFLED = Arm("tiny", "letters", "1+anneal", "shuffle-kernels", "all", "digits.2", "finetune", "short")
WEIGHTS = Arm("tiny", "letters", "1+anneal", "shuffle-weights", "all", "digits.2", "finetune", "short")
SCRATCH = Arm("tiny", "none", "0", "intact", "all", "digits.2", "finetune", "scratch")
OTHER = Arm("tiny", "letters", "1+anneal", "shuffle-kernels", "all", "digits.5", "finetune", "short")


def study_of(*arms: Arm) -> pd.DataFrame:
    """Three seeds at three rates of each arm; validation prefers 0.1 everywhere."""
    rows: list[dict[str, Any]] = []
    generator = np.random.default_rng(0)
    for arm in arms:
        for rate, validation in ((0.01, 0.2), (0.1, 0.8), (1.0, 0.3)):
            for seed, test in enumerate(generator.uniform(0.3, 0.9, 3)):
                row = {"learning_rate": rate, "seed": seed, "diverged": False, "collapsed": False, "converged": True}
                row |= {"top1_train": 1.0, "top1_validation": validation, "top1_test": test, "balanced_test": test / 2}
                row |= {"loss_train": 0.1, "loss_validation": 1.0, "loss_test": 2 * test}
                rows.append(key_columns(arm) | row)
    return pd.DataFrame(rows)


def value(runs: pd.DataFrame, arm: Arm, measure: str = "top1_test") -> np.ndarray:
    own = runs[(runs["treatment"] == arm.treatment) & (runs["recipe"] == arm.recipe) & (runs["shots"] == arm.shots)]
    own = own[(own["source"] == arm.source) & (own["learning_rate"] == 0.1)]
    return own.sort_values("seed")[measure].to_numpy()


def test_contrasts_are_paired_by_seed_as_by_hand():
    runs = study_of(INTACT, SHUFFLED, SCRATCH).sample(frac=1, random_state=1)
    selected = select_learning_rates(runs)
    arms = [INTACT, SHUFFLED, SCRATCH]
    contrasts = make_contrasts(runs, selected, {"study": (arms, "scratch")})
    contrasts = check_table("contrasts", contrasts)
    one = contrasts[
        (contrasts["treatment"] == "shuffle-kernels")
        & (contrasts["minus_treatment"] == "intact")
        & (contrasts["minus_source"] == "letters")
        & (contrasts["measure"] == "top1_test")
    ]
    assert len(one) == 1
    row = one.iloc[0]
    expected = stats.ttest_rel(value(runs, SHUFFLED), value(runs, INTACT))
    limits = expected.confidence_interval(0.95)
    assert row["effect"] == pytest.approx((value(runs, SHUFFLED) - value(runs, INTACT)).mean())
    assert (row["low"], row["high"]) == pytest.approx((limits.low, limits.high))
    assert row["p"] == pytest.approx(expected.pvalue)
    assert row["n"] == 3


def test_an_arm_is_held_against_intact_scratch_and_what_is_nested_in_it():
    runs = study_of(INTACT, SHUFFLED, WEIGHTS, SCRATCH, OTHER)
    arms = [INTACT, SHUFFLED, WEIGHTS, SCRATCH, OTHER]
    contrasts = make_contrasts(runs, select_learning_rates(runs), {"study": (arms, "scratch")})
    contrasts = contrasts[contrasts["measure"] == "top1_test"]
    pairs = {(row.treatment, row.source, row.minus_treatment, row.minus_source) for row in contrasts.itertuples()}
    assert pairs == {
        ("intact", "letters", "intact", "none"),
        ("shuffle-kernels", "letters", "intact", "letters"),
        ("shuffle-kernels", "letters", "intact", "none"),
        ("shuffle-weights", "letters", "intact", "letters"),
        ("shuffle-weights", "letters", "intact", "none"),
        ("shuffle-weights", "letters", "shuffle-kernels", "letters"),
    }
    assert (contrasts["shots"] == "2").all(), "another target has nothing to be held against here"


def test_arms_are_means_with_a_t_interval_at_the_selected_rate():
    runs = study_of(INTACT, SHUFFLED, SCRATCH)
    runs.loc[(runs["treatment"] == "shuffle-kernels") & (runs["seed"] == 1), "diverged"] = True
    selected = select_learning_rates(runs)
    studies = {INTACT: ("one", "two"), SHUFFLED: ("one",), SCRATCH: ("one",)}
    relations = {INTACT: "different", SHUFFLED: "different", SCRATCH: "untrained"}
    design = check_table("design", make_design(runs, selected, studies, relations))
    assert len(design) == (3 + 1) * 9
    assert design[design["selected"]]["learning_rate"].unique().tolist() == [0.1]
    assert design["selected"].sum() == (3 + 1) * 3
    arms = check_table("arms", summarise_arms(runs, design, selected, {INTACT.task: 0.7}))
    assert len(arms) == 4
    row = arms[arms["treatment"] == "shuffle-kernels"].iloc[0]
    expected = value(runs, SHUFFLED)
    assert row["top1_test"] == pytest.approx(expected.mean())
    limits = stats.t.interval(0.95, 2, expected.mean(), stats.sem(expected))
    assert (row["top1_test_low"], row["top1_test_high"]) == pytest.approx(limits)
    assert (row["n"], row["diverged"], row["collapsed"]) == (3, 1, 0)
    assert (row["balanced_test"], row["largest_class"]) == pytest.approx((expected.mean() / 2, 0.7))
    assert row["relation"] == "different"
    assert not row["grid_edge"]
