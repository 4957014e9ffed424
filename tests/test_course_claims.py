"""Claims about losses, movement, steps, rates and recipes: what made-up runs say, and what they decide."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, plan_of, put, tiny
from made_runs import every_run
from test_claims import NON_INFERIOR, SEEDS, level, one, plan_with, tables

from whypretrain.config import models as config
from whypretrain.config.models import ConfigError
from whypretrain.evidence.lookup import Lookup, Tables
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.grid.coordinates import Arm, key_columns
from whypretrain.jobs.plan import Plan

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


def made(plan: Plan, test: dict[float, float], reached: dict[float, int] | None = None) -> Lookup:
    """Lookup where top-1 depends on the rate alone; validation prefers the best, and training arrives at a step."""
    runs, kernels, history = [], [], []
    for arm, rate, seed in every_run(plan):
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
    return Lookup(
        Tables(frame, select_learning_rates(frame), pd.DataFrame(kernels), history=pd.DataFrame(history), pilots=frame)
    )


TOP1 = {0.01: 0.5, 0.1: 0.8, 1.0: 0.795, 10.0: 0.7}


def test_movement_is_one_minus_the_final_cosine_averaged_over_layers():
    plan = tiny_plan()
    lookup, (intact, _) = made(plan, TOP1), arms_of(plan)
    assert lookup.rate(intact) == 0.1
    expected = {seed: 1 - (0.7 - 0.1 - 0.01 * seed) for seed in (0, 1, 2)}
    assert lookup.value("movement", intact) == pytest.approx(expected)
    low = {seed: 1 - (0.7 - 0.01 * seed) for seed in (0, 1, 2)}
    assert lookup.value("movement", intact, 0.01) == pytest.approx(low)


def test_a_value_at_a_rate_is_that_rates():
    plan = tiny_plan()
    lookup, (intact, _) = made(plan, TOP1), arms_of(plan)
    assert set(lookup.value("top1_test", intact, 10.0).values()) == {0.7}
    assert set(lookup.value("top1_test", intact).values()) == {0.8}


def test_the_range_of_rates_is_that_within_scratchs_standard_error_of_the_best():
    plan = tiny_plan()
    lookup, (intact, scratch) = made(plan, TOP1), arms_of(plan)
    runs = lookup.tables.runs
    untrained = runs["source"] == "none"
    # scratch's best, 0.8 at 0.1, has the standard error 0.02: up to 0.78 a rate is as good
    runs.loc[untrained, "top1_test"] += 0.02 * np.sqrt(3) * (runs.loc[untrained, "seed"] - 1)
    width = 0.02 / 0.3 + 1 + 0.015 / 0.095  # rising to 0.1, between 0.1 and 1, and on towards 10
    assert lookup.rate_width(intact, scratch) == pytest.approx(dict.fromkeys((0, 1, 2), width))
    # what intact's seeds differ by doesn't widen it, and a seed without the whole grid has none
    runs.loc[~untrained, "top1_test"] += 0.1 * runs.loc[~untrained, "seed"]
    some = lookup.tables.pilots[(runs["seed"] < 2) | untrained | (runs["learning_rate"] == 1.0)]
    fewer = Lookup(replace(lookup.tables, pilots=some))
    assert fewer.rate_width(intact, scratch) == pytest.approx(dict.fromkeys((0, 1), width))


def test_steps_are_counted_to_95_percent_of_scratchs_best_between_read_outs():
    plan = tiny_plan()
    lookup, (intact, scratch) = made(plan, TOP1, {0.1: 40}), arms_of(plan)
    # from 0.1 to 0.77 between 20 and 40, and of scratch from 0.1 to 0.8 between 40 and 60
    assert list(lookup.steps_to(intact, scratch).values()) == pytest.approx([20 + 20 * 0.66 / 0.67] * 3)
    assert list(lookup.steps_to(scratch, scratch).values()) == pytest.approx([40 + 20 * 0.66 / 0.7] * 3)
    assert list(lookup.steps_to(intact, scratch, 1.0).values()) == pytest.approx([80 + 20 * 0.66 / 0.67] * 3)
    lookup = made(plan, TOP1, {0.1: 2 * LENGTH})
    assert set(lookup.steps_to(intact, scratch).values()) == {LENGTH}, "never: the whole length"


def test_the_area_under_a_curve_is_its_mean_height_over_steps():
    plan = tiny_plan()
    lookup, (intact, _) = made(plan, TOP1, {0.1: 40}), arms_of(plan)
    expected = (0.1 * 20 + (0.1 + 0.77) / 2 * 20 + 0.77 * 60) / LENGTH
    assert list(lookup.value("curve_area", intact).values()) == pytest.approx([expected] * 3)


@pytest.mark.parametrize("measure", ["curve_area", "steps_to_95"])
def test_a_run_that_diverged_ended_early_and_so_is_no_fast_one(measure: str):
    plan = tiny_plan()
    lookup, (intact, scratch) = made(plan, TOP1), arms_of(plan)
    runs, history = lookup.tables.runs, lookup.tables.history
    runs.loc[(runs["seed"] == 1) & (runs["source"] != "none"), "diverged"] = True
    broken = (history["seed"] == 1) & (history["source"] != "none") & (history["step"] > 20)
    cut = Lookup(Tables(runs, lookup.tables.selected, lookup.tables.kernels, history=history[~broken]))
    found = cut.steps_to(intact, scratch) if measure == "steps_to_95" else cut.value(measure, intact)
    assert {seed: bool(np.isfinite(value)) for seed, value in found.items()} == {0: True, 1: False, 2: True}


def test_the_gap_of_losses_is_that_between_test_and_training():
    plan = tiny_plan()
    lookup, (intact, _) = made(plan, TOP1), arms_of(plan)
    lookup.tables.runs["loss_test"] = 1.0 + lookup.tables.runs["seed"]
    lookup.tables.runs["loss_train"] = 0.25
    assert lookup.value("loss_gap", intact) == pytest.approx({0: 0.75, 1: 1.75, 2: 2.75})


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
        ({"components": [{"of": {"architecture": "huge"}, "minus": {}}]}, "'huge' is unknown; allowed: tiny"),
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
        ({"components": [{"of": {"layers": "none-first"}, "minus": {}}]}, "none-first is of N"),
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


def test_a_dose_of_none_is_the_intact_start_and_counts_in_a_slope():
    def top1(arm: Arm) -> float:
        return 0.5 if arm.source == "none" else 0.8 if arm.treatment == "intact" else 0.7

    for layers, slope in (("none-first", -0.05), ("first", 0.0)):
        of = {"treatment": "shuffle-kernels", "span": "top-N", "layers": layers}
        plan = plan_with(G1=PLAIN | {"test": "trend", "components": [{"of": of, "over": "slope"}]})
        assert one(plan, tables(plan, top1, noise=0))["effect"] == pytest.approx(slope)  # of 0.8, 0.7 and 0.7


def test_two_architectures_are_compared_at_the_same_start():
    raw = _with_other(PLAIN | {"components": [{"of": {"source": "none"}, "minus": {"source": "none"}}]})
    raw["architectures"]["bare"] = raw["architectures"]["tiny"] | {"norm": "none"}
    raw["claims"]["G1"]["components"][0]["minus"]["architecture"] = "bare"
    with pytest.raises(ConfigError, match=r"needs the arm none.*of 'bare'"):
        plan_of(raw)
    scratch = next(block for block in raw["studies"]["tiny"]["grid"] if block["sources"] == ["none"])
    raw["studies"]["tiny"]["grid"].append(scratch | {"architectures": ["bare"]})
    plan = plan_of(raw)
    found = one(plan, tables(plan, lambda arm: {"tiny": 0.8, "bare": 0.6}[arm.architecture]))
    assert found["effect"] == pytest.approx(0.2, abs=0.01)
    assert found["component"] == "scratch minus scratch, bare"


def test_the_thesis_is_two_families_and_words_of_a_claim_are_its_numbers():
    whole = config.load(config.read_yaml(ROOT / "config/config.yaml"), ROOT)
    claims = whole.claims
    papers = {kind: {claim.paper for name, claim in claims.items() if name[0] == kind} for kind in "GR"}
    assert papers == {"G": {"Golikov 2019"}, "R": {"Golikov 2019, conclusion"}}
    rates = {choice.learning_rate for part in claims["C7"].components for choice in (*part.of, *part.minus)}
    assert all(str(rate) in claims["C7"].statement for rate in rates)
    assert f"about the sources' {whole.pretraining['constant'].learning_rate}" in claims["C7"].statement
