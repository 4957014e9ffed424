"""Claims from tables made by hand: clearly true, clearly false, and nothing to lose."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import curves, plan_of, put, tiny
from made_runs import every_run

from whypretrain.config.models import ConfigError
from whypretrain.evidence.claims import Tables, judge_claims
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.files.schemas import check_table
from whypretrain.grid.claim_arms import ClaimArms
from whypretrain.grid.coordinates import Arm, key_columns, split_epoch
from whypretrain.jobs.plan import Plan

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
LOSS = NON_INFERIOR | {"measure": "loss_test", "test": "superiority", "margin": {"value": 0.05}}
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
    validation: Callable[[Arm], float] = lambda arm: 0.8,
) -> Tables:
    """Runs and kernels of every arm, with what is asked at the rate that validation prefers, and far less at others."""
    generator = np.random.default_rng(0)
    of_seed = generator.normal(0, 0.05, len(SEEDS))  # common to all arms of a seed: pairing takes it out
    runs, kernels = [], []
    for arm, rate, seed in every_run(plan):
        keys = {**key_columns(arm), "learning_rate": rate, "seed": seed}
        test = top1(arm) + of_seed[seed] + generator.normal(0, noise)
        chosen = rate in (best, None)
        row = {"top1_validation": validation(arm) if chosen else 0.0, "top1_test": test if chosen else 0.05}
        runs.append({**keys, **row, "loss_validation": 1.0, "loss_test": 1.0, "diverged": False})
        for epoch in (0, 1, 2):
            for layer in (1, 2):
                value = 1.0 if epoch == 0 else cosine(arm) + generator.normal(0, noise) - (0.5 if epoch == 1 else 0)
                kernels.append({**keys, "target_epoch": epoch, "layer": layer, "cosine_mean": value})
    frame = pd.DataFrame(runs).astype({"learning_rate": float})
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


@pytest.mark.parametrize(("shuffled", "expected"), [(0.8, "supported"), (0.5, "contradicted")])
def test_shuffled_as_good_as_intact_is_supported_and_as_bad_as_scratch_contradicted(shuffled: float, expected: str):
    plan = plan_with(G1=NON_INFERIOR)
    found = one(plan, tables(plan, lambda arm: level(arm, shuffled=shuffled)))
    assert found["verdict"] == expected, found["reason"]
    assert found["margin"] == pytest.approx(0.2 * 0.3, abs=0.01)
    assert found["effect"] == pytest.approx(shuffled - 0.8, abs=0.02)
    assert found["n"] == len(SEEDS)


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


@pytest.mark.parametrize(
    ("measure", "test", "shuffled", "expected", "edged"),
    [
        # shuffled minus intact: support is overturned by a better intact, contradiction by a better shuffled
        ("top1_test", "superiority", 0.9, "supported", "intact"),
        ("top1_test", "superiority", 0.7, "contradicted", "shuffle-kernels"),
        ("top1_test", "non-inferiority", 0.8, "supported", "intact"),
        ("loss_test", "superiority", 0.9, "supported", "shuffle-kernels"),
        ("loss_test", "superiority", 0.7, "contradicted", "intact"),
    ],
)
def test_only_the_side_whose_improvement_could_overturn_is_held_back(
    measure: str, test: str, shuffled: float, expected: str, edged: str
):
    plan = plan_with(G1=NON_INFERIOR | {"measure": measure, "test": test, "margin": {"value": 0.02}})
    for treatment in ("intact", "shuffle-kernels"):
        made = tables(plan, lambda arm: level(arm, shuffled=shuffled))
        made.runs["loss_test"] = made.runs["top1_test"]
        arms = (made.selected["treatment"] == treatment) & (made.selected["source"] != "none")
        made.selected.loc[arms, "grid_edge"] = True
        found = one(plan, made)
        assert found["verdict"] == ("inconclusive" if treatment == edged else expected), found["reason"]
        assert ("grid edge" in found["reason"]) == (treatment == edged)


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


@pytest.mark.parametrize(("shuffled", "expected"), [(0.9, "supported"), (0.6, "contradicted")])
def test_kernels_that_move_alike_are_supported_and_others_contradicted(shuffled: float, expected: str):
    plan = plan_with(G2=EQUIVALENT)
    found = one(plan, tables(plan, level, lambda arm: move(arm, shuffled=shuffled)))
    assert found["verdict"] == expected, found["reason"]
    assert found["effect"] == pytest.approx(shuffled - 0.9, abs=0.02)


@pytest.mark.parametrize("epoch", [1, 2])
def test_one_layer_at_one_read_out_that_moves_otherwise_contradicts_all(epoch: int):
    plan = plan_with(G2=EQUIVALENT)
    made = tables(plan, level, move)
    kernels = made.kernels
    odd = (kernels["layer"] == 2) & (kernels["learning_rate"] == 0.1) & (kernels["treatment"] == "shuffle-kernels")
    kernels.loc[odd & (kernels["target_epoch"] == epoch) & (kernels["span"] == "all"), "cosine_mean"] -= 0.4
    found = one(plan, made)
    assert found["verdict"] == "contradicted"
    assert f"rate 0.1, layer 2, epoch {epoch}" in found["component"]


def test_cosines_are_compared_at_the_rates_that_either_arm_selected():
    plan = plan_with(G2=EQUIVALENT)
    made = tables(plan, level, move)
    shuffled = (made.kernels["treatment"] == "shuffle-kernels") & (made.kernels["span"] == "all")
    made.kernels.loc[shuffled & (made.kernels["learning_rate"] == 1.0), "cosine_mean"] -= 0.4
    assert one(plan, made)["verdict"] == "supported", "nobody selected 1.0"
    selected = made.selected
    chosen = (selected["treatment"] == "shuffle-kernels") & (selected["span"] == "all")
    selected.loc[chosen, "learning_rate"] = 1.0
    found = one(plan, made)
    assert found["verdict"] == "contradicted"
    assert "rate 1, layer" in found["component"]


def test_losses_are_compared_at_common_rates():
    # at its own rate each arm does the same; at one rate the shuffled one always loses
    plan = plan_with(R1=LOSS)
    made = tables(plan, level)
    runs, shuffled = made.runs, made.runs["treatment"] == "shuffle-kernels"
    runs["loss_test"] = 1.0 + shuffled * 0.3 + (runs["learning_rate"] == 1.0) * -0.3
    runs["loss_test"] += np.random.default_rng(2).normal(0, 0.001, len(runs))
    made.selected.loc[made.selected["treatment"] == "shuffle-kernels", "learning_rate"] = 1.0
    found = one(plan, made)
    assert found["verdict"] == "supported"
    assert found["effect"] == pytest.approx(0.3, abs=0.01)
    assert "rate" in found["component"]


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


# --- along layers, checkpoints and pairs ---------------------------------------------------

LAYERS = 4
EPOCHS = (0, 1, 2, 4)
COPIED = {"treatment": "reinit", "span": "above-N", "mode": "freeze-N"}
TRAINED = {"recipe": "short", "epoch": "E+anneal"}
PROBED = {"mode": "probe", "epoch": "E+anneal"}

ON_LAYERS = {
    "paper": "Yosinski 2014",
    "statement": "A network's own layers do better, the more the deeper.",
    "architecture": "tiny",
    "settings": ["random"],
    "measure": "top1_test",
    "test": "trend",
    "components": [{"of": COPIED | {"source": "own"}, "minus": COPIED, "over": "slope"}],
    "margin": {"value": 0.01},
}
ON_EPOCHS = ON_LAYERS | {"settings": ["different"], "test": "superiority"}


def epochs_with(**component: Any) -> dict[str, Any]:
    """A claim on checkpoints with one component."""
    return ON_EPOCHS | {"components": [component]}


def curves_with(*more: dict[str, Any], **claims: dict[str, Any]) -> Plan:
    """Two halves of the letters and four checkpoints, with the given claims and more blocks of the grid."""
    raw = put(curves(), "architectures.tiny", {"widths": [2] * LAYERS, "kernels": [3] * LAYERS})
    raw = put(raw, "seed_blocks", [list(SEEDS)])
    raw = put(raw, "recipes.short.learning_rate_blocks", [list(RATES)])
    raw = put(raw, "pretraining.brief.checkpoints", list(EPOCHS))
    raw["claims"] = claims
    raw["studies"]["tiny"]["claims"] = []
    study = raw["studies"]["curves"]
    study["claims"] = list(claims)
    study["settings"]["one"] = {"source": "half-a", "target": "half-b.full", "own": "half-b"}
    study["grid"][0]["layers"] = [1, 2, 3]
    for block in study["grid"][2:]:
        block["epochs"] = [0, *(f"{epoch}+anneal" for epoch in EPOCHS[1:])]
    study["grid"] += [study["grid"][0] | {"layers": [LAYERS]} | block for block in more or [{}]]
    return plan_of(raw)


def layer_of(arm: Arm) -> int:
    return int(arm.mode.removeprefix("freeze-"))


def epoch_of(arm: Arm) -> float:
    return split_epoch(arm.epoch)[0]


def own(arm: Arm) -> bool:
    return arm.source == arm.task


def specific(own_slope: float, other_slope: float, second: float = 0.0) -> Callable[[Arm], float]:
    """Frozen layers' top-1, which changes with each layer; the own's by `second` more on half-b."""

    def top1(arm: Arm) -> float:
        if not arm.mode.startswith("freeze") or arm.source == "none":
            return 0.5
        change = own_slope + second * (arm.task == "half-b") if own(arm) else other_slope
        return 0.5 + change * layer_of(arm)

    return top1


@pytest.mark.parametrize(
    ("own_slope", "other_slope", "expected"),
    [(0.0, -0.05, "supported"), (0.03, 0.03, "contradicted"), (-0.05, 0.0, "contradicted")],
)
def test_a_trend_over_layers_is_the_difference_of_slopes(own_slope: float, other_slope: float, expected: str):
    plan = curves_with(Y1=ON_LAYERS)
    found = one(plan, tables(plan, specific(own_slope, other_slope), noise=0.002))
    assert found["verdict"] == expected, found["reason"]
    assert found["effect"] == pytest.approx(own_slope - other_slope, abs=0.003)


def test_two_pairs_of_a_setting_are_averaged_seed_by_seed():
    plan = curves_with(Y1=ON_LAYERS)
    made = tables(plan, specific(0.0, -0.03, second=0.04), noise=0)
    assert one(plan, made)["effect"] == pytest.approx((0.03 + 0.07) / 2)
    # what one pair has more in a seed the other has less: of the means by seed nothing is left of it
    runs = made.runs
    for task, sign in (("half-a", 1), ("half-b", -1)):
        chosen = (runs["source"] == task) & (runs["target"] == task) & (runs["mode"] == "freeze-4")
        runs.loc[chosen, "top1_test"] += sign * 0.2 * (runs.loc[chosen, "seed"] - 3)
    found = one(plan, made)
    assert found["n"] == len(SEEDS)
    assert (found["low"], found["effect"], found["high"]) == pytest.approx((0.05, 0.05, 0.05))


def test_sides_along_the_same_n_are_compared_where_both_have_it():
    claim = ON_LAYERS | {"settings": ["one"], "test": "superiority"}
    claim |= {"components": [{"of": COPIED | {"source": "own"}, "minus": COPIED}]}
    plan = curves_with({"sources": ["half-b"], "targets": ["half-b.full"]}, Y1=claim)
    asked = ClaimArms(plan.grid, "curves", "Y1")
    (setting,), (part,) = asked.pairs("one"), asked.claim.components
    assert [sorted(asked.side(setting, side)) for side in (*part.of, *part.minus)] == [[1, 2, 3, 4], [1, 2, 3]]
    assert [sorted(arms) for arms in asked.sides(setting, part).values()] == [[1, 2, 3]] * 2
    # the own's fourth layer, which the other source lacks, would add a lot
    made = tables(plan, lambda arm: 9.0 if arm.mode == "freeze-4" else 0.6 if own(arm) else 0.5, noise=0)
    assert one(plan, made)["effect"] == pytest.approx(0.1)


@pytest.mark.parametrize(("layers", "expected"), [("first", 0.1), ("middle", 0.25), ("last", 0.4), ("all", 0.25)])
def test_a_group_of_layers_is_a_quarter_or_what_is_between(layers: str, expected: float):
    sides = [COPIED | {"source": source, "layers": layers} for source in ("own", "source")]
    claim = ON_LAYERS | {"test": "superiority", "components": [{"of": sides[0], "minus": sides[1]}]}
    plan = curves_with(Y1=claim)
    assert one(plan, tables(plan, specific(0.1, 0.0), noise=0))["effect"] == pytest.approx(expected)


def test_a_side_of_a_slope_that_is_one_arm_is_flat():
    of_first = ON_LAYERS["components"][0] | {"minus": {"source": "own"}}
    plan = curves_with(Y1=ON_LAYERS | {"components": [of_first]})
    assert one(plan, tables(plan, specific(0.02, 0.0), noise=0))["effect"] == pytest.approx(0.02)


def at(*by_epoch: float) -> dict[float, float]:
    return dict(zip(EPOCHS, by_epoch, strict=True))


def along(probe: dict[float, float], trained: dict[float, float] | None = None) -> Callable[[Arm], float]:
    """Values of probes, and of trained networks, by checkpoint."""
    return lambda arm: (trained or probe if arm.mode == "finetune" else probe).get(epoch_of(arm), 0.5)


def test_a_slope_over_checkpoints_is_per_doubling_and_leaves_the_initialisation_out():
    plan = curves_with(L0=epochs_with(of=PROBED, minus=TRAINED, over="slope"))
    made = tables(plan, along(at(9.0, 0.3, 0.4, 0.5), at(-9.0, 0.6, 0.58, 0.56)), noise=0)
    assert one(plan, made)["effect"] == pytest.approx(0.1 + 0.02)


@pytest.mark.parametrize(
    ("test", "validation", "effect", "expected"),
    [
        (at(0.2, 0.5, 0.8, 0.6), at(0.2, 0.5, 0.8, 0.6), 0.2, "supported"),
        # the last minus itself, which says nothing
        (at(0.2, 0.5, 0.6, 0.6), at(0.2, 0.5, 0.6, 0.61), 0.0, "inconclusive"),
        # validation chooses, whatever test says
        (at(0.2, 0.5, 0.8, 0.6), at(0.2, 0.9, 0.8, 0.6), -0.1, "contradicted"),
    ],
)
def test_a_peak_is_chosen_on_validation(
    test: dict[float, float], validation: dict[float, float], effect: float, expected: str
):
    plan = curves_with(L1=epochs_with(of=PROBED, minus={"mode": "probe"}, over="peak"))
    found = one(plan, tables(plan, along(test), noise=0.001, validation=along(validation)))
    assert found["effect"] == pytest.approx(effect, abs=0.005)
    assert found["verdict"] == expected, found["reason"]


@pytest.mark.parametrize(
    ("probe", "effect", "expected"),
    [(at(0.2, 0.9, 0.8, 0.7), 2, "supported"), (at(1, 2, 3, 4), 0, "inconclusive")],
)
def test_an_earlier_peak_is_counted_in_checkpoints(probe: dict[float, float], effect: float, expected: str):
    plan = curves_with(L2=epochs_with(of=TRAINED, minus=PROBED, over="peak-position") | {"margin": {"value": 0.5}})
    made = tables(plan, level, validation=along(probe, at(0.2, 0.3, 0.4, 0.5)))
    found = one(plan, made)
    assert found["verdict"] == expected, found["reason"]
    assert found["effect"] == effect


EARLIER = epochs_with(of=PROBED, minus={"mode": "probe"}, over="each") | {"any": True}


@pytest.mark.parametrize(
    ("test", "expected", "component"),
    [
        (at(0.2, 0.5, 0.8, 0.6), "supported", "intact, probe, epoch 2+anneal minus intact, probe"),
        (at(0.2, 0.5, 0.4, 0.6), "contradicted", "intact, probe, epoch 1+anneal minus intact, probe"),
    ],
)
@pytest.mark.parametrize("peak", EPOCHS)
def test_every_earlier_checkpoint_is_held_against_the_last(
    test: dict[float, float], expected: str, component: str, peak: float
):
    plan = curves_with(D1=EARLIER)
    made = tables(plan, along(test), noise=0.001, validation=lambda arm: 0.9 if epoch_of(arm) == peak else 0.5)
    found = one(plan, made)
    assert found["verdict"] == expected, found["reason"]
    assert found["component"] == component
    assert found["coverage"] == 0.95
    parts = ClaimArms(plan.grid, "curves", "D1").components("different")
    assert [part.of[0].epoch for part in parts] == ["0", "1+anneal", "2+anneal"], "and not the last minus itself"


def test_of_each_number_of_layers_any_will_do_or_all_must():
    sides = {"of": COPIED | {"source": "own"}, "minus": COPIED, "over": "each"}
    claim = ON_LAYERS | {"test": "superiority", "components": [sides]}
    for any_will_do, expected in ((True, "supported"), (False, "contradicted")):
        plan = curves_with(Y1=claim | {"any": any_will_do})
        found = one(plan, tables(plan, lambda arm: 0.6 if own(arm) and arm.mode == "freeze-2" else 0.5, noise=0.001))
        assert found["verdict"] == expected, found["reason"]
    assert found["component"].startswith("own reinit.above-")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": [{"of": {"mode": "probe"}, "minus": {"mode": "probe"}, "over": "each"}]}, "needs N or E"),
        ({"interaction": INTERACTION | {"settings": ["different", "random"]}}, "an interaction is of one difference"),
    ],
)
def test_each_and_any_are_refused_where_they_mean_nothing(change: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        curves_with(D1=EARLIER | change)


def with_parts(plan: Plan, made: Tables, value: Callable[[str, str, str, float], float]) -> Tables:
    """Add probes on parts of the features, by part, images, moment and the source's epoch."""
    generator = np.random.default_rng(1)
    rows = [
        {**key_columns(arm), "seed": seed, "part": part, "images": images, "moment": moment}
        | {"learning_rate": float("nan") if arm.recipe == "none" else 0.1}
        | {"top1_test": value(part, images, moment, epoch_of(arm)) + generator.normal(0, 0.001)}
        for arm in sorted(plan.grid.measures["parts"])
        for seed in SEEDS
        for part in ("all", "main", "residual")
        for images, moment in (("target", "start"), ("target", "final"), ("source", "start"))
    ]
    return Tables(made.runs, made.selected, made.kernels, sources=made.sources, parts=pd.DataFrame(rows))


