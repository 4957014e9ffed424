"""Claims about losses, movement, steps, rates and recipes: what made-up runs say, and what they decide."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import plan_of, put, tiny
from test_claims import NON_INFERIOR, SEEDS, level, one, plan_with, tables

from whypretrain.evidence.analysis import select_learning_rates
from whypretrain.evidence.readings import Readings, Tables
from whypretrain.planning.plan import Plan
from whypretrain.study.config import ConfigError
from whypretrain.study.coordinates import Arm, key_columns

RATES = (0.01, 0.1, 1.0, 10.0)
LENGTH = 100  # steps
PLAIN = NON_INFERIOR | {"test": "superiority", "margin": {"value": 0.01}}


def tiny_plan(**changes: Any) -> Plan:
    raw = put(tiny(), "seed_blocks", [[0, 1, 2]])
    for recipe in raw["recipes"].values():
        recipe["learning_rate_blocks"] = [list(RATES)]
    for key, value in changes.items():
        raw = put(raw, key.replace("__", "."), value)
    return plan_of(raw)


def arms_of(plan: Plan) -> tuple[Arm, Arm]:
    """The intact arm and scratch, both fine-tuned."""
    study = plan.config.studies["tiny"]
    intact = next(
        arm for arm in plan.arms if (arm.treatment, arm.mode, arm.source) == ("intact", "finetune", "letters")
    )
    return intact, plan.grid.scratch_arm(study, intact.architecture, intact.target)


def made(plan: Plan, test: dict[float, float], reached: dict[float, int] | None = None) -> Readings:
    """Readings where top-1 depends on the rate alone; validation prefers the best, and training arrives at a step."""
    runs, kernels, history = [], [], []
    for arm, rate, seed in plan.runs():
        if rate is None:
            continue
        key = {**key_columns(arm), "learning_rate": rate, "seed": seed}
        runs.append(
            key | {"top1_validation": test[rate], "top1_test": test[rate], "loss_validation": 1.0, "diverged": False}
        )
        for layer, cosine in ((1, 0.9), (2, 0.5)):
            for epoch in (0, 1):
                value = 1.0 if epoch == 0 else cosine - 0.1 * RATES.index(rate) - 0.01 * seed
                kernels.append(key | {"target_epoch": epoch, "layer": layer, "cosine_mean": value})
        at = (reached or {}).get(rate, LENGTH)
        for step in range(0, LENGTH + 1, 20):
            value = 0.8 if arm.source == "none" and step >= 60 else 0.77 if arm.source != "none" and step >= at else 0.1
            history.append(key | {"step": step, "top1_validation": value})
    frame = pd.DataFrame(runs)
    return Readings(Tables(frame, select_learning_rates(frame), pd.DataFrame(kernels), history=pd.DataFrame(history)))


TOP1 = {0.01: 0.5, 0.1: 0.8, 1.0: 0.795, 10.0: 0.7}


def test_movement_is_one_minus_the_final_cosine_averaged_over_layers():
    plan = tiny_plan()
    readings, (intact, _) = made(plan, TOP1), arms_of(plan)
    assert readings.rate(intact) == 0.1
    expected = {seed: 1 - (0.7 - 0.1 - 0.01 * seed) for seed in (0, 1, 2)}
    assert readings.value("movement", intact) == pytest.approx(expected)
    low = {seed: 1 - (0.7 - 0.01 * seed) for seed in (0, 1, 2)}
    assert readings.value("movement", intact, 0.01) == pytest.approx(low)


def test_a_value_at_a_rate_is_that_rates():
    plan = tiny_plan()
    readings, (intact, _) = made(plan, TOP1), arms_of(plan)
    assert set(readings.value("top1_test", intact, 10.0).values()) == {0.7}
    assert set(readings.value("top1_test", intact).values()) == {0.8}


@pytest.mark.parametrize(
    ("test", "width"),
    [(TOP1, 1.0), (TOP1 | {1.0: 0.789}, 0.0), (dict.fromkeys(RATES, 0.5), 3.0), (TOP1 | {0.01: 0.8}, 2.0)],
)
def test_the_range_of_rates_is_that_within_a_point_of_the_best(test: dict[float, float], width: float):
    plan = tiny_plan()
    readings, (intact, _) = made(plan, test), arms_of(plan)
    assert readings.value("rate_width", intact) == pytest.approx(dict.fromkeys((0, 1, 2), width))


def test_steps_are_counted_to_95_percent_of_scratchs_best():
    plan = tiny_plan()
    readings, (intact, scratch) = made(plan, TOP1, {0.1: 40}), arms_of(plan)
    assert set(readings.steps_to(intact, scratch).values()) == {40.0}  # 0.77 is 96 % of 0.8
    assert set(readings.steps_to(scratch, scratch).values()) == {60.0}
    assert set(readings.steps_to(intact, scratch, 1.0).values()) == {float(LENGTH)}, "never, or at the very end"


def test_of_several_recipes_validation_chooses_and_test_does_not():
    raw_claim = PLAIN | {
        "components": [{"of": {"recipe": ["short", "other"]}, "minus": {"source": "none"}, "over": "peak"}]
    }
    raw = _with_other(raw_claim)
    plan = plan_of(raw)
    gain = {"short": 0.2, "other": 0.3}

    def top1(arm: Arm) -> float:
        return 0.5 if arm.source == "none" else 0.5 + gain[arm.recipe]

    def prefers(recipe: str) -> Any:
        return lambda arm: 0.9 if arm.recipe == recipe else 0.6

    for recipe, expected in gain.items():
        found = one(plan, tables(plan, top1, validation=prefers(recipe)))
        assert found["effect"] == pytest.approx(expected, abs=0.01)
        assert "peak of intact, short or other minus scratch" in found["component"]


def _with_other(claim: dict[str, Any]) -> dict[str, Any]:
    raw = put(tiny(), "seed_blocks", [list(SEEDS)])
    raw["recipes"]["other"] = raw["recipes"]["short"]
    raw["claims"] = {"G1": claim | {"architecture": "tiny"}}
    raw["studies"]["tiny"]["claims"] = ["G1"]
    raw["studies"]["tiny"]["settings"] = {"different": {"source": "letters", "target": "digits.2"}}
    for block in raw["studies"]["tiny"]["grid"]:
        block["targets"] = ["digits.2"]
    raw["studies"]["tiny"]["grid"].append(
        {"architectures": ["tiny"], "sources": ["letters"], "targets": ["digits.2"], "recipes": ["other"]}
    )
    for name in ("short", "other", raw["studies"]["tiny"]["scratch_recipe"]):
        raw["recipes"][name] = raw["recipes"][name] | {"learning_rate_blocks": [[0.01, 0.1, 1.0]]}
    return raw


def test_a_loss_that_shuffling_lowers_supports_and_equal_training_loss_is_held_against_its_control():
    claim = NON_INFERIOR | {
        "measure": "loss_test",
        "test": "superiority",
        "components": [
            {"of": {}, "minus": {"treatment": "shuffle-kernels"}},
            {
                "of": {"treatment": "shuffle-kernels", "measure": "loss_train"},
                "minus": {"measure": "loss_train"},
                "test": "non-inferiority",
                "margin": {"value": 0.01},
            },
        ],
        "margin": {"value": 0.05},
        "control": {"of": {"source": "none", "measure": "loss_train"}, "minus": {"measure": "loss_train"}},
    }
    plan = plan_with(R1=claim)
    base = tables(plan, level)

    def decided(scratch: float) -> Any:
        runs = base.runs.copy()
        shuffled, untrained = runs["treatment"] == "shuffle-kernels", runs["source"] == "none"
        noise = np.random.default_rng(1).normal(0, 0.001, len(runs))
        runs["loss_test"] = np.where(shuffled, 0.8, 1.0) + noise
        runs["loss_train"] = np.where(untrained, scratch, 0.1) + noise
        return one(plan, Tables(runs, select_learning_rates(runs), base.kernels))

    found = decided(scratch=0.3)
    assert found["verdict"] == "supported", found["reason"]
    found = decided(scratch=0.1)
    assert "no assay sensitivity" in found["reason"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": [{"of": {"learning_rate": 0.5}, "minus": {}}]}, "0.5 is no learning rate of 'short'; allowed:"),
        ({"components": [{"of": {"source": "via"}, "minus": {}}]}, "names no `via`"),
        ({"measure": "movement", "components": [{"of": {"mode": "probe"}, "minus": {}}]}, "moves no kernel"),
        ({"components": [{"of": {"recipe": ["short", "nowhere"]}, "minus": {}, "over": "peak"}]}, "recipe 'nowhere'"),
    ],
)
def test_what_a_claim_cannot_ask_is_one_message(change: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=r"claims|studies") as caught:
        plan_of(_with_other(PLAIN | change))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": [{"of": {"recipe": ["a", "b"]}, "over": "slope"}]}, "several recipes are no curve"),
        ({"components": [{"of": {"recipe": ["a", "b"], "epoch": "E"}}]}, "several recipes go neither with E nor"),
        ({"measure": "rate_width", "components": [{"of": {"learning_rate": 1.0}}]}, "not of one learning rate"),
    ],
)
def test_what_a_claim_cannot_mean_is_refused_by_its_own_words(change: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=r"claims\.G1") as caught:
        plan_of(_with_other(PLAIN | change))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("measure", "over", "span", "unit"),
    [
        ("top1_test", "mean", "all", "points"),
        ("top1_test", "slope", "top-N", "points a layer"),
        ("loss_test", "slope", "top-N", "nats a layer"),
        ("loss_train", "mean", "all", "nats"),
        ("movement", "mean", "all", "of 1 − cosine"),
    ],
)
def test_an_effect_has_the_unit_of_the_part_that_decided(measure: str, over: str, span: str, unit: str):
    of = {"treatment": "shuffle-kernels", "span": span, "measure": measure}
    plan = plan_with(G1=PLAIN | {"components": [{"of": of, "minus": {"measure": measure}, "over": over}]})
    made = tables(plan, level)
    made.runs["loss_train"] = made.runs["loss_test"]
    assert one(plan, made)["unit"] == unit
