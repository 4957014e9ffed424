"""Claims from tables made by hand: clearly true, clearly false, and nothing to lose."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import plan_of, put, tiny

from whypretrain.analysis import select_learning_rates
from whypretrain.claims import Tables, judge_claims
from whypretrain.coordinates import Arm, key_columns
from whypretrain.plan import Plan
from whypretrain.schemas import check_table

DEPTH = 8
SEEDS = tuple(range(8))
RATES = (0.01, 0.1, 1.0)
DIFFERENT, SAME = "digits.2", "second.2"

NON_INFERIOR = {
    "paper": "Golikov 2019",
    "statement": "Shuffled kernels fine-tune as well.",
    "architecture": "tiny",
    "settings": ["different"],
    "measure": "top1_test",
    "test": "non-inferiority",
    "components": [{"of": {"treatment": "shuffle-kernels"}, "minus": {"treatment": "intact"}}],
    "margin": {"share_of_gain": 0.2},
}
EQUIVALENT = NON_INFERIOR | {"measure": "cosine_mean", "test": "equivalence", "margin": {"value": 0.05}}
FEW = NON_INFERIOR | {
    "test": "superiority",
    "margin": {"value": 0.01},
    "components": [
        {"of": {"treatment": "shuffle-kernels", "span": "top-N", "layers": "first"}, "minus": {"treatment": "intact"}},
        {
            "of": {"treatment": "shuffle-kernels", "span": "top-N", "layers": "first"},
            "minus": {"treatment": "shuffle-kernels", "span": "all"},
        },
    ],
}
INTERACTION = {
    "statement": "It is more so.",
    "settings": ["different", "second"],
    "test": "superiority",
    "margin": {"value": 0.01},
}


def plan_with(**claims: dict[str, Any]) -> Plan:
    """A deep study of two settings, with the given claims."""
    raw = put(tiny(), "architectures.tiny", {"widths": [2] * DEPTH, "kernels": [3] * DEPTH})
    raw = put(raw, "seed_blocks", [list(SEEDS)])
    raw = put(raw, "recipes.short.learning_rate_blocks", [list(RATES)])
    raw["tasks"]["second"] = {"dataset": "digits", "classes": ["0", "1", "2"]}
    raw["claims"] = claims
    study = raw["studies"]["tiny"]
    study["claims"] = list(claims)
    study["settings"] = {
        "different": {"source": "letters", "target": DIFFERENT},
        "second": {"source": "letters", "target": SAME},
    }
    study["grid"][0] |= {"spans": ["top-1", "top-2", "top-3", "all"]}
    for block in study["grid"]:
        block["targets"] = [DIFFERENT, SAME]
    return plan_of(raw)


def tables(
    plan: Plan,
    top1: Callable[[Arm], float],
    cosine: Callable[[Arm], float] = lambda arm: 0.9,
    noise: float = 0.005,
    best: float = 0.1,
) -> Tables:
    """Runs and kernels of every arm, with what is asked at the rate that validation prefers, and far less at others."""
    generator = np.random.default_rng(0)
    of_seed = generator.normal(0, 0.05, len(SEEDS))  # common to all arms of a seed: pairing takes it out
    runs, kernels = [], []
    for arm, rate, seed in plan.runs():
        keys = {**key_columns(arm), "learning_rate": rate, "seed": seed}
        test = top1(arm) + of_seed[seed] + generator.normal(0, noise)
        row = {"top1_validation": 0.8 if rate == best else 0.3, "top1_test": test if rate == best else 0.05}
        runs.append({**keys, **row, "loss_validation": 1.0, "loss_test": 1.0, "diverged": False})
        for epoch in (0, 1, 2):
            for layer in (1, 2):
                value = 1.0 if epoch == 0 else cosine(arm) + generator.normal(0, noise) - (0.5 if epoch == 1 else 0)
                kernels.append({**keys, "target_epoch": epoch, "layer": layer, "cosine_mean": value})
    frame = pd.DataFrame(runs)
    return Tables(frame, select_learning_rates(frame), pd.DataFrame(kernels))


def verdicts(plan: Plan, made: Tables) -> pd.DataFrame:
    return check_table("verdicts", judge_claims(plan.grid, made))


def one(plan: Plan, made: Tables) -> Any:
    found = verdicts(plan, made)
    assert len(found) == 1
    return found.iloc[0]


def level(arm: Arm, intact: float = 0.8, shuffled: float = 0.8, scratch: float = 0.5) -> float:
    if arm.source == "none":
        return scratch
    return intact if arm.treatment == "intact" else shuffled


# --- non-inferiority of accuracy (G1) ------------------------------------------------------


def test_shuffled_as_good_as_intact_where_pretraining_gains_is_supported():
    plan = plan_with(G1=NON_INFERIOR)
    found = one(plan, tables(plan, level))
    assert found["verdict"] == "supported", found["reason"]
    assert found["margin"] == pytest.approx(0.2 * 0.3, abs=0.01)
    assert found["effect"] == pytest.approx(0, abs=0.01)
    assert found["n"] == len(SEEDS)


def test_shuffled_as_bad_as_scratch_is_contradicted():
    plan = plan_with(G1=NON_INFERIOR)
    found = one(plan, tables(plan, lambda arm: level(arm, shuffled=0.5)))
    assert found["verdict"] == "contradicted", found["reason"]
    assert found["effect"] == pytest.approx(-0.3, abs=0.02)


@pytest.mark.parametrize("scratch", [0.8, 0.9])
def test_where_there_was_nothing_to_lose_nothing_is_decided(scratch: float):
    plan = plan_with(G1=NON_INFERIOR)
    found = one(plan, tables(plan, lambda arm: level(arm, scratch=scratch)))
    assert found["verdict"] == "inconclusive"
    assert "no assay sensitivity" in found["reason"]


def test_a_gain_of_less_than_twice_the_margin_is_nothing_to_lose():
    plan = plan_with(G1=NON_INFERIOR | {"margin": {"value": 0.2}})
    found = one(plan, tables(plan, lambda arm: level(arm, scratch=0.5)))  # a gain of 0.3
    assert "no assay sensitivity" in found["reason"]
    found = one(plan, tables(plan, lambda arm: level(arm, scratch=0.3)))  # a gain of 0.5
    assert found["verdict"] == "supported"


def test_noise_that_hides_the_difference_asks_for_more_seeds():
    plan = plan_with(G1=NON_INFERIOR)
    found = one(plan, tables(plan, lambda arm: level(arm, shuffled=0.77, scratch=0.3), noise=0.12))
    assert found["verdict"] == "inconclusive"
    assert "too few seeds: n = 8" in found["reason"]


@pytest.mark.parametrize("best", [RATES[0], RATES[-1]])
def test_a_rate_at_the_edge_of_its_grid_decides_nothing(best: float):
    plan = plan_with(G1=NON_INFERIOR)
    found = one(plan, tables(plan, level, best=best))
    assert found["verdict"] == "inconclusive"
    assert "grid edge" in found["reason"]


def test_scratch_at_the_edge_matters_to_a_claim_that_rests_on_it_and_not_to_its_interaction():
    plan = plan_with(G1=NON_INFERIOR | {"interaction": INTERACTION})
    made = tables(plan, lambda arm: level(arm, shuffled=0.7 if arm.target == DIFFERENT else 0.5))
    made.selected.loc[made.selected["source"] == "none", "grid_edge"] = True
    reasons = verdicts(plan, made).set_index("setting")["reason"]
    assert "grid edge" in reasons["different"]
    assert "grid edge" not in reasons["different minus second"]


def test_a_claim_is_decided_in_its_own_setting():
    plan = plan_with(G1=NON_INFERIOR | {"settings": ["different", "second"]})
    made = tables(plan, lambda arm: level(arm, shuffled=0.8 if arm.target == DIFFERENT else 0.5))
    found = verdicts(plan, made).set_index("setting")["verdict"].to_dict()
    assert found == {"different": "supported", "second": "contradicted"}


# --- interaction ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("different", "second", "expected"),
    [(0.8, 0.6, "supported"), (0.6, 0.8, "contradicted"), (0.7, 0.7, "contradicted")],
)
def test_the_interaction_is_the_difference_of_the_settings(different: float, second: float, expected: str):
    plan = plan_with(G1=NON_INFERIOR | {"interaction": INTERACTION})
    made = tables(plan, lambda arm: level(arm, shuffled=different if arm.target == DIFFERENT else second), noise=0.001)
    found = verdicts(plan, made).set_index("setting").loc["different minus second"]
    assert found["effect"] == pytest.approx(different - second, abs=0.01)
    assert found["verdict"] == expected, found["reason"]


# --- equivalence of cosines (G2) -----------------------------------------------------------


def move(arm: Arm, intact: float = 0.9, shuffled: float = 0.9, scratch: float = 0.3) -> float:
    return level(arm, intact, shuffled, scratch)


def test_kernels_that_move_alike_are_supported():
    plan = plan_with(G2=EQUIVALENT)
    found = one(plan, tables(plan, level, move))
    assert found["verdict"] == "supported", found["reason"]
    assert abs(found["effect"]) < 0.02


def test_kernels_that_move_otherwise_are_contradicted():
    plan = plan_with(G2=EQUIVALENT)
    found = one(plan, tables(plan, level, lambda arm: move(arm, shuffled=0.6)))
    assert found["verdict"] == "contradicted", found["reason"]
    assert found["effect"] == pytest.approx(-0.3, abs=0.02)


def test_one_layer_at_one_rate_that_moves_otherwise_contradicts_all():
    plan = plan_with(G2=EQUIVALENT)
    made = tables(plan, level, move)
    kernels = made.kernels
    odd = (kernels["layer"] == 2) & (kernels["learning_rate"] == 1.0) & (kernels["treatment"] == "shuffle-kernels")
    kernels.loc[odd & (kernels["target_epoch"] == 2) & (kernels["span"] == "all"), "cosine_mean"] -= 0.4
    found = one(plan, made)
    assert found["verdict"] == "contradicted"
    assert "rate 1, layer 2" in found["component"]


def test_the_last_epoch_decides():
    # at epoch 1 every arm of the tables is 0.5 lower; what differs there alone plays no part
    plan = plan_with(G2=EQUIVALENT)
    made = tables(plan, level, move)
    early = (made.kernels["target_epoch"] == 1) & (made.kernels["treatment"] == "shuffle-kernels")
    made.kernels.loc[early, "cosine_mean"] = -1
    assert one(plan, made)["verdict"] == "supported"


def test_a_run_that_diverged_has_no_final_cosine():
    plan = plan_with(G2=EQUIVALENT)
    made = tables(plan, level, move)
    assert one(plan, made)["verdict"] == "supported"
    lost = (made.runs["treatment"] == "shuffle-kernels") & (made.runs["span"] == "all") & (made.runs["seed"] == 0)
    made.runs.loc[lost, "diverged"] = True
    found = one(plan, made)
    assert found["verdict"] == "inconclusive"
    assert "not finite" in found["reason"]


def test_a_cosine_that_scratch_shares_decides_nothing():
    plan = plan_with(G2=EQUIVALENT)
    found = one(plan, tables(plan, level, lambda arm: move(arm, scratch=0.9)))
    assert found["verdict"] == "inconclusive"
    assert "no assay sensitivity" in found["reason"]


# --- few against all (G3) ------------------------------------------------------------------


def by_span(few: float, three: float, every: float, intact: float = 0.7) -> Callable[[Arm], float]:
    spans = {"top-1": few - 0.02, "top-2": few + 0.02, "top-3": three, "all": every}
    return lambda arm: 0.5 if arm.source == "none" else intact if arm.treatment == "intact" else spans[arm.span]


def test_few_helping_and_all_hurting_is_supported():
    plan = plan_with(G3=FEW)
    found = one(plan, tables(plan, by_span(few=0.8, three=0.1, every=0.6)))
    assert found["verdict"] == "supported", found["reason"]


def test_few_is_the_mean_of_the_top_spans_up_to_a_quarter_of_the_depth():
    # of 8 layers: top-1 and top-2, the mean of which is 0.8; top-3 plays no part
    plan = plan_with(G3=FEW | {"components": FEW["components"][:1]})
    found = one(plan, tables(plan, by_span(few=0.8, three=0.0, every=0.6), noise=0.0005))
    assert found["effect"] == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(("few", "every"), [(0.7, 0.5), (0.8, 0.8), (0.6, 0.5)])
def test_one_part_that_fails_contradicts_both(few: float, every: float):
    plan = plan_with(G3=FEW)
    found = one(plan, tables(plan, by_span(few=few, three=0.7, every=every), noise=0.001))
    assert found["verdict"] == "contradicted", found["reason"]


# --- the family ----------------------------------------------------------------------------


def test_papers_are_corrected_apart_and_claims_of_one_paper_together():
    other = NON_INFERIOR | {"paper": "Another 2020"}
    alone = plan_with(G1=NON_INFERIOR)
    made = tables(alone, level, noise=0.05)
    p = one(alone, made)["p"]
    apart = plan_with(G1=NON_INFERIOR, H1=other)
    assert verdicts(apart, made)["p"].tolist() == pytest.approx([p, p])
    together = plan_with(G1=NON_INFERIOR, G1b=NON_INFERIOR)
    assert verdicts(together, made)["p"].tolist() == pytest.approx([min(1, 2 * p)] * 2)


def test_a_study_without_claims_has_an_empty_table_with_its_columns():
    plan = plan_with()
    assert len(verdicts(plan, tables(plan, level))) == 0
