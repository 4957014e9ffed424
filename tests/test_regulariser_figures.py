"""Figures of regularisers, of the dose of shuffling and of ways to start say what made-up tables hold."""

import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_looks import Tables, assert_drawn, drawn, svg
from test_figures import as_read

from whypretrain import registry
from whypretrain.evidence.analysis import make_design
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.evidence.statistics import interval
from whypretrain.figures import regularisers, shuffling_dose, ways_to_start
from whypretrain.figures.plotting import choice, drawing, palette, wording
from whypretrain.figures.plotting.view import View
from whypretrain.files import schemas
from whypretrain.grid.coordinates import Arm, key_columns

FIGURES = ("regularisers", "shuffling-dose", "ways-to-start")

FEW = {"name": "few", "source": "glyphs", "epoch": "12+anneal", "target": "mnist5k", "shots": "5"}
MORE = {**FEW, "name": "more", "shots": "30"}
STRENGTHS = {
    "l2": (0.001, 0.01, 0.1),
    "l1": (0.0001, 0.001),
    "dropout": (0.2, 0.5),
    "input-noise": (0.1, 0.3),
    "gradient-noise": (0.01, 0.1),
    "augmentation": (0.1, 0.2),
    "label-smoothing": (0.1, 0.2),
    "l2-sp": (0.01, 0.1),
}
RECIPES = {f"{name}-{strength:g}".replace(".", "-"): name for name, all_ in STRENGTHS.items() for strength in all_}


def view_of(depths: dict[str, int], settings: list[dict[str, str]], recipes: Mapping[str, str] = RECIPES) -> View:
    return View("regularisers", "Regularisers", settings, [], depths, "short", "scratch", 0, recipes)


def arms_of(view: View) -> list[Arm]:
    """Return a study's arms: every recipe on intact starts, top spans shuffled, and all ways to start."""
    found = []
    for (name, depth), setting in itertools.product(view.depths.items(), view.settings):
        target = f"{setting['target']}.{setting['shots']}"
        source = (name, setting["source"], setting["epoch"])
        end = (target, "finetune")
        found += [Arm(*source, "intact", "all", *end, recipe) for recipe in ("short", *view.regularisers)]
        spans = [*(f"top-{k}" for k in range(1, depth)), "all"]
        found += [Arm(*source, "shuffle-kernels", span, *end, "short") for span in spans]
        found.append(Arm(*source, "bank-kernels", "all", *end, "short"))
        found.append(Arm(*source, "bank-layer", "all", *end, "short"))
        found.append(Arm(*source, "gabor", "bottom-1", *end, "short"))
        others = ("digits", "glyphs-autoencoder", "glyphs-random-labels", "patches", "patches-digits")
        found += [Arm(name, other, "12+anneal", "intact", "all", *end, "short") for other in others]
        none = (name, "none", "0")
        found += [Arm(*none, "intact", "all", *end, "scratch"), Arm(*none, "glorot", "all", *end, "scratch")]
        found += [Arm(*none, "gabor", "bottom-1", *end, recipe) for recipe in ("scratch", "short")]
    return list(dict.fromkeys(found))


def scores_of(view: View, arm: Arm) -> dict[str, float]:
    """Return what such an arm may score: more shots help, regularisers and a few shuffled layers a little."""
    shots = 30 if arm.shots == "full" else int(arm.shots)
    test, train, top1 = 1.6 / shots**0.25, 0.02 * shots**0.3, 0.5 + 0.1 * np.log10(shots)
    if arm.treatment == "shuffle-kernels":
        depth = view.depths[arm.architecture]
        k = depth if arm.span == "all" else int(arm.span.partition("-")[2])
        test += (-0.06 * k + 0.012 * k * k) * 5 / shots
        train, top1 = train + 0.015 * k, top1 + 0.01 * k - 0.004 * k * k
    elif arm.treatment != "intact":
        test, top1 = test + 0.2, top1 - 0.12
    if kind := view.regularisers.get(arm.recipe):
        number = sorted(STRENGTHS).index(kind)
        test, train, top1 = test - 0.03 * (number - 2) * 5 / shots, train + 0.03 * number, top1 + 0.006 * (number - 2)
    if arm.source != "glyphs":
        worse = 0.05 * (1 + len(arm.source) % 4)
        test, top1 = test + worse, top1 - worse
    return {"loss_train": train, "loss_test": test, "loss_validation": test, "top1_train": 0.98} | dict.fromkeys(
        ("top1_test", "top1_validation", "balanced_test"), top1
    )


