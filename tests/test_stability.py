"""Learning rates selected again from draws of the pilot seeds: which there are, and which verdicts they change."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_claims import NON_INFERIOR, level, plan_with, tables

from whypretrain.evidence.claims import judge_again
from whypretrain.evidence.lookup import Tables
from whypretrain.evidence.selection import draw_seeds, select_again
from whypretrain.files.schemas import check_table
from whypretrain.grid.coordinates import ARM_KEYS, Arm, key_columns, key_of
from whypretrain.jobs.plan import Plan

PILOTS = list(range(100, 106))
DRAWS = 200


def with_draws() -> Plan:
    plan = plan_with(tried=NON_INFERIOR)
    changed = {"pilot_blocks": (tuple(PILOTS),), "selection_draws": DRAWS}
    return Plan(plan.config.model_copy(update=changed), plan.pins)


def with_pilots(plan: Plan, made: Tables, fonder: int) -> Tables:
    """Add pilots of which so many would have shuffled kernels learn at the lower rate, at which they do badly."""
    rows: list[dict[str, Any]] = []
    for arm in plan.arms:
        for rate in plan.grid.rates(arm):
            for place, seed in enumerate(PILOTS):
                lower = arm.treatment != "intact" and place < fonder
                top1 = 0.8 if (rate == 0.01) == lower else 0.7
                row = {**key_columns(arm), "learning_rate": rate, "seed": seed, "top1_validation": top1}
                rows.append(row | {"loss_validation": 1.0})
    pilots = pd.DataFrame(rows).astype({"learning_rate": float})
    return replace(made, pilots=pilots, selected=made.selected.assign(study="tiny"))


def test_draws_are_with_replacement_and_always_the_same():
    draws = draw_seeds(PILOTS, 50)
    assert draws == draw_seeds(PILOTS, 50) == draw_seeds(PILOTS, 60)[:50]
    assert all(len(draw) == len(PILOTS) and set(draw) <= set(PILOTS) for draw in draws)
    assert any(len(set(draw)) < len(PILOTS) for draw in draws)


def test_a_draw_counts_a_seed_as_often_as_it_is_drawn():
    arm = Arm("a", "none", "0", "intact", "all", "digits.2", "finetune", "short")
    top1 = {(0, 0.1): 0.9, (0, 1.0): 0.5, (1, 0.1): 0.5, (1, 1.0): 0.8}
    rows = [
        {**key_columns(arm), "learning_rate": rate, "seed": seed, "top1_validation": value, "loss_validation": 1.0}
        for (seed, rate), value in top1.items()
    ]
    found = select_again(pd.DataFrame(rows), [[0, 0], [1, 1], [0, 1], [0, 1, 1]], "top1")
    assert found == {key_of(arm): [(0.1, True), (1.0, True), (0.1, True), (1.0, True)]}


@pytest.mark.parametrize(("fonder", "least", "most"), [(0, 1.0, 1.0), (2, 0.6, 0.95), (3, 0.2, 0.8)])
def test_a_verdict_changes_as_often_as_draws_select_what_changes_it(fonder: int, least: float, most: float):
    plan = with_draws()
    made = with_pilots(plan, tables(plan, level), fonder)
    (row,) = check_table("stability", judge_again(plan.grid, made)).to_dict("records")
    assert (row["claim"], row["draws"], row["verdict"]) == ("tried", DRAWS, "supported")
    assert least <= row["same"] <= most
    assert row["same"] == row["supported"]
    assert row["supported"] + row["contradicted"] + row["inconclusive"] == pytest.approx(1)


def test_a_rate_that_fresh_seeds_were_not_trained_at_changes_nothing():
    plan = with_draws()
    made = with_pilots(plan, tables(plan, level), 3)
    runs = made.runs[np.isclose(made.runs["learning_rate"], 0.1)]
    assert set(runs[ARM_KEYS].itertuples(index=False)) == set(made.runs[ARM_KEYS].itertuples(index=False))
    assert (judge_again(plan.grid, replace(made, runs=runs))["same"] == 1).all()
