"""The grid: one name for one thing, runs shared between studies, and what sources and targets have in common."""

import copy
from typing import Any

import pytest
from conftest import ROOT, curves, plan_of, put, tiny
from hypothesis import given
from hypothesis import strategies as st
from nets import plain

from whypretrain.config import models as config
from whypretrain.grid.claim_arms import ClaimArms
from whypretrain.grid.coordinates import Arm, Paths, split_epoch, write_number
from whypretrain.grid.grid import Grid
from whypretrain.grid.spans import canonical_span, span_layers

DEPTH = 5


def deep(**task: Any) -> dict[str, Any]:
    """The tiny study with a network of five layers, without claims."""
    raw = put(tiny(), "architectures.tiny", {"widths": [2] * DEPTH, "kernels": [5] + [3] * (DEPTH - 1)})
    raw["studies"]["tiny"] |= {"claims": [], "settings": {}}
    return raw


@pytest.fixture(scope="module")
def grid() -> Grid:
    return plan_of(deep()).grid


def arm(grid: Grid, treatment: str, span: str, source: str = "letters", epoch: Any = "last+anneal") -> Arm:
    return grid.arm(
        "test",
        architecture="tiny",
        source=source,
        epoch=epoch,
        treatment=treatment,
        span=span,
        target="digits.2",
        mode="finetune",
        recipe="short",
    )


def named(found: Arm) -> str:
    return f"{found.source} {found.epoch} {found.treatment}.{found.span}"


@pytest.mark.parametrize(
    ("treatment", "span", "source", "epoch", "expected"),
    [
        # training from scratch is one thing, whatever source was thrown away for it
        ("intact", "all", "none", "last", "none 0 intact.all"),
        ("reinit", "all", "letters", "last+anneal", "none 0 intact.all"),
        ("reinit", "top-5", "letters", 0.5, "none 0 intact.all"),
        ("reinit", "only-2", "none", 0, "none 0 intact.all"),
        # a source is named with its checkpoint
        ("intact", "all", "letters", "last", "letters 1 intact.all"),
        ("intact", "all", "letters", "1.0", "letters 1 intact.all"),
        ("intact", "all", "letters", 0.5, "letters 0.5 intact.all"),
        ("intact", "all", "letters", "0.50+anneal", "letters 0.5+anneal intact.all"),
        # what does nothing is intact
        ("intact", "top-2", "letters", "last+anneal", "letters 1+anneal intact.all"),
        ("shuffle-kernels", "top-0", "letters", "last+anneal", "letters 1+anneal intact.all"),
        ("shuffle-kernels", "above-5", "letters", "last+anneal", "letters 1+anneal intact.all"),
        ("rewind", "top-2", "letters", 0, "letters 0 intact.all"),
        # a set of layers has one name
        ("shuffle-kernels", "top-5", "letters", "last+anneal", "letters 1+anneal shuffle-kernels.all"),
        ("shuffle-kernels", "bottom-5", "letters", "last+anneal", "letters 1+anneal shuffle-kernels.all"),
        ("shuffle-kernels", "above-0", "letters", "last+anneal", "letters 1+anneal shuffle-kernels.all"),
        ("shuffle-kernels", "only-5", "letters", "last+anneal", "letters 1+anneal shuffle-kernels.top-1"),
        ("shuffle-kernels", "only-1", "letters", "last+anneal", "letters 1+anneal shuffle-kernels.bottom-1"),
        ("shuffle-kernels", "above-2", "letters", "last+anneal", "letters 1+anneal shuffle-kernels.top-3"),
        ("shuffle-kernels", "only-3", "letters", "last+anneal", "letters 1+anneal shuffle-kernels.only-3"),
        # and what does something keeps its own
        ("rewind", "top-2", "letters", 0.5, "letters 0.5 rewind.top-2"),
        ("reinit", "top-2", "letters", "last", "letters 1 reinit.top-2"),
        ("shuffle-kernels", "all", "none", 0, "none 0 shuffle-kernels.all"),
        ("reinit+affine-reset", "all", "letters", "last", "letters 1 reinit+affine-reset.all"),
        ("intact+affine-reset", "top-5", "letters", "last", "letters 1 intact+affine-reset.all"),
    ],
)
def test_coordinates_that_cannot_matter_are_written_one_way(
    grid: Grid, treatment: str, span: str, source: str, epoch: Any, expected: str
):
    assert named(arm(grid, treatment, span, source, epoch)) == expected