def tables_of(view: View, seeds: int, arms: list[Arm] | None = None, spread: float = 0.02) -> Tables:
    """Return the tables of a study, as the pipeline makes them and reads them from their files."""
    rng = np.random.default_rng(0)
    arms = arms_of(view) if arms is None else arms
    rows: list[dict[str, Any]] = []
    for arm, rate, seed in itertools.product(arms, (0.01, 0.1), range(seeds)):
        means = scores_of(view, arm)
        values = {name: abs(mean + spread * rng.normal()) for name, mean in means.items()}
        values |= {name: min(value, 1.0) for name, value in values.items() if name.startswith(("top1", "balanced"))}
        key = {**key_columns(arm), "learning_rate": rate, "seed": seed, "diverged": False, "collapsed": False}
        values |= {f"{score}_{part}": 0.5 for score in ("top1", "loss") for part in schemas.FEW}
        rows.append({**key, **values, "steps": 40, "converged": True, "strength": np.nan})
    return with_design(pd.DataFrame(rows, columns=list(schemas.TABLES["runs"])), arms)


def with_design(runs: pd.DataFrame, arms: list[Arm]) -> Tables:
    """Return runs and their design, of this study and another."""
    studies = {arm: ["regularisers", "another"] for arm in arms}
    design = pd.DataFrame()
    if arms:
        design = make_design(runs, select_learning_rates(runs), studies, dict.fromkeys(arms, "different"))
    made = {"runs": runs, "design": design}
    return {name: as_read(schemas.check_table(name, table)) for name, table in made.items()}


FULL = view_of({"shallow": 4, "deep": 8}, [FEW, MORE])
ONE = view_of({"shallow": 4}, [FEW])
NEAR = {"name": "near", "source": "glyphs", "epoch": "12+anneal", "target": "glyphs-b", "shots": "full"}
PLAIN = view_of({"shallow": 4}, [FEW], {})
MANY = view_of(
    {"a-network-with-a-long-name": 1, "deep": 9},
    [{**FEW, "name": f"a-rather-long-name-of-a-setting-{n}", "shots": str(n)} for n in (1, 30)] + [NEAR],
)


def kept(view: View, *, recipes: bool = True, spans: tuple[str, ...] = (), intact: bool = True) -> list[Arm]:
    """Return a study's arms without some kinds."""
    return [
        arm
        for arm in arms_of(view)
        if (recipes or arm.recipe not in RECIPES)
        and (arm.treatment != "shuffle-kernels" or not spans or arm.span in spans)
        and (intact or arm.treatment != "intact" or arm.source != "glyphs" or arm.recipe != "short")
    ]


CASES: dict[str, tuple[View, int, list[Arm] | None]] = {
    "full": (FULL, 5, None),
    "empty": (FULL, 0, []),
    "one seed": (ONE, 1, None),
    "a setting without arms": (view_of({"shallow": 4}, [FEW, MORE]), 3, arms_of(ONE)),
    "an architecture without arms": (view_of({"shallow": 4, "deep": 8}, [FEW]), 3, arms_of(ONE)),
    "one k": (ONE, 3, kept(ONE, spans=("top-2",))),
    "no regularisers": (PLAIN, 3, None),
    "nothing shuffled": (ONE, 3, [arm for arm in arms_of(ONE) if arm.treatment != "shuffle-kernels"]),
    "no intact network": (ONE, 3, kept(ONE, intact=False)),
    "no scratch": (ONE, 3, [arm for arm in arms_of(ONE) if arm.source != "none"]),
    "no settings": (view_of({"shallow": 4}, []), 3, arms_of(ONE)),
    "many": (MANY, 2, None),
}


