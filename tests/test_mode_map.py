"""The mode map from tables made by hand: validation chooses, test compares, and noise has no lone winner."""

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import plan_of, put, tiny
from made_runs import every_run
from PIL import Image
from scipy import stats

from whypretrain.evidence import mode_map
from whypretrain.evidence.lookup import Lookup, Tables
from whypretrain.evidence.mode_map import ANY, FAMILIES, family_of, mode_tables
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.evidence.statistics import interval, not_worse_than_best, repeated_splits
from whypretrain.figures.plotting import choice
from whypretrain.files.schemas import check_table
from whypretrain.grid.coordinates import Arm, key_columns
from whypretrain.jobs.plan import Plan

SEEDS = (0, 1, 2, 3, 4)
MODES = ("probe", "probe-1", "svm-1", "svm-2", "freeze-1", "freeze-2", "lpft", "finetune")
TARGETS = ("digits.2", "digits.full")
SHARE = 0.2


def raw_modes() -> dict[str, Any]:
    """Return the tiny study with all modes, from two sources, on two numbers of shots."""
    raw = put(tiny(), "seed_blocks", [list(SEEDS)])
    raw["sources"]["others"] = {"task": "letters", "pretraining": "long"}
    raw["pretraining"]["long"] = {"checkpoints": [0, 1, 2]}
    study = raw["studies"]["tiny"]
    block = {"architectures": ["tiny"], "targets": list(TARGETS), "recipes": ["short"]}
    sources = {"sources": ["letters", "others"], "treatments": ["intact"], "modes": list(MODES)}
    study["grid"] = [block | sources, block | {"sources": ["none"]}]
    study["settings"] = {
        f"{source}-{target.partition('.')[2]}": {"source": source, "target": target}
        for source, target in itertools.product(("letters", "others"), TARGETS)
    }
    study["claims"], study["figures"], raw["claims"] = [], [], {}
    return raw


class Made:
    """Scores of every run: at the rate that isn't selected all are 0."""

    def __init__(self, raw: dict[str, Any] | None = None) -> None:
        generator = np.random.default_rng(0)
        self.plan: Plan = plan_of(raw or raw_modes())
        self.test = {arm: generator.uniform(0.3, 0.7, len(SEEDS)) for arm in self.plan.arms}
        self.validation = {arm: generator.uniform(0.3, 0.7, len(SEEDS)) for arm in self.plan.arms}
        self.balanced = {arm: generator.uniform(0.3, 0.7, len(SEEDS)) for arm in self.plan.arms}

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows = [
            {
                **key_columns(arm),
                **{"learning_rate": np.nan if rate is None else rate, "seed": seed, "loss_validation": 1.0},
                "top1_validation": self.validation[arm][SEEDS.index(seed)] * (rate in (None, 0.1)),
                "top1_test": self.test[arm][SEEDS.index(seed)] * (rate in (None, 0.1)),
                "balanced_test": self.balanced[arm][SEEDS.index(seed)] * (rate in (None, 0.1)),
            }
            for arm, rate, seed in every_run(self.plan)
        ]
        runs = pd.DataFrame(rows)
        found = mode_tables(self.plan.grid, Lookup(Tables(runs, select_learning_rates(runs), pd.DataFrame())))
        modes, advice = (check_table(name, table) for name, table in zip(("modes", "advice"), found, strict=True))
        return modes, advice


def arm(mode: str, source: str = "letters", target: str = "digits.2") -> Arm:
    if source == "none":
        return Arm("tiny", "none", "0", "intact", "all", target, "finetune", "short")
    recipe = "none" if mode.startswith(("probe", "svm")) else "short"
    epoch = {"letters": "1+anneal", "others": "2+anneal"}[source]
    return Arm("tiny", source, epoch, "intact", "all", target, mode, recipe)


def cell(table: pd.DataFrame, setting: str = "letters-2", shots: str = "2") -> pd.DataFrame:
    return table[(table["setting"] == setting) & (table["shots"] == shots)].set_index("family")


@pytest.fixture(scope="module")
def made() -> Made:
    return Made()


@pytest.mark.parametrize(
    ("mode", "family"),
    [
        *(("probe", "probe"), ("probe-3", "probe-L"), ("svm-1", "svm-L"), ("freeze-2", "freeze-N"), ("lpft", "lpft")),
        *(("finetune", "finetune"), ("probe+source-norm", ""), ("freeze-2+source-norm", "")),
    ],
)
def test_a_mode_is_of_a_family(mode: str, family: str):
    assert family_of(mode) == family