@pytest.mark.parametrize(("swapped", "expected"), [(False, "supported"), (True, "contradicted")])
def test_what_a_curve_reaches_late_is_counted_in_checkpoints(swapped: bool, expected: str):
    sides = [TRAINED | {"measure": f"parts.{part}.source.start"} for part in ("residual", "main")]
    late, early = reversed(sides) if swapped else sides
    plan = curves_with(D1=epochs_with(of=late, minus=early, over="reach") | {"margin": {"value": 0.5}})
    by_part = {"main": at(0.2, 0.58, 0.6, 0.6), "residual": at(0.1, 0.2, 0.3, 0.6)}
    made = with_parts(
        plan, tables(plan, level), lambda part, images, moment, epoch: by_part.get(part, {}).get(epoch, 0)
    )
    found = one(plan, made)
    assert found["verdict"] == expected, found["reason"]
    assert found["effect"] == (-2 if swapped else 2)


@pytest.mark.parametrize(("gained", "expected"), [(0.3, "supported"), (0.0, "contradicted")])
def test_a_difference_of_differences_is_the_sum_of_its_sides(gained: float, expected: str):
    def side(part: str, moment: str) -> dict[str, str]:
        return {"recipe": "short", "measure": f"parts.{part}.target.{moment}"}

    of, minus = (
        [side("residual", here), side("main", there)] for here, there in (("final", "start"), ("start", "final"))
    )
    plan = curves_with(D2=epochs_with(of=of, minus=minus))

    def value(part: str, images: str, moment: str, epoch: float) -> float:
        gain = {"residual": gained, "main": 0.1}.get(part, 9.0) if moment == "final" else 0.0
        return (0.2 if part == "residual" else 0.5) + gain + (0 if (images, epoch) == ("target", 4) else 5)

    found = one(plan, with_parts(plan, tables(plan, level), value))
    assert found["effect"] == pytest.approx(gained - 0.1, abs=0.002)
    assert found["verdict"] == expected, found["reason"]