@cache
def tables_of_case(case: str) -> tuple[Tables, View]:
    view, seeds, arms = CASES[case]
    return tables_of(view, seeds, arms), view


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_from_any_tables_and_no_text_hides_another(name: str, case: str) -> None:
    assert_drawn(name, *tables_of_case(case))


@pytest.mark.parametrize("name", FIGURES)
def test_other_studies_and_the_order_of_rows_change_nothing(name: str) -> None:
    tables, view = tables_of_case("a setting without arms")
    alone = {
        "design": tables["design"][tables["design"]["study"] == view.study].iloc[::-1].reset_index(drop=True),
        "runs": tables["runs"].iloc[::-1].reset_index(drop=True),
    }
    assert svg(drawn(name, alone, view)) == svg(drawn(name, tables, view))


# --- regularisers ------------------------------------------------------------------------------


def selected(tables: Tables, view: View) -> pd.DataFrame:
    design = choice.of_study(tables["design"], view)
    return choice.of_runs(design[design["selected"]], tables["runs"])


def changed(view: View, arms: list[Arm], **values: Mapping[str, float] | float) -> pd.DataFrame:
    """Return the runs of arms at their rate, scores of a recipe or span set to a value."""
    runs = selected(tables_of(view, 3, arms, spread=0.0), view)
    for column, value in values.items():
        for name, score in value.items() if isinstance(value, Mapping) else [("", value)]:
            where = (runs["recipe"].astype(str) == name) | (runs["span"].astype(str) == name) | (name == "")
            runs.loc[where, column] = score
    return runs


def test_validation_chooses_among_the_strengths_of_a_regulariser() -> None:
    setting = choice.Setting(**FEW)
    recipes = {"a": "l2", "b": "l2", "c": "l2", "d": "dropout"}
    view = view_of({"shallow": 4}, [FEW], recipes)
    arms = [arm for arm in arms_of(view) if arm.source == "glyphs"]
    flat = {"top1_validation": 0.5, "loss_validation": 1.0}
    for better, chosen in (
        ({"top1_validation": {"b": 0.6}}, "b (of 3)"),
        ({"top1_validation": {"b": 0.6, "c": 0.6}, "loss_validation": {"c": 0.9}}, "c (of 3)"),
        ({"loss_validation": {"b": 0.8}}, "b (of 3)"),
        ({}, "a (of 3)"),  # a tie in all goes by name
        ({"top1_validation": {"b": 0.5 + 1e-12}}, "a (of 3)"),  # less than any count of images
    ):
        runs = changed(view, arms, **flat)
        for column, values in better.items():
            for name, value in values.items():
                runs.loc[runs["recipe"] == name, column] = value
        panel = regularisers.panel_of(runs, view, "shallow", setting)
        assert {effect.name: effect.note for effect in panel.effects if not effect.shuffled} == {
            "l2": chosen,
            "dropout": "d",
        }


def test_rows_have_one_order_and_differences_are_seed_by_seed() -> None:
    tables, view = tables_of_case("full")
    runs = selected(tables, view)
    panel = regularisers.panel_of(runs, view, "deep", choice.Setting(**FEW))
    spans = [*(f"shuffle top-{k}" for k in range(1, 8)), "shuffle all"]
    assert [effect.name for effect in panel.effects] == [*regularisers.SHADES, *spans]
    here = runs[(runs["architecture"] == "deep") & (runs["shots"] == "5") & (runs["source"] == "glyphs")]
    here = here.set_index("seed").sort_index()
    of, minus = here[here["span"] == "top-2"], here[(here["treatment"] == "intact") & (here["recipe"] == "short")]
    effect = next(effect for effect in panel.effects if effect.name == "shuffle top-2")
    for measure in ("loss_train", "loss_test", "top1_test"):
        assert effect.found[measure] == interval((of[measure] - minus[measure]).to_numpy())


def test_a_regulariser_lowers_test_loss_and_not_training_loss() -> None:
    down, up, unclear = interval([-0.1, -0.2, -0.15]), interval([0.1, 0.2, 0.15]), interval([-0.1, 0.1, 0.0])
    for train, test, says in (
        (up, down, True),
        (unclear, down, True),
        (down, down, False),  # it just learns better
        (up, unclear, False),
        (up, up, False),
    ):
        effect = regularisers.Effect("x", "#000000", False, "", {"loss_train": train, "loss_test": test})
        assert effect.regularises is says
    alone = dict.fromkeys(("loss_train", "loss_test"), interval([-1.0]))
    assert not regularisers.Effect("x", "#000000", False, "", alone).lowers