@given(st.integers(1, 12), st.data())
def test_a_span_and_its_canonical_name_are_the_same_layers(depth: int, data: st.DataObject):
    kind = data.draw(st.sampled_from(["top", "bottom", "only", "above"]))
    number = data.draw(st.integers(1, depth))
    card = plain(widths=(2,) * depth, kernels=(3,) * depth)
    layers = span_layers(f"{kind}-{number}", card)
    if layers:
        assert span_layers(canonical_span(layers, card), card) == layers


@given(st.integers(1, 12))
def test_two_sets_of_layers_never_share_a_name(depth: int):
    names: dict[str, tuple[int, ...]] = {}
    card = plain(widths=(2,) * depth, kernels=(3,) * depth)
    for kind in ("top", "bottom", "only"):
        for number in range(1, depth + 1):
            layers = span_layers(f"{kind}-{number}", card)
            assert names.setdefault(canonical_span(layers, card), layers) == layers


@given(st.floats(0, 1000, allow_nan=False), st.booleans())
def test_an_epoch_is_read_back_as_it_was_written(epoch: float, annealed: bool):
    text = write_number(epoch) + ("+anneal" if annealed else "")
    assert split_epoch(text) == (epoch, annealed)


def test_different_arms_have_different_paths(grid: Grid):
    arms = [
        arm(grid, treatment, span, epoch=epoch)
        for treatment in ("shuffle-kernels", "shuffle-filters", "shuffle-kernels+affine-reset")
        for span in ("all", "top-2", "only-2")
        for epoch in (0, 0.5, "1", "1+anneal")
    ]
    paths = {Paths("results").file("scores", **each.columns(), batch="lr-0.1.s0") for each in arms}
    assert len(paths) == len(arms) == 36


def test_one_arm_of_two_studies_is_one_set_of_runs():
    raw = tiny()
    alone = plan_of(raw)
    raw["studies"]["other"] = copy.deepcopy(raw["studies"]["tiny"]) | {"claims": [], "settings": {}}
    # the same arms under other spellings
    raw["studies"]["other"]["grid"][0] |= {"epochs": ["1.0+anneal"], "spans": ["top-2"]}
    raw["studies"]["other"]["grid"][1] |= {"sources": ["letters"], "treatments": ["reinit"]}
    both = plan_of(raw)
    assert set(both.arms) == set(alone.arms)
    here, there = ([(form.name, at) for form, at, _ in plan.batches(pilots=True)] for plan in (both, alone))
    assert here == there
    assert all(studies == ("tiny", "other") for studies in both.grid.arms.values())


def test_a_grid_is_every_combination_once():
    raw = put(deep(), "studies.tiny.grid.0.treatments", ["intact", "shuffle-kernels", "gaussian"])
    raw = put(raw, "studies.tiny.grid.0.spans", ["top-1", "top-2", "all", "top-5"])
    raw = put(raw, "studies.tiny.grid.0.targets", ["digits.2", "digits.3"])
    # two treatments on three sets of layers, intact and scratch; scratch on one of the two targets
    assert len(plan_of(raw).arms) == 2 * 3 * 2 + 2 + 1