@pytest.mark.parametrize(
    ("of_source", "effect", "expected"),
    [(at(0.1, 0.4, 0.5, 0.9), 1, "supported"), (at(0.9, 0.5, 0.4, 0.1), -1, "contradicted")],
)
def test_a_correlation_is_with_the_sources_own_accuracy(of_source: dict[float, float], effect: float, expected: str):
    plan = curves_with(K1=epochs_with(of=PROBED, over="correlation") | {"margin": {"value": 0.5}})
    made = tables(plan, along(at(0.2, 0.3, 0.4, 0.5)), noise=0.001)
    rows = [
        {"architecture": "tiny", "source": source, "epoch": epoch, "annealed": annealed, "seed": seed}
        # another source, or the branch that isn't annealed, would say something else
        | {"top1_test": top1 if source == "letters" and annealed == (epoch > 0) else -top1}
        for source in ("letters", "half-a")
        for epoch, top1 in of_source.items()
        for annealed in (False, True)[: 1 + (epoch > 0)]
        for seed in SEEDS
    ]
    made = Tables(made.runs, made.selected, made.kernels, sources=pd.DataFrame(rows))
    found = one(plan, made)
    assert found["effect"] == pytest.approx(effect)
    assert found["verdict"] == expected, found["reason"]


def with_pairs(made: Tables, cka: Callable[[str, int, int], float]) -> Tables:
    """Add CKA by pair, layer and seed."""
    rows = [
        {"pair": pair, "architecture": "tiny", "seed": seed, "layer": layer, "cka": cka(pair, layer, seed)}
        for pair in ("sources", "trained")
        for seed in SEEDS
        for layer in range(1, LAYERS + 1)
    ]
    return Tables(made.runs, made.selected, made.kernels, pairs=pd.DataFrame(rows))


