"""From runs to arms and contrasts: validation selects, test is only reported, differences are by seed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from whypretrain.evidence.analysis import make_contrasts, make_design, summarise_arms
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.files.schemas import check_table
from whypretrain.grid.coordinates import Arm

INTACT = Arm("tiny", "letters", "1+anneal", "intact", "all", "digits.2", "finetune", "short")
SHUFFLED = Arm("tiny", "letters", "1+anneal", "shuffle-kernels", "all", "digits.2", "finetune", "short")
WEIGHTS = Arm("tiny", "letters", "1+anneal", "shuffle-weights", "all", "digits.2", "finetune", "short")
SCRATCH = Arm("tiny", "none", "0", "intact", "all", "digits.2", "finetune", "scratch")
OTHER = Arm("tiny", "letters", "1+anneal", "shuffle-kernels", "all", "digits.5", "finetune", "short")


def run(arm: Arm, rate: float, seed: int, validation: float, test: float, **values: Any) -> dict[str, Any]:
    columns = {"target": arm.task, "shots": arm.shots}
    row = {
        **arm.columns(),
        **columns,
        "learning_rate": rate,
        "seed": seed,
        "diverged": False,
        "collapsed": False,
        "top1_train": 1.0,
        "top1_validation": validation,
        "top1_test": test,
        "balanced_test": test / 2,
        "loss_train": 0.1,
        "loss_validation": 1.0,
        "loss_test": 2 * test,
        "steps": 10,
        "converged": True,
        "strength": float("nan"),
    }
    return row | values


def grid(arm: Arm, validation: dict[float, list[float]], test: dict[float, list[float]]) -> list[dict[str, Any]]:
    """Runs of an arm from validation and test top-1 by rate, one value a seed."""
    return [run(arm, rate, seed, v, test[rate][seed]) for rate in validation for seed, v in enumerate(validation[rate])]


def chosen(rows: list[dict[str, Any]]) -> tuple[float, bool]:
    selected = select_learning_rates(pd.DataFrame(rows))
    assert len(selected) == 1
    return float(selected["learning_rate"][0]), bool(selected["grid_edge"][0])


def test_validation_averaged_over_seeds_selects_and_test_never_does():
    validation = {0.01: [0.5, 0.6], 0.1: [0.9, 0.3], 1.0: [0.4, 0.4]}  # means .55, .60, .40
    worst = {0.01: [0.9, 0.9], 0.1: [0.0, 0.0], 1.0: [1.0, 1.0]}
    assert chosen(grid(INTACT, validation, worst)) == (0.1, False)


def test_a_tie_goes_to_the_lower_validation_loss_and_then_to_the_lower_rate():
    rows = [
        run(INTACT, rate, 0, 0.5, 0.5, loss_validation=loss) for rate, loss in ((0.01, 2.0), (0.1, 1.0), (1.0, 3.0))
    ]
    assert chosen(rows) == (0.1, False)
    rows = [run(INTACT, rate, 0, 0.5, 0.5, loss_validation=1.0) for rate in (1.0, 0.1, 0.01)]
    assert chosen(rows) == (0.01, True)


def test_a_tie_of_sums_that_differ_by_rounding_is_a_tie():
    # both have the sum 2.5; as floats the first mean is 1e-16 more
    same = {0.01: [0.45, 0.3, 0.75, 0.55, 0.45], 0.1: [0.6, 0.95, 0.2, 0.15, 0.6]}
    rows = [
        run(INTACT, rate, seed, v, 0.5, loss_validation={0.01: 2.0, 0.1: 1.0}[rate])
        for rate, values in same.items()
        for seed, v in enumerate(values)
    ]
    assert chosen(rows)[0] == 0.1


def test_the_order_of_rows_selects_nothing():
    validation = {0.01: [0.5, 0.6, 0.2], 0.1: [0.6, 0.2, 0.5], 1.0: [0.4, 0.4, 0.1]}
    frame = pd.DataFrame(grid(INTACT, validation, validation))
    expected = select_learning_rates(frame)
    for seed in range(5):
        pd.testing.assert_frame_equal(select_learning_rates(frame.sample(frac=1, random_state=seed)), expected)


@pytest.mark.parametrize(("best", "edge"), [(0.01, True), (0.1, False), (1.0, True)])
def test_a_choice_at_the_edge_of_the_grid_is_marked(best: float, edge: bool):
    validation = {rate: [0.9 if rate == best else 0.1] for rate in (0.01, 0.1, 1.0)}
    assert chosen(grid(INTACT, validation, validation)) == (best, edge)


def test_a_rate_that_diverged_has_an_infinite_loss_and_loses_a_tie():
    rows = [run(INTACT, 0.1, 0, 0.1, 0.1), run(INTACT, 1.0, 0, 0.1, 0.1, loss_validation=np.inf, diverged=True)]
    assert chosen(rows)[0] == 0.1


def study_of(*arms: Arm) -> pd.DataFrame:
    """Three seeds at three rates of each arm; validation prefers 0.1 everywhere."""
    rows = []
    generator = np.random.default_rng(0)
    for arm in arms:
        validation = {0.01: [0.2] * 3, 0.1: [0.8] * 3, 1.0: [0.3] * 3}
        test = {rate: generator.uniform(0.3, 0.9, 3).tolist() for rate in validation}
        rows += grid(arm, validation, test)
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