def test_the_recipe_of_the_study_is_the_reference_even_if_it_regularises() -> None:
    view = view_of({"shallow": 4}, [FEW], {"short": "l2", "a": "l2"})
    arms = [arm for arm in arms_of(view) if arm.source == "glyphs" and arm.treatment == "intact"]
    panel = regularisers.panel_of(selected(tables_of(view, 2, arms), view), view, "shallow", choice.Setting(**FEW))
    assert [(effect.name, effect.note) for effect in panel.effects] == [("l2", "a")]


def test_the_title_of_regularisers_counts_what_lowers_test_loss() -> None:
    recipes = {"a": "l2", "b": "dropout", "c": "l1"}
    view = view_of({"shallow": 4}, [FEW, MORE], recipes)
    arms = [arm for arm in arms_of(view) if arm.source == "glyphs" and arm.treatment in ("intact", "shuffle-kernels")]
    runs = changed(view, arms, loss_test=1.0)
    runs.loc[runs["recipe"].isin(["a", "b"]) | (runs["span"] == "top-1"), "loss_test"] = 0.9
    runs.loc[(runs["shots"] == "30") & (runs["recipe"] == "a"), "loss_test"] = 1.0
    panels = {
        ("shallow", at): regularisers.panel_of(runs, view, "shallow", at)
        for at in (choice.Setting(**FEW), choice.Setting(**MORE))
    }
    assert regularisers.title(panels) == (
        "Test loss is lowered by 2 of 3 regularisers and 1 of 4 shuffles of top layers (shallow, few); "
        "by 1 of 3 regularisers and 1 of 4 shuffles of top layers (shallow, more) (n = 3)"
    )
    wide = panels | {(f"network-{n}", at): panel for n in range(2) for (_, at), panel in panels.items()}
    said = "by 1 to 2 of 3 regularisers and 1 of 4 shuffles of top layers (6 panels; n = 3)"
    assert said in regularisers.title(wide)
    assert wording.ABSENT in regularisers.title({})


def test_every_regulariser_has_a_colour_that_stays_apart() -> None:
    assert set(registry.names("regularisers")) == set(regularisers.SHADES)
    shades = [*regularisers.SHADES.values(), palette.colour("intact"), palette.colour("shuffle-kernels")]
    assert len(set(shades)) == len(shades)
    assert set(shades) <= set(palette.COLOURS.values())


def test_one_wide_interval_does_not_hide_the_others() -> None:
    figure = drawing.new_figure(1, "")
    axes = figure.subplots()
    near, wide = interval([0.1, 0.12, 0.11]), interval([-9.0, 9.0])
    look = palette.Look("", "#000000")
    drawing.share_dots({axes: [drawing.Dot("a", near, look), drawing.Dot("b", wide, look)]}, 1.0, [0.0])
    low, high = axes.get_xlim()
    assert low < 0 < near.high < high
    assert high - low < 0.5


# --- the dose ------------------------------------------------------------------------------------


def test_a_dose_is_the_number_of_top_layers_and_its_slope_is_by_seed() -> None:
    arms = kept(ONE, recipes=False)
    runs = changed(ONE, arms, loss_test=1.0)
    k = runs["span"].astype(str).map({"top-1": 1, "top-2": 2, "top-3": 3}).fillna(4).where(
        runs["treatment"] == "shuffle-kernels", 0
    )  # fmt: skip
    runs["loss_test"] = 1.0 - 0.1 * k + 0.5 * runs["seed"]
    rows = shuffling_dose.doses(runs, ONE, "shallow", choice.Setting(**FEW))
    found = shuffling_dose.responses(rows, "loss_test")
    assert list(found["layers"]) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(found["mean"], [0, -0.1, -0.2, -0.3, -0.4], atol=1e-12)
    np.testing.assert_allclose(found.loc[0, ["low", "high"]].astype(float), 0)
    assert set(found["n"]) == {3}
    assert shuffling_dose.slopes(rows, "loss_test").mean == pytest.approx(-0.1)
    assert "test loss −0.100 [" in shuffling_dose.title({("shallow", "few"): rows})