APART = epochs_with(of={"pair": "sources", "layers": "first"}, minus={"pair": "sources", "layers": "last"}) | {
    "measure": "cka",
    "margin": {"value": 0.1},
}


@pytest.mark.parametrize(("last", "expected"), [(0.5, "supported"), (0.9, "contradicted")])
def test_first_layers_that_agree_more_than_last_ones_are_told_by_cka(last: float, expected: str):
    plan = curves_with(P1=APART)
    by_layer = {1: 0.9, 2: 0.0, 3: 1.0, LAYERS: last}
    noise = np.random.default_rng(0).normal(0, 0.01, (LAYERS + 1, len(SEEDS)))
    made = with_pairs(
        tables(plan, level),
        lambda pair, layer, seed: (by_layer[layer] if pair == "sources" else 0) + noise[layer, seed],
    )
    found = one(plan, made)
    assert found["effect"] == pytest.approx(0.9 - last, abs=0.02)
    assert found["verdict"] == expected, found["reason"]


@pytest.mark.parametrize("layers", ["first", "all"])
def test_a_layer_without_a_cka_decides_nothing(layers: str):
    sides = {"of": {"pair": "sources", "layers": layers}, "minus": {"pair": "trained", "layers": "last"}}
    plan = curves_with(P1=APART | {"components": [sides]})
    made = with_pairs(tables(plan, level), lambda pair, layer, seed: np.nan if (layer, seed) == (1, 3) else 1 / layer)
    found = one(plan, made)
    assert found["verdict"] == "inconclusive"
    assert "1 of 8 differences not finite" in found["reason"]