def test_each_cell_has_a_row_for_each_family_the_cheapest_first(made: Made):
    modes, advice = made.tables()
    settings = ["letters-2", "letters-full", "others-2", "others-full"]
    assert list(dict.fromkeys(modes["setting"])) == [*settings, ANY]
    for setting in settings:
        assert modes.loc[modes["setting"] == setting, "family"].tolist() == list(FAMILIES)
    everywhere = modes[modes["setting"] == ANY]
    assert everywhere.groupby(["shots", "family"]).size().to_dict() == {
        (shots, family): 1 if family == "scratch" else 2 for shots in ("2", "full") for family in FAMILIES
    }
    assert len(advice) == 4 + 2  # settings, and all sources of each target
    assert set(modes["target"]) == {"digits"}


def test_a_row_is_its_arms_mean_and_interval_at_the_selected_rate(made: Made):
    modes, _ = made.tables()
    rows = cell(modes)
    for family, which in (("finetune", arm("finetune")), ("lpft", arm("lpft")), ("scratch", arm("", "none"))):
        values = made.test[which]
        low, high = stats.t.interval(0.95, len(SEEDS) - 1, values.mean(), stats.sem(values))
        assert rows.loc[family, ["mean", "low", "high"]].tolist() == pytest.approx([values.mean(), low, high])
        assert rows.loc[family, "learning_rate"] == 0.1
        assert rows.loc[family, "grid_edge"]
    assert rows.loc["probe", "n"] == len(SEEDS)
    assert np.isnan(rows.loc["probe", "learning_rate"])
    assert not rows.loc["probe", "grid_edge"]
    assert rows["members"].to_dict() == dict.fromkeys(FAMILIES, 1) | {"svm-L": 2, "freeze-N": 2}


def test_validation_chooses_within_a_family_even_where_test_has_another():
    made = Made()
    for chosen, other in (("svm-2", "svm-1"), ("freeze-1", "freeze-2")):
        made.validation[arm(chosen)][:], made.validation[arm(other)][:] = 0.6, 0.59
        made.test[arm(chosen)][:], made.test[arm(other)][:] = 0.1, 0.9
    rows = cell(made.tables()[0])
    assert rows.loc[["svm-L", "freeze-N"], "mode"].tolist() == ["svm-2", "freeze-1"]
    assert rows.loc["svm-L", "mean"] == pytest.approx(0.1)
    assert rows.loc["svm-L", "top1_validation"] == pytest.approx(0.6)


def test_of_equal_members_the_first_layer_is_chosen():
    made = Made()
    for mode in ("svm-1", "svm-2"):
        made.validation[arm(mode)][:] = 0.5
    assert cell(made.tables()[0]).loc["svm-L", "mode"] == "svm-1"


def test_families_are_compared_on_test_and_the_set_is_that_of_the_comparison_with_the_best(made: Made):
    rows = cell(made.tables()[0])
    arms = [arm(row["mode"], row["source"]) for row in rows.to_dict("records")]
    scores = np.array([made.test[each] for each in arms])
    expected = not_worse_than_best(scores)
    assert rows["p"].tolist() == pytest.approx(expected)
    means = scores.mean(1)
    assert rows["best"].tolist() == (means == means.max()).tolist()
    assert rows["behind"].tolist() == pytest.approx(means.max() - means)
    assert rows["not_worse"].tolist() == [bool(p > 0.05) for p in expected]


def test_the_best_is_always_in_its_set_and_what_is_obviously_worse_isnt():
    made = Made()
    for each in made.test:
        made.test[each][:] = 0.2 + 0.001 * np.arange(len(SEEDS))
    made.test[arm("lpft")][:] = 0.9 + np.array([0.0, 0.01, -0.01, 0.02, -0.02])
    made.test[arm("finetune")][:] = 0.9 + np.array([0.01, 0.0, -0.02, 0.02, -0.01])
    modes, advice = made.tables()
    rows = cell(modes)
    assert set(rows.index[rows["not_worse"]]) == {"lpft", "finetune"}
    told = cell(advice).loc["lpft"]  # of equals the cheaper
    assert (told["mode"], told["source"], told["compared"]) == ("lpft", "letters", 7)
    assert told["not_worse"] == "finetune of letters"
    over = advice[(advice["setting"] == ANY) & (advice["shots"] == "2")].iloc[0]
    assert (over["source"], over["mode"], over["compared"]) == ("letters", "lpft", 13)


def test_of_equals_the_cheapest_is_best_whatever_the_order_in_which_seeds_are_added():
    made = Made()
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.7])
    for number, each in enumerate(made.test):
        made.test[each][:] = np.roll(values, number)  # equal means but for the last bit
    modes, advice = made.tables()
    assert (modes["behind"] >= 0).all()
    assert cell(modes)["best"].tolist() == [True] + [False] * 6
    assert set(advice["family"]) == {"probe"}