def test_a_dose_needs_the_intact_network_of_the_same_seed() -> None:
    runs = selected(tables_of(ONE, 3, kept(ONE, recipes=False)), ONE)
    lost = (runs["treatment"] == "intact") & (runs["seed"] == 1)
    rows = shuffling_dose.doses(runs[~lost], ONE, "shallow", choice.Setting(**FEW))
    assert set(rows["seed"]) == {0, 2}
    assert set(shuffling_dose.responses(rows, "loss_train")["n"]) == {2}
    none = shuffling_dose.doses(runs[runs["treatment"] != "intact"], ONE, "shallow", choice.Setting(**FEW))
    assert none.empty


# --- ways to start ---------------------------------------------------------------------------------


def test_ways_to_start_are_those_of_the_studys_recipes_named_in_words() -> None:
    arms = [*arms_of(ONE), Arm("shallow", "none", "0", "intact", "all", "mnist5k.5", "finetune", "short")]
    arms.append(Arm("shallow", "digits", "0.5", "intact", "all", "mnist5k.5", "finetune", "short"))
    panel = ways_to_start.panel_of(selected(tables_of(ONE, 3, arms), ONE), ONE, "shallow", choice.Setting(**FEW))
    assert {way.name for way in panel.ways} == {
        "scratch",  # by its own recipe alone
        "none, glorot.all",
        "none, gabor.bottom-1, recipe short",
        "none, gabor.bottom-1, recipe scratch",
        "source glyphs",  # without a regulariser
        "source digits, epoch 12 annealed",
        "source digits, epoch ½",
        "source glyphs-autoencoder",
        "source glyphs-random-labels",
        "source patches",
        "source patches-digits",
        "glyphs, gabor.bottom-1",
        "glyphs, bank-kernels.all",
        "glyphs, bank-layer.all",
        *(f"glyphs, shuffle-kernels.{span}" for span in ("top-1", "top-2", "top-3", "all")),
    }


def test_ways_to_start_are_sorted_and_ties_go_by_name() -> None:
    runs = changed(ONE, arms_of(ONE), top1_test=0.5)
    runs.loc[runs["source"] == "patches", "top1_test"] = 0.7
    runs.loc[runs["treatment"] == "glorot", "top1_test"] = 0.2
    ways = ways_to_start.panel_of(runs, ONE, "shallow", choice.Setting(**FEW)).ways
    names = [way.name for way in ways]
    assert names[0] == "source patches"
    assert names[-1] == "none, glorot.all"
    assert names[1:-1] == sorted(names[1:-1])
    assert [way.name for way in ways if way.beats_scratch] == ["source patches"]
    assert [way.name for way in ways if way.beats_source] == ["source patches"]


def test_settings_of_one_target_share_a_panel() -> None:
    far = {**FEW, "name": "far", "source": "patches"}
    settings = [choice.Setting(**each) for each in (FEW, far, MORE)]
    assert ways_to_start.targets_of(settings) == [settings[0], settings[2]]


def test_the_title_of_ways_to_start_counts_what_is_better() -> None:
    runs = changed(ONE, arms_of(ONE), top1_test=0.5)
    runs.loc[runs["source"].isin(["patches", "glyphs"]), "top1_test"] = 0.7
    panel = ways_to_start.panel_of(runs, ONE, "shallow", choice.Setting(**FEW))
    better = sum(way.start.source in ("patches", "glyphs") for way in panel.ways)
    assert ways_to_start.title([panel]) == (
        f"Of {len(panel.ways)} ways to start on mnist5k (5 shots) {better} are better than scratch "
        "and 0 than source glyphs (shallow) (n = 3)"
    )
    without = ways_to_start.panel_of(runs[runs["source"] != "none"], ONE, "shallow", choice.Setting(**FEW))
    assert "than scratch" not in ways_to_start.title([without])
    assert wording.ABSENT in ways_to_start.title([])
