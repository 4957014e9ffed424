"""Mistakes in config: found before anything runs, told in one message with key, value and what is allowed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, SHIPPED, curves, fresh, plan_of, put, tiny

from whypretrain.config import models as config
from whypretrain.config.models import ConfigError
from whypretrain.config.reading import read_all, with_includes
from whypretrain.jobs import setup

GRID = "studies.tiny.grid.0"

# what is changed in the tiny study, its new value, and what the message must say: key, value, what is allowed
MISTAKES: dict[str, tuple[str, Any, list[str]]] = {
    "unknown dataset": (
        "tasks.letters.dataset",
        "cifar",
        ["tasks.letters.dataset", "'cifar'", "glyphs", "digits"],
    ),
    "unknown dataset module": (
        "datasets.digits.module",
        "cifar",
        ["datasets.digits.module", "'cifar'", "mnist5k"],
    ),
    "unknown parameter of a dataset": (
        "datasets.glyphs.parameters",
        {"fonts": 3},
        ["datasets.glyphs.parameters.fonts", "images_per_class"],
    ),
    "dataset parameter too small": (
        "datasets.glyphs.parameters",
        {"images_per_class": 1},
        ["datasets.glyphs.parameters.images_per_class", "1", "10"],
    ),
    "unknown architecture": (
        f"{GRID}.architectures",
        ["resnet"],
        [f"{GRID}.architectures", "'resnet'", "tiny"],
    ),
    "unknown treatment": (
        f"{GRID}.treatments",
        ["intact", "shuffle-everything"],
        [f"{GRID}.treatments", "'shuffle-everything'", "shuffle-kernels"],
    ),
    "unknown suffix": (
        f"{GRID}.treatments",
        ["intact+reset"],
        [f"{GRID}.treatments", "+reset", "+affine-reset"],
    ),
    "unknown mode": (f"{GRID}.modes", ["probing"], [f"{GRID}.modes", "'probing'", "finetune"]),
    "unknown recipe": (f"{GRID}.recipes", ["long"], [f"{GRID}.recipes", "'long'", "short"]),
    "unknown recipe of claims": (
        "studies.tiny.recipe",
        "long",
        ["studies.tiny.recipe", "'long'", "short"],
    ),
    "unknown source": (f"{GRID}.sources", ["words"], [f"{GRID}.sources", "'words'", "none, letters"]),
    "unknown task of a source": (
        "sources.letters.task",
        "words",
        ["sources.letters.task", "'words'", "letters"],
    ),
    "unknown pretraining": (
        "sources.letters.pretraining",
        "long",
        ["sources.letters.pretraining", "'long'", "brief"],
    ),
    "unknown task of a target": (f"{GRID}.targets", ["words.2"], [f"{GRID}.targets", "'words'", "digits"]),
    "unknown figure": ("studies.tiny.figures", ["pie-chart"], ["studies.tiny.figures", "'pie-chart'"]),
    "unknown claim": ("studies.tiny.claims", ["G9"], ["studies.tiny.claims", "'G9'", "kept"]),
    "unknown setting of a claim": (
        "claims.kept.settings",
        ["equal"],
        ["claims.kept.settings", "'equal'", "different"],
    ),
    "unknown architecture of a claim": (
        "claims.kept.architecture",
        "deep",
        ["claims.kept.architecture", "'deep'", "tiny"],
    ),
    "unknown measure": ("claims.kept.measure", "top5", ["claims.kept.measure", "'top5'", "top1_test"]),
    "unknown test": ("claims.kept.test", "hope", ["claims.kept.test", "'hope'", "superiority"]),
    "a claim's arm that isn't in the grid": (
        f"{GRID}.treatments",
        ["intact"],
        ["studies.tiny.grid", "'kept'", "shuffle-kernels.all", "digits.2"],
    ),
    "a setting's name that isn't true": (
        "studies.tiny.settings",
        {"same-images": {"source": "letters", "target": "digits.2"}},
        ["studies.tiny.settings.same-images", "'different'"],
    ),
    "span that is none": (f"{GRID}.spans", ["middle-2"], [f"{GRID}.spans", "'middle-2'", "top-K"]),
    "span beyond the depth": (f"{GRID}.spans", ["top-3"], [f"{GRID}.spans", "'top-3'", "layers 1 to 2"]),
    "layer 0": (f"{GRID}.spans", ["only-0"], [f"{GRID}.spans", "'only-0'", "layers 1 to 2"]),
    "Gabor filters in small kernels": (
        f"{GRID}.treatments",
        ["gabor"],
        [f"{GRID}.treatments", "'gabor'", "'all'"],
    ),
    "a checkpoint that isn't kept": (f"{GRID}.epochs", [0.75], [f"{GRID}.epochs", "'0.75'", "0, 0.5, 1"]),
    "an annealed initialisation": (f"{GRID}.epochs", ["0+anneal"], [f"{GRID}.epochs", "'0+anneal'", "last"]),
    "target without shots": (f"{GRID}.targets", ["digits"], [f"{GRID}.targets", "'digits'", "digits"]),
    "zero shots": (f"{GRID}.targets", ["digits.0"], [f"{GRID}.targets", "'digits.0'", "digits.full"]),
    "shares that leave nothing to train on": (
        "datasets.digits",
        {"module": "digits", "validation_share": 0.3, "test_share": 0.7},
        ["datasets.digits", "validation_share 0.3", "test_share 0.7", "together 0.99 or less"],
    ),
    "more shots than images": (
        f"{GRID}.targets",
        ["digits.500"],
        [f"{GRID}.targets", "'digits.500'", "500 images", "up to 1"],
    ),
    "more validation shots than images": (
        "tasks.digits.validation_shots",
        99,
        ["tasks.digits.validation_shots", "99", "up to 3"],
    ),
    "a class that isn't there": (
        "tasks.digits.classes",
        ["1", "x"],
        ["tasks.digits.classes", "'x'", "0, 1, 2"],
    ),
    "a class twice": ("tasks.digits.classes", ["1", "1"], ["tasks.digits.classes", "twice"]),
    "one class": ("tasks.digits.classes", ["1"], ["tasks.digits.classes", "2"]),
    "no class": ("tasks.digits.classes", [], ["tasks.digits.classes", "2"]),
    "misspelt key": ("seed_block", [[3]], ["seed_block", "did you mean 'seed_blocks'?"]),
    "misspelt key inside": (
        "recipes.short.min_step",
        3,
        ["recipes.short.min_step", "did you mean 'min_steps'?"],
    ),
    "unknown key": ("colour", "red", ["colour", "no such key", "architectures"]),
    "image too small": (
        "architectures.tiny",
        {"widths": [4] * 5, "kernels": [3] * 5, "pool_after": [1, 2, 3, 4]},
        [f"{GRID}.architectures", "'tiny'", "from 16 up"],
    ),
    "a size that no image has": (f"{GRID}.targets", ["digits.2@4"], [f"{GRID}.targets.0", "@4", "@8 to 1024 pixels"]),
    "the study's own size": (f"{GRID}.targets", ["digits.2@8"], [f"{GRID}.targets", "'digits'", "leave out '@8'"]),
    "even kernel": ("architectures.tiny.kernels", [3, 4], ["architectures.tiny", "[3, 4]", "odd"]),
    "too few kernels": ("architectures.tiny.kernels", [3], ["architectures.tiny", "2 widths but 1"]),
    "pooling after no layer": ("architectures.tiny.pool_after", [3], ["architectures.tiny", "3", "1 to 2"]),
    "unknown norm": ("architectures.tiny.norm", "group", ["architectures.tiny.norm", "'group'", "'batch'"]),
    "a name with a capital": (
        "architectures.Tiny",
        {"widths": [4], "kernels": [3]},
        ["architectures.Tiny", "a-z0-9"],
    ),
    "a source named none": (
        "sources.none",
        {"task": "letters", "pretraining": "brief"},
        ["sources.none", "untrained"],
    ),
    "checkpoints out of order": (
        "pretraining.brief.checkpoints",
        [0, 1, 0.5],
        ["pretraining.brief", "[0.0, 1.0, 0.5]", "increasing"],
    ),
    "checkpoints without the first": (
        "pretraining.brief.checkpoints",
        [1, 2],
        ["pretraining.brief", "begin with 0"],
    ),
    "a negative rate": ("recipes.short.learning_rate_blocks", [[-0.1]], ["learning_rate_blocks.0.0", "-0.1"]),
    "a rate twice": (
        "recipes.short.learning_rate_blocks",
        [[0.1], [0.1]],
        ["recipes.short", "twice"],
    ),
    "a rate that isn't a number": (
        "recipes.short.learning_rate_blocks",
        [["fast"]],
        ["learning_rate_blocks.0.0", "'fast'"],
    ),
    "a seed twice": ("seed_blocks", [[0, 1], [1]], ["twice"]),
    "a negative seed": ("seed_blocks", [[-1]], ["seed_blocks.0.0", "-1"]),
    "no seed": ("seed_blocks", [], ["seed_blocks"]),
    "an empty block of seeds": ("seed_blocks", [[]], ["seed_blocks"]),
    "an empty block of rates": ("recipes.short.learning_rate_blocks", [[]], ["learning_rate_blocks"]),
    "a results folder with a space": ("results", "my results", ["results", "'my results'"]),
    "an included file that isn't there": ("include", ["config/none.yaml"], ["config/none.yaml"]),
    "an include that is no list": ("include", 3, ["include", "3", "list"]),
    "a margin of two kinds": (
        "claims.kept.margin",
        {"value": 0.1, "share_of_gain": 0.2},
        ["claims.kept.margin", "one of value and share_of_gain"],
    ),
}

CURVES = "studies.curves.grid"
RANDOM = "studies.curves.settings.random"

# the same, changed in the study of layers, checkpoints and pairs
MISTAKES_OF_CURVES: dict[str, tuple[str, Any, list[str]]] = {
    "more layers frozen than there are": (
        f"{CURVES}.0.modes",
        ["freeze-9"],
        [f"{CURVES}.0.modes", "'freeze-9'", "freeze-0 to freeze-2"],
    ),
    "layers beyond the depth": (f"{CURVES}.0.layers", [9], [f"{CURVES}.0.modes", "'freeze-9'", "freeze-2"]),
    "a number of frozen layers that is none": (
        f"{CURVES}.0.modes",
        ["freeze-x"],
        [f"{CURVES}.0.modes", "'freeze-x'", "freeze-N", "probe"],
    ),
    "a span with N, but no layers": (
        f"{CURVES}.0.layers",
        [],
        [f"{CURVES}.0.layers", "'above-N'", "numbers of layers"],
    ),
    "a mode with N, but no layers": (f"{CURVES}.1.layers", [], [f"{CURVES}.1.layers", "'freeze-N'"]),
    "a mode with gradients, but no recipe": (f"{CURVES}.1.recipes", [], [f"{CURVES}.1.recipes", "'freeze-0'", "same"]),
    "an unknown read-out": (
        f"{CURVES}.2.measures",
        ["spectrum"],
        [f"{CURVES}.2.measures", "'spectrum'", "start", "spectra"],
    ),
    "half of three classes": ("tasks.half-a.classes", ["A", "B", "C"], ["tasks.half-a.class_half", "3", "4 classes"]),
    "own, but few shots": (f"{RANDOM}.0.target", "half-b.2", [f"{RANDOM}.target", "'half-b.2'", "half-b.full"]),
    "own of another task": (f"{RANDOM}.0.own", "letters", [f"{RANDOM}.own", "'letters'", "a source of 'half-b'"]),
    "own that isn't there": (f"{RANDOM}.0.own", "words", [f"{RANDOM}.own", "'words'", "letters, half-a, half-b"]),
    "a claim's checkpoint that isn't kept": (
        "claims.peak.components.0.minus.epoch",
        0.75,
        ["claims.peak", "'0.75'", "0, 0.5, 1"],
    ),
    "a correlation of one arm": (
        "claims.peak.components.0",
        {"of": {"mode": "probe"}, "over": "correlation"},
        ["claims.peak", "correlation", "N or E"],
    ),
    "a slope over one checkpoint beside epoch 0": (
        "studies.curves.grid.3.epochs",
        [0, "last+anneal"],
        ["studies.curves.grid", "'steep'", "it has 1"],
    ),
    "what no read-out gives": (
        "claims.residual.measure",
        "parts.main.source.final",
        ["claims.residual.measure", "parts.main.source.final"],
    ),
    "a control that is no accuracy": (
        "claims.peak.control",
        {"of": {"pair": "sources"}},
        ["claims.peak", "cka is of a pair"],
    ),
    "layers that a shallow network lacks": (
        "claims.apart.components.0.of.layers",
        "middle",
        ["claims.apart", "none is middle", "first, last, all"],
    ),
    "a claim's mode beyond the depth": (
        "claims.peak.components.0.minus.mode",
        "freeze-3",
        ["claims.peak.modes", "'freeze-3'", "freeze-2"],
    ),
    "a pair of an unknown source": (
        "pairs.sources.first.source",
        "words",
        ["pairs.sources.first.source", "'words'", "none, letters"],
    ),
    "a pair of an unknown architecture": (
        "pairs.sources.architectures",
        ["resnet"],
        ["pairs.sources.architectures", "'resnet'", "tiny"],
    ),
    "a pair of a trained network that no study has": (
        "pairs.trained.second.recipe",
        "same",
        ["pairs.trained.second", "'none'", "'same'", "add it to a grid"],
    ),
    "a pair on images that no study learns": (
        "pairs.sources.images",
        "letters.2",
        ["pairs.sources.images", "'letters'", "a target of some study"],
    ),
    "a pair on other images than its networks learn": (
        "pairs.trained.images",
        "half-a.full",
        ["pairs.trained.images", "'half-a.full'", "'digits.2'"],
    ),
    "an unknown pair of a study": ("studies.curves.pairs", ["twins"], ["studies.curves.pairs", "'twins'", "sources"]),
    "an unknown pair of a claim": (
        "claims.apart.components.0.of.pair",
        "twins",
        ["claims.apart", "pair", "'twins'", "trained, sources"],
    ),
    "a claim's pair that isn't the study's": (
        "studies.curves.pairs",
        ["trained"],
        ["claims.apart", "pair", "'sources'", "allowed: trained"],
    ),
    "checkpoints of the untrained network": (
        "claims.peak.components.0.of.source",
        "none",
        ["claims.peak.components.0.of", "source none"],
    ),
    "checkpoints in a way there isn't": (
        "claims.peak.components.0.of.epoch",
        "E+foo",
        ["claims.peak.components.0.of", "'E+foo'", "E+anneal"],
    ),
    "E and N at once": ("claims.specific.components.0.of.epoch", "E", ["claims.specific.components.0.of", "E", "N"]),
    "the measure cka without a pair": (
        "claims.apart.components.0.of.pair",
        None,
        ["claims.apart", "cka", "pair", "both or neither"],
    ),
    "a pair without the measure cka": (
        "claims.peak.components.0.minus.pair",
        "sources",
        ["claims.peak", "cka", "pair", "both or neither"],
    ),
    "a peak of what validation doesn't choose": (
        "claims.peak.components.0.of.measure",
        "parts.all.target.start",
        ["claims.peak", "peak", "top1_test"],
    ),
    "own in a setting that names none": ("claims.specific.settings", ["different"], ["claims.specific", "'own'"]),
    "a slope over one number of layers": (
        f"{CURVES}.0.layers",
        [1],
        ["studies.curves.grid", "'specific'", "2 arms or more", "freeze-N", "it has 1"],
    ),
    "parts of arms that aren't read out": (
        f"{CURVES}.2.measures",
        ["spectra"],
        ["studies.curves.grid", "'residual'", "'parts.residual.target", "`parts`"],
    ),
    "a warm-up and an end that are more than all steps": (
        "recipes.same.decay_share",
        0.95,
        ["recipes.same", "warmup_share and decay_share", "more than all steps"],
    ),
    "an end of a cosine": ("recipes.same.schedule", "cosine", ["recipes.same", "decay_share", "constant"]),
}


def complaint(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as found:
        plan_of(raw)
    return str(found.value)


def test_the_tiny_study_itself_is_right():
    assert len(plan_of(tiny()).arms) == 3


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_key_value_and_what_is_allowed(mistake: str):
    key, value, expected = MISTAKES[mistake]
    message = complaint(put(tiny(), key, value))
    assert [text for text in expected if text not in message] == [], message
    assert "\n" not in message


def test_the_study_of_curves_itself_is_right():
    assert "curves" in plan_of(curves()).config.studies


@pytest.mark.parametrize("mistake", MISTAKES_OF_CURVES)
def test_a_mistake_in_curves_is_told_with_key_value_and_what_is_allowed(mistake: str):
    key, value, expected = MISTAKES_OF_CURVES[mistake]
    message = complaint(put(curves(), key, value))
    assert [text for text in expected if text not in message] == [], message
    assert "\n" not in message


def test_own_must_be_pretrained_as_the_other_source_is():
    raw = put(curves(), "pretraining.longer", {"checkpoints": [0, 0.5, 1], "learning_rate": 0.05})
    message = complaint(put(raw, "sources.half-b.pretraining", "longer"))
    assert [text for text in (f"{RANDOM}.own", "'half-b'", "'longer'", "'brief'") if text not in message] == []


def test_a_pair_that_a_claim_is_about_has_its_architecture():
    raw = put(curves(), "architectures.wide", {"widths": [8, 8], "kernels": [3, 3]})
    message = complaint(put(raw, "pairs.sources.architectures", ["wide"]))
    assert "pairs.sources.architectures: the claim 'apart' is on 'tiny'" in message


def test_a_missing_key_is_named():
    raw = tiny()
    del raw["studies"]["tiny"]["recipe"]
    assert complaint(raw) == "studies.tiny.recipe: is missing and has no default"


@pytest.mark.parametrize(
    ("classes", "relation"),
    [(["A", "B", "C"], "overlapping"), (["C", "D"], "different"), (["A", "B"], "same-images")],
)
def test_overlapping_class_subsets_of_source_and_target_are_refused(classes: list[str], relation: str):
    raw = put(tiny(), "tasks.letters.classes", ["A", "B"])
    raw = put(raw, "pretraining.brief.checkpoints", [0, 1])  # two classes make a pass of one step
    raw["tasks"]["target"] = {"dataset": "glyphs", "classes": classes}
    raw = put(raw, "studies.tiny.settings", {"pair": {"source": "letters", "target": "target.2"}})
    raw = put(raw, "claims.kept.settings", ["pair"])
    for block in raw["studies"]["tiny"]["grid"]:
        block["targets"] = ["target.2"]
    if relation == "overlapping":
        message = complaint(raw)
        assert "studies.tiny.grid" in message
        assert "overlap" in message
        assert "allowed: disjoint classes" in message
    else:
        assert plan_of(raw).grid.relation("letters", "target") == relation


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("recipes.short.learning_rate_blocks", [[float("inf")]], "finite number"),
        ("pretraining.brief.checkpoints", [0, float("nan")], "finite number"),
        ("pretraining.brief.checkpoints", [0, 0.001, 0.002, 1], "fall on one step"),
        ("studies.tiny.epoch", "lst", "studies.tiny.epoch: 'lst' is no checkpoint"),
        ("studies.tiny.grid.0.targets", ["digits.02"], "'digits.02' has no shots"),
        ("claims.kept.measure", "cosine_mean", "share_of_gain is of accuracies"),
        ("seed_blocks", [[0, 2**63]], "seed_blocks.0.1: is larger than any number here can be; allowed: up to 900719"),
        ("recipes.short.min_steps", 10**400, "recipes.short.min_steps: is larger than any number"),
        ("recipes.short.learning_rate_blocks", [["1e300"]], "recipes.short.learning_rate_blocks.0.0: is larger"),
        ("datasets.glyphs.parameters", {"images_per_class": 10**400}, "parameters.images_per_class: is larger"),
        ("datasets.glyphs.parameters", {"images_per_class": 10**9}, "datasets.glyphs: has 26,000,000,000 images"),
        ("architectures.tiny.widths", [4, 10**9], "architectures.tiny: has a layer of 1,000,000,000 channels"),
        ("architectures.tiny.widths", [40_000, 40_000], "and 14,400,360,000 weights; allowed: up to 65,536 and 1,000,"),
        ("architectures.tiny.kernels", [99_999, 3], "weights; allowed: up to"),
        ("threads", 10**9, "threads: is 1000000000: Input should be less than or equal to 1024"),
        ("studies.tiny.normalisation", {"standard_deviation": 1e-300}, "should be greater than or equal to 0.001"),
        ("tasks", {"a" * 41: {"dataset": "glyphs"}}, "at most 40 characters"),
        ("results", "results/" + "a" * 101, "results: is"),
        ("results", "workflow", "results: is 'workflow': allowed: any folder but the project's own: config, docs"),
        ("results", "tests/results", "allowed: any folder but the project's own"),
    ],
)
def test_numbers_and_claims_that_cannot_be_are_refused(key: str, value: Any, expected: str):
    assert expected in complaint(put(tiny(), key, value))


def theirs(file: str) -> dict[str, Any]:
    return {"pretraining.brief": {"objective": "published", "weights": file, "checkpoints": [0, 1]}}


PLACES: dict[str, tuple[dict[str, Any], str]] = {
    "a file": ({"results": "README.md"}, "results: is 'README.md', but README.md is a file; allowed: a folder, or"),
    "below a file": ({"results": "README.md/a/b"}, "results: is 'README.md/a/b', but README.md is a file"),
    "a link": ({"results": "gone/a"}, "results: is 'gone/a', but gone is a link to what isn't there"),
    "images": (
        {"results": "pets/out", "datasets.pets": {"module": "folder", "parameters": {"path": "./pets"}}},
        "results: is 'pets/out', in the folder of images pets of datasets.pets, where each folder is a class",
    ),
    "no weights": (theirs("theirs.pth"), "pretraining.brief.weights: is 'theirs.pth', which is no file"),
    "a folder for weights": (theirs("pets.pt"), "pretraining.brief.weights: is 'pets.pt', which is no"),
    "a name too long for a file": (theirs("a" * 300 + ".pt"), "pretraining.brief.weights: is 'aaa"),
}


@pytest.mark.parametrize("what", PLACES)
def test_a_folder_or_file_that_cannot_serve_is_told(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    changes, told = PLACES[what]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").touch()
    (tmp_path / "gone").symlink_to("elsewhere")
    (tmp_path / "pets.pt").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(9):
            (tmp_path / f"pets/{name}/{number}.png").write_bytes(b"no picture")
    raw = tiny()
    for key, value in changes.items():
        raw = put(raw, key, value)
    with pytest.raises(SystemExit) as ended:
        setup.refuse_stale(setup.make_plan(raw, [], ROOT), [], {})
    assert str(ended.value).startswith(f"Mistake in config: {told}")
    assert "\n" not in str(ended.value)
    assert capsys.readouterr().err == ""


def test_a_merged_mapping_may_be_overridden(tmp_path: Path):
    file = tmp_path / "merged.yaml"
    file.write_text("base: &base {size: 8, epochs: 1}\nother: {<<: *base, size: 12}\n")
    assert config.read_yaml(file)["other"] == {"size": 12, "epochs": 1}


def two_studies(**changes: Any) -> dict[str, Any]:
    raw = tiny()
    other = json.loads(json.dumps(raw["studies"]["tiny"])) | changes
    raw["studies"]["other"] = other | {"claims": [], "settings": {}}
    return raw


def test_two_studies_may_share_everything():
    assert len(plan_of(two_studies()).arms) == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size": 12}, "size 12"),
        ({"normalisation": {"mean": 0.5}}, "normalisation 0.5"),
    ],
)
def test_two_studies_that_give_one_name_to_two_things_are_refused(changes: dict[str, Any], told: str):
    message = complaint(two_studies(**changes))
    assert "studies.other" in message
    assert told in message
    assert "another name" in message


def test_a_config_stands_over_what_it_includes_key_by_key_and_a_null_takes_out(tmp_path: Path):
    (tmp_path / "below.yaml").write_text(yaml.safe_dump(two_studies()))
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"threads": 3, "recipes": {"short": {"min_steps": 7}}}))
    above = {"include": ["below.yaml", "more.yaml"], "studies": {"other": None, "tiny": {"title": "Mine"}}}
    found, below = config.load(above, tmp_path), config.load(two_studies(), tmp_path)
    assert (found.threads, found.recipes["short"].min_steps, list(found.studies)) == (3, 7, ["tiny"])
    assert found.studies["tiny"].title == "Mine"
    assert found.studies["tiny"].grid == below.studies["tiny"].grid
    assert found.recipes["short"].learning_rates == below.recipes["short"].learning_rates


def test_of_several_files_each_stands_over_those_before_and_over_what_any_includes(tmp_path: Path):
    contents = {
        "included": {"threads": 2, "results": "results/b"},
        "a": {"threads": 1, "recipes": {"short": {"min_steps": 1}}},
    }
    contents["b"] = {"include": ["included.yaml"], "recipes": {"short": {"epochs": 3}}}
    for name, content in contents.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    found = with_includes(read_all([tmp_path / "a.yaml", tmp_path / "b.yaml"]), tmp_path)
    assert found == {"threads": 1, "results": "results/b", "recipes": {"short": {"min_steps": 1, "epochs": 3}}}


def test_a_key_written_twice_is_refused(tmp_path: Path):
    path = tmp_path / "twice.yaml"
    path.write_text("recipes:\n  short: {min_steps: 1}\n  short: {min_steps: 2}\n")
    with pytest.raises(ConfigError, match=r"twice\.yaml: the key 'short' stands twice"):
        config.read_yaml(path)


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "", "!!python/object:os.system {}"])
def test_what_is_no_yaml_of_keys_is_refused_and_never_run(tmp_path: Path, text: str):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        config.read_yaml(path)


def test_numbers_mean_the_same_however_they_are_written():
    # YAML reads 1e-5 as a text, 0.00001 as a number
    raws = [put(tiny(), "recipes.short.weight_decay", value) for value in ("1e-5", 0.00001)]
    specs = [[result.made.spec for result in plan_of(raw).computed()] for raw in raws]
    assert specs[0] == specs[1]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_configs_that_come_with_the_project_are_right(name: str):
    assert plan_of(config.read_yaml(ROOT / name)).arms


def test_the_schema_file_is_the_one_of_the_models():
    written = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert written == json.loads(json.dumps(config.schema())), "it has drifted; run: make schema"


def test_every_key_of_the_schema_that_ends_in_a_number_is_described():
    definitions = config.schema()["$defs"]
    for model in ("Recipe", "Pretraining"):
        for key, entry in definitions[model]["properties"].items():
            assert "description" in entry or "default" in entry, f"{model}.{key}"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fresh(tmp_path_factory.mktemp("config") / "project")


@pytest.mark.parametrize(
    "mistake", ["unknown treatment", "span beyond the depth", "more shots than images", "misspelt key"]
)
def test_snakemake_says_one_message_and_no_traceback(clone: Any, mistake: str):
    key, value, expected = MISTAKES[mistake]
    clone.write_config(put(tiny(), key, value))
    done = subprocess.run(clone.command("-n"), cwd=clone.path, env=clone.environment(), capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert text.count("Mistake in config") == 1
    assert [part for part in expected if part not in text] == []
    assert "Traceback" not in text
    assert not (clone.path / "results").exists()


def test_a_key_written_twice_is_refused_by_snakemake(clone: Any):
    clone.write_config(tiny())
    clone.edit("tests/config/tiny.yaml", "results: results\n", "results: results\nresults: others\n")
    text = clone.snakemake("-n", status=1)
    assert "the key 'results' stands twice" in text
    assert "Traceback" not in text


def test_parsing_config_is_quick_and_imports_nothing_heavy():
    program = (
        "import sys; from whypretrain.jobs import setup\n"
        "found = {'torch', 'torchvision', 'sklearn', 'pandas', 'pyarrow', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imports {found}' if found else 0)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
