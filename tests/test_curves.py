"""Curves over layers and checkpoints from tables made by hand: each quantity is what its name says, seed by seed."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import curves, plan_of, put
from made_runs import every_run
from scipy import stats

from whypretrain.evidence.curves import maturity_tables, transfer_table
from whypretrain.evidence.lookup import Lookup, Tables
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.files.schemas import check_table
from whypretrain.grid.coordinates import Arm, key_columns
from whypretrain.jobs.plan import Plan

SEEDS = (0, 1, 2, 3)
EPOCHS = (0, 1, 2, 4)
HALVES = (("half-a", "half-b"), ("half-b", "half-a"))  # source and target
LINE = ["architecture", "mode", "recipe", "annealed"]


def raw_curves() -> dict[str, Any]:
    raw = put(put(curves(), "seed_blocks", [list(SEEDS)]), "pretraining.brief.checkpoints", list(EPOCHS))
    for block in raw["studies"]["curves"]["grid"][2:]:
        block["epochs"] = [0, "1+anneal", "2+anneal", "last+anneal"]
    raw["claims"] = {}
    for study in raw["studies"].values():
        study["claims"] = []
    return raw


class Made:
    """Random scores of every run, and of every checkpoint on its own source's task."""

    def __init__(self, plan: Plan) -> None:
        generator = np.random.default_rng(0)
        self.plan = plan
        self.test = {(arm, seed): generator.uniform(0.2, 0.8) for arm in plan.arms for seed in SEEDS}
        self.validation = {(arm, seed): generator.uniform(0.2, 0.8) for arm in plan.arms for seed in SEEDS}
        branches = [(epoch, annealed) for epoch in EPOCHS for annealed in (False, True)[: 1 + (epoch > 0)]]
        self.source = {
            (*network, *branch, seed): generator.uniform(0.2, 0.8)
            for network in plan.grid.trained_sources
            for branch in branches
            for seed in SEEDS
        }

    def lookup(self) -> Lookup:
        rows = [
            {
                **key_columns(arm),
                "learning_rate": np.nan if rate is None else rate,
                "seed": seed,
                "loss_validation": 1.0,
            }
            # at the rate that isn't selected all is 0
            | {"top1_validation": self.validation[arm, seed] * (rate in (None, 0.1))}
            | {"top1_test": self.test[arm, seed] * (rate in (None, 0.1))}
            for arm, rate, seed in every_run(self.plan)
        ]
        names = ("architecture", "source", "epoch", "annealed", "seed")
        sources = [dict(zip(names, key, strict=True)) | {"top1_test": top1} for key, top1 in self.source.items()]
        runs = pd.DataFrame(rows)
        return Lookup(Tables(runs, select_learning_rates(runs), pd.DataFrame(), sources=pd.DataFrame(sources)))

    def mean(self, arms: Iterable[Arm]) -> np.ndarray:
        """Test top-1 by seed, averaged over arms."""
        return np.mean([[self.test[arm, seed] for seed in SEEDS] for arm in arms], axis=0)


@pytest.fixture(scope="module")
def made() -> Made:
    return Made(plan_of(raw_curves()))


def arm(source: str, epoch: str, span: str, target: str, mode: str, recipe: str) -> Arm:
    return Arm("tiny", source, epoch, "intact" if span == "all" else "reinit", span, target, mode, recipe)


def halves(which: str, mode: str, span: str) -> list[Arm]:
    """One arm for each pair: from the other half (`source`), from the target itself (`own`), or untrained (`none`)."""
    found = []
    for source, target in HALVES:
        start = {"source": source, "own": target, "none": "none"}[which]
        epoch = "0" if which == "none" else "4+anneal"
        found.append(arm(start, epoch, span, f"{target}.full", mode, "same"))
    return found


# --- over layers ---------------------------------------------------------------------------


def test_every_quantity_of_layer_transfer_is_averaged_over_halves_seed_by_seed(made: Made):
    table = check_table("transfer", transfer_table(made.plan.grid, made.lookup()))
    base = made.mean(halves("none", "finetune", "all"))
    expected = {(0, "base"): base, (1, "random"): made.mean(halves("none", "freeze-1", "all"))}
    accuracies = [[made.source["tiny", half, 4, True, seed] for seed in SEEDS] for half, _ in HALVES]
    expected[0, "source"] = np.mean(accuracies, axis=0)
    for n, span in ((1, "top-1"), (2, "all")):
        anb, bnb = (made.mean(halves(which, f"freeze-{n}", span)) for which in ("source", "own"))
        anb_plus, bnb_plus = (made.mean(halves(which, "finetune", span)) for which in ("source", "own"))
        curve = {"AnB": anb, "BnB": bnb, "AnB+": anb_plus, "BnB+": bnb_plus}
        curve |= {"co-adaptation": bnb - base, "specificity": anb - bnb}
        curve |= {"gain": anb_plus - base, "own gain": bnb_plus - base, "transfer gain": anb_plus - bnb_plus}
        expected |= {(n, name): values for name, values in curve.items()}
    found = table.set_index(["layers", "quantity"])
    assert set(found.index) == set(expected)
    assert found.index.is_unique
    for key, values in expected.items():
        low, high = stats.t.interval(0.95, len(SEEDS) - 1, values.mean(), stats.sem(values))
        assert found.loc[key, ["mean", "low", "high"]].tolist() == pytest.approx([values.mean(), low, high]), key
        assert found.loc[key, "n"] == len(SEEDS)
    assert set(table["setting"]) == {"random"}  # no other names an own source