def test_a_family_or_scratch_that_wasnt_run_has_no_row():
    raw = raw_modes()
    raw["studies"]["tiny"]["grid"] = raw["studies"]["tiny"]["grid"][:1]
    raw["studies"]["tiny"]["grid"][0]["modes"] = ["probe", "finetune"]
    modes, advice = Made(raw).tables()
    assert set(modes["family"]) == {"probe", "finetune"}
    assert set(advice["compared"]) == {2, 4}


def test_one_way_alone_is_no_cell_and_a_study_without_settings_has_no_map():
    raw = raw_modes()
    raw["studies"]["tiny"]["grid"] = raw["studies"]["tiny"]["grid"][:1]
    raw["studies"]["tiny"]["grid"][0]["modes"] = ["finetune"]
    assert [len(table) for table in Made(raw).tables()] == [0, 0]
    raw = copy.deepcopy(raw_modes())
    raw["studies"]["tiny"]["settings"] = {}
    assert [len(table) for table in Made(raw).tables()] == [0, 0]


def test_one_source_of_a_target_is_not_compared_over_sources():
    raw = raw_modes()
    raw["studies"]["tiny"]["settings"] = {"letters-2": {"source": "letters", "target": "digits.2"}}
    assert set(Made(raw).tables()[0]["setting"]) == {"letters-2"}


# --- what is recommended ---------------------------------------------------------------------


def test_expected_is_the_way_that_is_best_elsewhere_with_the_interval_of_repeated_splits(made: Made):
    modes, advice = made.tables()
    rows = cell(modes)
    scores = np.array([made.test[arm(row["mode"], row["source"])] for row in rows.to_dict("records")])
    balanced = np.array([made.balanced[arm(row["mode"], row["source"])] for row in rows.to_dict("records")])
    assert rows["balanced"].tolist() == pytest.approx(balanced.mean(1).tolist())
    best = [np.delete(scores, seed, axis=1).mean(1).argmax() for seed in range(len(SEEDS))]
    told = cell(advice).iloc[0]
    sizes = {part: sum(found.values()) for part, found in made.plan.grid.part_sizes("digits").items()}
    for read, names in (
        (scores, ["expected", "low", "high"]),
        (balanced, ["balanced", "balanced_low", "balanced_high"]),
    ):
        found = repeated_splits(read[best, range(len(SEEDS))], sizes["test"] / sizes["train"])
        assert told[names].tolist() == pytest.approx([found.mean, found.low, found.high])
    assert told["n"] == len(SEEDS)
    assert told.name == rows.index[rows["best"]][0]


def test_the_best_is_never_chosen_by_the_luck_of_the_seed_it_is_scored_on():
    generator = np.random.default_rng(0)
    lucky, honest = [], []
    for _ in range(400):
        noise = generator.normal(0.5, 0.1, (8, 5))  # eight ways that are equally good
        lucky.append(noise.mean(1).max())
        honest.append(mode_map._chosen_elsewhere(noise, noise).mean())
    assert np.mean(lucky) > 0.55
    assert np.mean(honest) == pytest.approx(0.5, abs=3 * np.std(honest) / np.sqrt(len(honest)))


def test_what_is_clearly_best_is_chosen_elsewhere_with_every_seed():
    scores = np.array([[0.8, 0.9, 0.85], [0.5, 0.6, 0.7], [0.1, 0.2, 0.3]])
    assert mode_map._chosen_elsewhere(scores, scores).tolist() == [0.8, 0.9, 0.85]
    assert mode_map._chosen_elsewhere(scores[:, :1], scores[:, :1]).tolist() == [0.8]  # nothing else to choose on
    # the first two seeds have another best than the third: worked by hand
    scores = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.9]])
    assert mode_map._chosen_elsewhere(scores, scores).tolist() == [1.0, 1.0, 0.0]


def test_images_to_choose_by_are_not_learnt_from():
    raw = raw_modes()
    raw["datasets"]["digits"]["test_share"] = 0.3
    # 50 % to learn from, 20 % to choose by, 30 % to test on
    assert plan_of(raw).grid.test_ratio("digits") == pytest.approx(0.6, abs=0.01)
    assert plan_of(raw).grid.test_ratio("letters") == 0  # each seed has images of its own