@pytest.mark.parametrize(
    ("of_source", "of_target", "expected"),
    [
        ({"dataset": "glyphs"}, {"dataset": "digits"}, "different"),
        (
            {"dataset": "digits", "classes": ["0", "1"]},
            {"dataset": "digits", "classes": ["2", "3"]},
            "different",
        ),
        ({"dataset": "digits"}, {"dataset": "digits"}, "same-images"),
        ({"dataset": "digits", "images": "a"}, {"dataset": "digits", "images": "a"}, "same-images"),
        ({"dataset": "digits", "images": "a"}, {"dataset": "digits", "images": "b"}, "same-distribution"),
        ({"dataset": "digits", "images": "b"}, {"dataset": "digits", "images": "a"}, "same-distribution"),
        ({"dataset": "digits", "images": "a"}, {"dataset": "digits"}, "overlapping"),
        ({"dataset": "digits", "classes": ["0", "1"]}, {"dataset": "digits"}, "overlapping"),
        (
            {"dataset": "digits", "classes": ["0", "1"], "images": "a"},
            {"dataset": "digits", "classes": ["1", "2"], "images": "b"},
            "overlapping",
        ),
    ],
)
def test_relations_of_source_and_target(of_source: dict[str, Any], of_target: dict[str, Any], expected: str):
    raw = deep()
    raw["tasks"] |= {"from": of_source, "to": of_target}
    raw["sources"]["letters"]["task"] = "from"
    grid = Grid(config.load(raw, ROOT))
    assert grid.relation("letters", "to") == expected
    assert grid.relation("none", "to") == "untrained"
    for block in raw["studies"]["tiny"]["grid"]:
        block["targets"] = ["to.2"]
    if expected == "overlapping":
        with pytest.raises(config.ConfigError, match=r"source 'letters' and target 'to\.2' overlap"):
            plan_of(raw)
    else:
        plan_of(raw)


def sides(raw: dict[str, Any]) -> list[list[Arm]]:
    """Return the arms on both sides of the claim `kept`, in the order of N."""
    claim = ClaimArms(plan_of(raw).grid, "tiny", "kept")
    (setting,), (part,) = claim.pairs("different"), claim.claim.components
    return [[*claim.side(setting, *choices).values()] for choices in (part.of, part.minus)]


def test_the_top_few_of_a_claim_are_those_of_the_study_up_to_a_quarter():
    # ceil(5 / 4) = 2: top-1 and top-2, of which the study has both
    raw = put(deep(), "studies.tiny.grid.0.spans", ["top-1", "top-2", "top-3", "all"])
    raw["studies"]["tiny"]["claims"] = ["kept"]
    raw["studies"]["tiny"]["settings"] = {"different": {"source": "letters", "target": "digits.2"}}
    raw["claims"]["kept"]["components"] = [
        {"of": {"treatment": "shuffle-kernels", "span": "top-N", "layers": "first"}, "minus": {"treatment": "intact"}}
    ]
    of, minus = sides(raw)
    assert [each.span for each in of] == ["top-1", "top-2"]
    assert [named(each) for each in minus] == ["letters 1+anneal intact.all"]
    # an arm of another study is none of this one's
    raw["studies"]["other"] = raw["studies"]["tiny"] | {"claims": []}
    raw = put(raw, "studies.tiny.grid.0.spans", ["top-1", "all"])
    of, _ = sides(raw)
    assert [each.span for each in of] == ["top-1"]


def test_validation_is_as_poor_as_training():
    raw = deep()
    grid = plan_of(raw).grid
    assert grid.target("digits.2", "test").validation_shots == 2
    assert grid.target("digits.30", "test").validation_shots == 20
    assert grid.target("digits.full", "test").shots is None
    asked = plan_of(put(raw, "tasks.digits.validation_shots", 7)).grid
    assert asked.target("digits.2", "test").validation_shots == 7


# --- modes ---------------------------------------------------------------------------------


def learning(grid: Grid, mode: str, recipe: str = "short", **other: Any) -> Arm:
    coordinates = {"architecture": "tiny", "source": "letters", "epoch": "last", "treatment": "intact", "span": "all"}
    return grid.arm("test", **coordinates | {"target": "digits.2", "mode": mode, "recipe": recipe} | other)


def test_to_freeze_no_layer_is_to_fine_tune(grid: Grid):
    assert learning(grid, "freeze-0") == learning(grid, "freeze-0+source-norm") == learning(grid, "finetune")
    assert learning(grid, "freeze-1").mode == "freeze-1"


