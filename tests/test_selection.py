"""Which learning rate pilots select."""

import math
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.evidence.lookup import Lookup, Tables
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.grid.coordinates import ARM_KEYS, Arm, key_columns, key_of

ARM = Arm("tiny", "letters", "1+anneal", "intact", "all", "digits.2", "finetune", "short")
LPFT = Arm("tiny", "letters", "1+anneal", "intact", "all", "digits.2", "lpft", "short")
PROBE = Arm("tiny", "letters", "1+anneal", "intact", "all", "digits.2", "probe", "none")
RATES = (0.01, 0.1, 1.0, 3.0)


def frame(arm: Arm, scores: dict[Any, list[tuple[float, float]]]) -> pd.DataFrame:
    rows = [
        {**key_columns(arm), "learning_rate": rate, "seed": seed, "top1_validation": top1, "loss_validation": loss}
        for rate, pairs in scores.items()
        for seed, (top1, loss) in enumerate(pairs)
    ]
    return pd.DataFrame(rows).astype({"learning_rate": float})


def best_rate(scores: dict[Any, list[tuple[float, float]]], criterion: str = "top1") -> float:
    (rate,) = select_learning_rates(frame(ARM, scores), criterion)["learning_rate"]
    return rate


def test_by_loss_the_lowest_is_selected_and_ties_go_to_the_higher_top1():
    scores = {0.1: [(0.9, 1.0)], 1.0: [(0.5, 0.8)], 3.0: [(0.6, 0.8)]}
    assert (best_rate(scores), best_rate(scores, "loss")) == (0.1, 3.0)


def test_ties_go_to_the_lower_loss_and_then_to_the_lower_rate():
    assert best_rate({0.1: [(0.5, 2.0)], 1.0: [(0.5, 1.0)], 3.0: [(0.4, 0.1)]}) == 1.0
    assert best_rate({1.0: [(0.5, 1.0)], 0.1: [(0.5, 1.0)]}) == 0.1
    # the means are one and the same but for rounding, so the loss decides
    top1 = {0.01: [0.45, 0.3, 0.75, 0.55, 0.45], 0.1: [0.6, 0.95, 0.2, 0.15, 0.6]}
    assert np.mean(top1[0.01]) != np.mean(top1[0.1])
    for losses, expected in (((2.0, 1.0), 0.1), ((1.0, 2.0), 0.01)):
        pairs = {rate: [(value, loss) for value in top1[rate]] for rate, loss in zip(top1, losses, strict=True)}
        assert best_rate(pairs) == expected


def test_the_mean_over_seeds_selects_and_not_the_best_seed():
    assert best_rate({0.1: [(0.9, 1.0), (0.1, 1.0)], 1.0: [(0.6, 1.0), (0.6, 1.0)]}) == 1.0


def test_the_order_of_rows_selects_nothing():
    top1 = {0.01: [0.5, 0.6, 0.2], 0.1: [0.6, 0.2, 0.5], 1.0: [0.4, 0.4, 0.1]}
    runs = frame(ARM, {rate: [(value, 1.0) for value in values] for rate, values in top1.items()})
    for seed in range(5):
        again = select_learning_rates(runs.sample(frac=1, random_state=seed))
        pd.testing.assert_frame_equal(again, select_learning_rates(runs))


def test_a_rate_that_diverged_has_an_infinite_loss_and_loses_a_tie():
    assert best_rate({0.1: [(0.1, np.inf)], 1.0: [(0.1, 1.0)]}) == 1.0


def test_a_rate_is_at_the_edge_of_a_grid_of_several_alone():
    edges = {}
    for best in RATES:
        scores = {rate: [(0.9 if rate == best else 0.5, 1.0)] for rate in RATES}
        edges[best] = bool(select_learning_rates(frame(ARM, scores))["grid_edge"][0])
    assert edges == {0.01: True, 0.1: False, 1.0: False, 3.0: True}
    assert not select_learning_rates(frame(ARM, {0.1: [(0.5, 1.0)]}))["grid_edge"][0]
    # below the lowest rate after a probe lies the probe itself
    assert not select_learning_rates(frame(LPFT, {0.1: [(0.9, 1.0)], 1.0: [(0.5, 1.0)]}))["grid_edge"][0]
    assert select_learning_rates(frame(LPFT, {0.1: [(0.5, 1.0)], 1.0: [(0.9, 1.0)]}))["grid_edge"][0]
    assert not select_learning_rates(frame(PROBE, {None: [(0.5, 1.0)]}))["grid_edge"][0]


def test_a_probe_beside_arms_with_rates_keeps_its_row_and_its_seeds():
    learning = frame(ARM, {0.1: [(0.5, 1.0)] * 2, 1.0: [(0.6, 1.0)] * 2})
    runs = pd.concat([learning, frame(PROBE, {None: [(0.7, 1.0), (0.8, 1.0)]})], ignore_index=True)
    selected = select_learning_rates(runs)
    assert len(selected) == 2
    rates = {tuple(row[key] for key in ARM_KEYS): row["learning_rate"] for _, row in selected.iterrows()}
    assert math.isnan(rates[key_of(PROBE)])
    assert rates[key_of(ARM)] == 1.0
    lookup = Lookup(Tables(runs, selected))
    assert lookup.value("top1_validation", PROBE) == {0: 0.7, 1: 0.8}
    assert lookup.value("top1_validation", ARM) == {0: 0.6, 1: 0.6}


def test_the_same_losses_in_another_order_are_a_tie():
    # 0.1 + 0.2 + 0.3 > 0.3 + 0.2 + 0.1 as floats
    scores = {
        rate: [(0.5, loss) for loss in losses] for rate, losses in ((0.1, (0.1, 0.2, 0.3)), (1.0, (0.3, 0.2, 0.1)))
    }
    assert best_rate(scores) == 0.1