@pytest.mark.parametrize(("untrained", "expected"), [(0.2, "supported"), (0.6, "inconclusive")])
def test_a_control_says_what_there_was_to_lose(untrained: float, expected: str):
    control = {"of": {"mode": "probe"}, "minus": {"mode": "probe", "epoch": 0}}
    claim = epochs_with(of={"mode": "probe", "epoch": "2+anneal"}, minus={"mode": "probe"})
    claim |= {"test": "non-inferiority", "margin": {"value": 0.1}, "control": control}
    plan = curves_with(L3=claim)
    found = one(plan, tables(plan, along(at(untrained, 0.4, 0.6, 0.6))))
    assert found["verdict"] == expected, found["reason"]
    assert ("no assay sensitivity" in found["reason"]) == (expected == "inconclusive")


def test_a_probe_has_no_grid_and_so_no_edge_and_a_trained_arm_has():
    for side, expected in (({"mode": "probe"}, "supported"), ({"recipe": "short"}, "inconclusive")):
        plan = curves_with(L4=epochs_with(of=side, minus=side | {"epoch": 0}))
        found = one(plan, tables(plan, along(at(0.2, 0.4, 0.6, 0.8)), best=RATES[0]))
        assert found["verdict"] == expected, found["reason"]
        assert ("grid edge" in found["reason"]) == (expected == "inconclusive")


# --- components of their own ---------------------------------------------------------------


@pytest.mark.parametrize(("margin", "expected"), [(0.2, "supported"), (0.05, "contradicted")])
def test_a_component_has_its_own_test_and_margin(margin: float, expected: str):
    shuffled = {"treatment": "shuffle-kernels"}
    parts = [
        {"of": shuffled, "minus": {"source": "none"}},
        {"of": shuffled, "minus": {"treatment": "intact"}, "test": "non-inferiority", "margin": {"value": margin}},
    ]
    plan = plan_with(G4=NON_INFERIOR | {"test": "superiority", "margin": {"value": 0.01}, "components": parts})
    found = one(plan, tables(plan, lambda arm: level(arm, intact=0.9, shuffled=0.8, scratch=0.2)))
    assert found["verdict"] == expected, found["reason"]
    assert found["test"] == "superiority and non-inferiority"
    if expected == "contradicted":
        assert found["margin"] == margin
        assert found["effect"] == pytest.approx(-0.1, abs=0.01)