def test_a_probe_has_no_recipe_whatever_is_listed(grid: Grid):
    assert learning(grid, "probe").recipe == learning(grid, "probe+source-norm").recipe == "none"
    raw = put(deep(), "recipes.other", {"learning_rate_blocks": [[0.1]]})
    for recipes in ([], ["short"], ["short", "other"]):
        block = {"modes": ["probe"], "treatments": ["intact"], "recipes": recipes}
        raw["studies"]["tiny"]["grid"][0] |= block
        assert [each.recipe for each in plan_of(raw).arms if each.mode == "probe"] == ["none"]


def test_without_norm_there_are_no_statistics_of_the_source_to_keep(grid: Grid):
    plain = plan_of(put(deep(), "architectures.tiny.norm", "none")).grid
    for mode in ("freeze-2", "probe"):
        assert learning(plain, f"{mode}+source-norm") == learning(plain, mode)
        assert learning(grid, f"{mode}+source-norm").mode == f"{mode}+source-norm"


def test_to_copy_all_layers_is_intact(grid: Grid):
    copied = {"treatment": "reinit", "span": f"above-{DEPTH}"}
    assert learning(grid, f"freeze-{DEPTH}", **copied) == learning(grid, f"freeze-{DEPTH}")
    assert learning(grid, "finetune", **copied | {"span": f"above-{DEPTH - 1}"}).span == "top-1"


# --- transfer between halves of the classes ------------------------------------------------


def test_n_is_the_same_in_span_and_mode():
    found = {
        (each.span, each.mode)
        for each in plan_of(curves()).arms
        if (each.source, each.target) == ("half-a", "half-b.full")
    }
    # with both layers copied nothing is left to re-initialise
    assert found == {("top-1", "freeze-1"), ("all", "freeze-2"), ("top-1", "finetune"), ("all", "finetune")}


def test_from_a_source_to_its_own_target_the_arms_of_anb_are_those_of_bnb():
    raw = curves()
    raw["studies"]["curves"]["settings"]["itself"] = {"source": "half-b", "target": "half-b.full", "own": "half-b"}
    raw = put(raw, "claims.specific.settings", ["itself", "random"])
    claim = ClaimArms(plan_of(raw).grid, "curves", "specific")
    (part,) = claim.claim.components
    (itself,), (other, _) = claim.pairs("itself"), claim.pairs("random")
    bnb = claim.side(itself, part.of[0])
    assert sorted(bnb) == [1, 2]
    assert bnb == claim.side(itself, part.minus[0])
    assert bnb == claim.side(other, part.of[0])
    assert not set(bnb.values()) & set(claim.side(other, part.minus[0]).values())


def test_random_halves_of_the_classes_are_different_and_part_of_the_whole():
    raw = put(curves(), "seed_blocks", [[0, 1, 2, 3]])
    grid = plan_of(raw).grid
    assert grid.relation("half-a", "half-b") == grid.relation("half-b", "half-a") == "different"
    assert grid.relation("half-a", "half-a") == "same-images"
    assert grid.relation("letters", "half-a") == "overlapping"
    assert len({grid.drawn_classes("half-a", seed) for seed in range(4)}) > 1
    for seed in range(4):
        halves = [grid.drawn_classes(half, seed) for half in ("half-a", "half-b")]
        assert halves[0] | halves[1] == grid.drawn_classes("letters", seed)
    with pytest.raises(config.ConfigError, match=r"source 'letters' and target 'half-a\.full' overlap"):
        plan_of(put(raw, "studies.curves.grid.2.targets", ["half-a.full"]))


def test_a_target_at_another_size_has_its_own_file_and_the_same_images_and_draws():
    raw = deep()
    raw["studies"]["tiny"]["grid"][0]["targets"] = ["digits.2", "digits.2@16"]
    plan = plan_of(raw)
    assert {found.target for found in plan.grid.arms if found.task.startswith("digits")} >= {"digits.2", "digits@16.2"}
    assert [plan.values.size(name) for name in ("digits", "digits@16")] == [8, 16]
    assert plan.dataset_of_task("digits@16", [0])[0].endswith("datasets/digits@16.safetensors")
    own, other = (plan.values.target(name) for name in ("digits.2", "digits@16.2"))
    assert own | {"target": "digits@16.2"} == other, "parts, shots, head and order are drawn alike"
    assert plan.grid.relation("letters", "digits@16") == plan.grid.relation("letters", "digits")