def test_what_one_half_lacks_is_no_point_of_a_curve():
    raw = put(raw_curves(), "studies.curves.grid.0.targets", ["half-b.full"])
    made = Made(plan_of(raw))
    table = transfer_table(made.plan.grid, made.lookup())
    assert set(table["quantity"]) == {"base", "random", "source"}


# --- over checkpoints ----------------------------------------------------------------------

CHECKPOINTS = ("0", "1+anneal", "2+anneal", "4+anneal")


def line(mode: str, recipe: str) -> dict[float, Arm]:
    return {
        float(epoch.removesuffix("+anneal")): arm("letters", epoch, "all", "digits.2", mode, recipe)
        for epoch in CHECKPOINTS
    }


def of_source(made: Made, epoch: float, architecture: str = "tiny") -> list[float]:
    return [made.source[architecture, "letters", epoch, epoch > 0, seed] for seed in SEEDS]


@pytest.mark.parametrize(("mode", "recipe"), [("finetune", "short"), ("probe", "none"), ("probe+source-norm", "none")])
def test_a_curve_over_checkpoints_has_all_of_them_and_one_peak_on_validation(made: Made, mode: str, recipe: str):
    table = check_table("maturity", maturity_tables(made.plan.grid, made.lookup())[0])
    table = table[(table["study"] == "curves") & (table["mode"] == mode) & (table["recipe"] == recipe)]
    arms = line(mode, recipe)
    assert table["epoch"].tolist() == list(EPOCHS)
    assert table["annealed"].all()  # the initialisation too
    for epoch, row in zip(EPOCHS, table.to_dict("records"), strict=True):
        assert row["mean"] == pytest.approx(made.mean([arms[epoch]]).mean())
        assert row["source_top1"] == pytest.approx(np.mean(of_source(made, epoch)))
    validation = {epoch: np.mean([made.validation[arms[epoch], seed] for seed in SEEDS]) for epoch in EPOCHS}
    assert table["top1_validation"].tolist() == pytest.approx(list(validation.values()))
    assert table.loc[table["peak"], "epoch"].tolist() == [max(validation, key=validation.__getitem__)]


def test_the_peak_is_validations_even_where_test_has_another():
    made = Made(plan_of(raw_curves()))
    arms = line("probe", "none")
    for seed in SEEDS:
        made.validation[arms[1], seed], made.test[arms[2], seed] = 0.99, 0.99
    table = maturity_tables(made.plan.grid, made.lookup())[0]
    assert table.loc[(table["mode"] == "probe") & table["peak"], "epoch"].tolist() == [1]


def test_raw_checkpoints_and_annealed_ones_are_two_curves_that_begin_with_one_initialisation():
    raw = put(raw_curves(), "studies.curves.grid.3.epochs", [0, 1, "last", "1+anneal", "last+anneal"])
    made = Made(plan_of(raw))
    table = maturity_tables(made.plan.grid, made.lookup())[0]
    table = table[table["mode"] == "probe"].set_index(["annealed", "epoch"])
    assert sorted(table.index) == [(False, 0), (False, 1), (False, 4), (True, 0), (True, 1), (True, 4)]
    assert table.loc[(False, 0), "mean"] == table.loc[(True, 0), "mean"]
    for annealed in (False, True):
        expected = np.mean([made.source["tiny", "letters", 4, annealed, seed] for seed in SEEDS])
        assert table.loc[(annealed, 4), "source_top1"] == pytest.approx(expected)


def two_architectures() -> Made:
    raw = put(raw_curves(), "architectures.wide", {"widths": [8, 8], "kernels": [3, 3]})
    return Made(plan_of(put(raw, "studies.curves.grid.3.architectures", ["tiny", "wide"])))


def test_correlations_are_each_seeds_own_along_a_curve_and_over_all_architectures():
    made = two_architectures()
    table = check_table("correlations", maturity_tables(made.plan.grid, made.lookup())[1])
    table = table[table["mode"] == "probe"].set_index("architecture")
    assert table["scope"].to_dict() == {
        "tiny": "one architecture",
        "wide": "one architecture",
        "all": "all architectures",
    }
    assert table["points"].to_dict() == {"tiny": 4, "wide": 4, "all": 8}
    for name, networks in (("tiny", ["tiny"]), ("wide", ["wide"]), ("all", ["tiny", "wide"])):
        expected = []
        for i, seed in enumerate(SEEDS):
            arms = [(network, epoch, each) for network in networks for epoch, each in line("probe", "none").items()]
            source = [of_source(made, epoch, network)[i] for network, epoch, _ in arms]
            target = [
                made.test[Arm(network, *each.start[1:], "digits.2", "probe", "none"), seed] for network, _, each in arms
            ]
            expected.append(stats.spearmanr(source, target).statistic)
        assert table.loc[name, "mean"] == pytest.approx(np.mean(expected))
        assert table.loc[name, "n"] == len(SEEDS)


def test_what_one_architecture_alone_has_is_not_correlated_over_all():
    made = two_architectures()
    table = maturity_tables(made.plan.grid, made.lookup())[1]
    assert set(table.loc[table["mode"] == "finetune", "architecture"]) == {"tiny"}
    assert not table.duplicated(["study", "setting", *LINE]).any()