def test_guessing_is_right_for_the_share_of_the_largest_class(tmp_path: Path):
    for number in range(200):
        file = tmp_path / ("most" if number < 180 else "few") / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(file)
    raw = raw_modes()
    parameters = {"path": str(tmp_path), "channels": 1}
    raw["datasets"]["digits"] = {"module": "folder", "parameters": parameters, "test_share": 0.3}
    plan = plan_of(raw)
    assert plan.grid.largest_class("digits") == pytest.approx(0.9)
    study = next(name for name, study in plan.config.studies.items() if study.settings)
    (setting, *_) = plan.form("write_report").view(study)["settings"]
    assert choice.Setting(**setting).label.endswith("guessing gives 90.0 %")
    (even, *_) = plan_of(raw_modes()).form("write_report").view(study)["settings"]
    assert "guessing" not in choice.Setting(**even).label


@pytest.mark.parametrize(
    ("top1", "balanced", "learnt"),
    [
        (0.1, 0.1, False),
        (0.05, 0.1, False),  # worse than by guessing
        (0.5, 0.1, True),
        (0.1, 0.5, True),  # classes are told apart, though no more images are right
    ],
)
def test_something_is_learnt_where_an_interval_lies_above_what_guessing_gives(
    top1: float, balanced: float, learnt: bool
):
    made, luck = Made(), np.array([-0.02, -0.01, 0.0, 0.01, 0.02])
    made.test = dict.fromkeys(made.plan.arms, top1 + luck)
    made.balanced = dict.fromkeys(made.plan.arms, balanced + luck)
    advice = made.tables()[1]
    assert advice["learnt"].tolist() == [learnt] * len(advice)
    assert advice["largest_class"].tolist() == pytest.approx([0.1] * len(advice), abs=0.01)
    assert set(advice["classes"]) == {10}


# --- comparisons with the best ----------------------------------------------------------------


def test_the_set_holds_the_true_best_as_often_as_it_says_and_nothing_that_is_obviously_worse():
    generator = np.random.default_rng(1)
    true = np.array([0.50, 0.50, 0.49, 0.30])
    held, fooled, rounds = 0, 0, 400
    for _ in range(rounds):
        luck = generator.normal(0, 0.05, 5)  # of the seed: all candidates share it
        p = not_worse_than_best(true[:, None] + luck + generator.normal(0, 0.02, (4, 5)))
        held += bool(p[0] > 0.05)
        fooled += bool(p[3] > 0.05)
    assert held / rounds >= 0.95
    assert fooled / rounds < 0.01


def test_with_one_other_it_is_scipys_one_sided_paired_test():
    scores = np.array([[0.5, 0.6, 0.55, 0.62], [0.58, 0.66, 0.65, 0.64]])
    worse, best = not_worse_than_best(scores)
    assert worse == pytest.approx(stats.ttest_rel(scores[1], scores[0], alternative="greater").pvalue)
    assert best >= 0.5  # what is ahead is in the set; how far ahead, p no longer says


def test_more_candidates_make_it_harder_to_be_worse():
    scores = np.array([[0.5, 0.6, 0.55, 0.62], [0.58, 0.66, 0.65, 0.64]])
    third = scores[:1] - 0.1 + 0.001 * np.arange(4)
    alone, among = not_worse_than_best(scores)[0], not_worse_than_best(np.vstack([scores, third]))[0]
    assert among == pytest.approx(2 * alone)


def test_equal_candidates_and_one_seed_leave_all_in_the_set():
    assert not_worse_than_best(np.full((3, 5), 0.5)).tolist() == [1, 1, 1]
    assert (not_worse_than_best(np.array([[0.9], [0.1]])) >= 0.5).all()  # nothing is known of its spread


# --- repeated splits --------------------------------------------------------------------------


def test_the_interval_of_repeated_splits_is_nadeau_and_bengios():
    scores = np.array([0.81, 0.84, 0.79, 0.86, 0.83])
    variance = (1 / 5 + 0.3 / 0.7) * scores.var(ddof=1)
    half = stats.t.ppf(0.975, 4) * np.sqrt(variance)
    found = repeated_splits(scores, 0.3 / 0.7)
    assert found.mean == pytest.approx(scores.mean())
    assert (found.low, found.high) == pytest.approx((scores.mean() - half, scores.mean() + half))
    assert (found.n, found.sd) == (5, pytest.approx(scores.std(ddof=1)))


def test_without_test_images_in_common_it_is_the_plain_interval_and_more_splits_dont_end_it():
    generator = np.random.default_rng(0)
    few = generator.normal(0.8, 0.02, 5)
    assert repeated_splits(few, 0.0) == interval(few)
    many = repeated_splits(generator.normal(0.8, 0.02, 5000), 0.3 / 0.7)
    # the splits' own images stay the same, however many splits
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.02 * np.sqrt(0.3 / 0.7), rel=0.05)


def test_one_split_has_no_interval():
    found = repeated_splits([0.8], 0.3)
    assert (found.mean, found.low, found.high) == (0.8, -np.inf, np.inf)
