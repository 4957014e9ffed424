"""Specs: what one job is told changes when, and only when, something that it uses changes."""

import copy
import json
import random
import re
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT, SHIPPED, at_every_rate, plan_of, put, tiny, told_to

from whypretrain.config import models as config
from whypretrain.jobs.plan import Plan, pinned_versions
from whypretrain.jobs.tables import collected_tables


def specs(plan: Plan) -> dict[str, str]:
    """Return the spec of every job that computes something, by the files that it makes, all arms at all rates.

    What is selected depends on all that there is.
    """
    results = at_every_rate(plan).computed()
    return {result.path: result.made.spec for result in results if result.made.form.stage != "select_rates"}


def second_study(raw: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(raw)
    changed["studies"]["another"] = copy.deepcopy(raw["studies"]["tiny"]) | {
        "title": "Another",
        "claims": [],
        "settings": {},
    }
    return changed


ADDED = {
    "a treatment": ("studies.tiny.grid.0.treatments", ["intact", "shuffle-kernels", "gaussian"]),
    "a span": ("studies.tiny.grid.0.spans", ["all", "top-1"]),
    "a seed block": ("seed_blocks", [[0, 1], [2, 3]]),
    "a block of learning rates": ("recipes.short.learning_rate_blocks", [[0.01, 0.1], [0.3]]),
    "a target": ("studies.tiny.grid.0.targets", ["digits.2", "digits.5"]),
    "a recipe": ("recipes.long", {"learning_rate_blocks": [[0.1]], "min_steps": 99}),
    "an architecture": ("architectures.other", {"widths": [3], "kernels": [3]}),
    "a dataset": ("datasets.mnist5k", {"module": "mnist5k"}),
    "a task": ("tasks.few", {"dataset": "digits", "classes": ["1", "2"]}),
    "a source": ("sources.other", {"task": "digits", "pretraining": "brief"}),
    "another title": ("studies.tiny.title", "Another"),
    "another margin": ("claims.kept.margin", {"value": 0.5}),
    "dropped weights": ("keep_weights", False),
}


@pytest.mark.parametrize("what", ADDED)
def test_what_is_added_changes_no_job_that_was_there(what: str):
    before, after = specs(plan_of(tiny())), specs(plan_of(put(tiny(), *ADDED[what])))
    assert before.items() <= after.items()


def test_another_study_changes_no_job_that_was_there():
    assert specs(plan_of(second_study(tiny()))) == specs(plan_of(tiny()))


# what is changed, and the files of which jobs are then made with another spec: all others stay
CHANGED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "rate of pretraining": ({"pretraining.brief.learning_rate": 0.2}, ("sources/tiny/letters",)),
    "length of annealing": ({"pretraining.brief.anneal_share": 0.5}, ("sources/tiny/letters",)),
    "steps of targets": ({"recipes.short.min_steps": 20}, ("runs/",)),
    "decay of targets": ({"recipes.short.weight_decay": 0.0}, ("runs/",)),
    "runs and sources at once": ({"replicas": 4}, ("/finetune/", "sources/")),
    "precision": ({"precision": "bf16"}, ("/finetune/",)),
    "difficulty of letters": (
        {"datasets.glyphs.parameters": {"images_per_class": 25}},
        ("datasets/glyphs",),
    ),
    "size of images": ({"studies.tiny.size": 10}, ("datasets/",)),
    "classes of the target": (
        {"tasks.digits.classes": ["1", "7"]},
        ("runs/", "measures/"),
    ),
    "half of the source": ({"tasks.letters.images": "a"}, ("sources/tiny/letters", "measures/")),
    "threads": ({"threads": 2}, ("runs/", "measures/", "sources/tiny/letters")),
    "constants of images": (
        {"studies.tiny.normalisation": {"mean": 0.3}},
        ("runs/", "measures/", "sources/tiny/letters"),
    ),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_value_is_in_the_specs_of_the_jobs_that_use_it_and_in_no_other(what: str):
    changes, expected = CHANGED[what]
    raw = tiny()
    for key, value in changes.items():
        raw = put(raw, key, value)
    before, after = specs(plan_of(tiny())), specs(plan_of(raw))
    assert before.keys() == after.keys() or what == "classes"
    differ = {path for path in before if before[path] != after[path]}
    kinds = {kind for kind in expected if any(kind in path for path in differ)}
    assert kinds == set(expected)
    assert [path for path in differ if not any(kind in path for kind in expected)] == []


def test_the_measure_of_scratch_knows_nothing_of_sources():
    raw = put(tiny(), "tasks.letters.images", "a")
    before, after = specs(plan_of(tiny())), specs(plan_of(raw))
    scratch = [path for path in before if "measures/" in path and "/none/" in path]
    assert scratch
    assert all(before[path] == after[path] for path in scratch)


def test_swapped_numbers_are_another_spec():
    # Snakemake compares parameters without their names; one JSON string keeps them apart
    raw = put(put(tiny(), "recipes.short.weight_decay", 0.5), "recipes.short.warmup_share", 0.25)
    swapped = put(put(tiny(), "recipes.short.weight_decay", 0.25), "recipes.short.warmup_share", 0.5)
    before, after = specs(plan_of(raw)), specs(plan_of(swapped))
    assert all(before[path] != after[path] for path in before if "runs/" in path)


def shuffled(value: Any, stream: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(key, shuffled(inner, stream)) for key, inner in value.items()]
        stream.shuffle(items)
        return dict(items)
    return [shuffled(inner, stream) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_keys_changes_nothing(seed: int):
    assert specs(plan_of(shuffled(tiny(), random.Random(seed)))) == specs(plan_of(tiny()))


def test_a_block_is_the_same_jobs_whatever_other_blocks_there_are():
    plan = plan_of(put(tiny(), "seed_blocks", [[0, 1], [2]]))
    names = [(form.name, form.block.seeds) for form in plan.forms_of("train_run")]
    assert names == [("train_run_short_s0", (0, 1)), ("train_run_short_s1", (2,)), ("train_run_short_r0_p0", (100,))]


@pytest.mark.parametrize("source", ["tests/config/tiny.yaml", *SHIPPED])
def test_a_collector_makes_the_same_plan_from_its_spec(source: str):
    # otherwise it would call every fresh result stale
    plan = plan_of(config.read_yaml(ROOT / source))
    again = Plan.of_spec(told_to(plan, "collect_table", table="runs"))
    assert again.arms == plan.arms
    assert specs(again) == specs(plan)
    # and name what a table is made from in another order
    for table in collected_tables():
        here, there = ([part.path for part, _ in each.form("collect_table").parts_of(table)] for each in (again, plan))
        assert here == there, table


def test_specs_are_plain_canonical_json():
    for spec in specs(plan_of(tiny())).values():
        assert json.dumps(json.loads(spec), sort_keys=True, separators=(",", ":")) == spec
        assert len(spec) < 128_000  # what one argument of a command may hold


def test_the_spec_of_the_largest_study_fits_into_one_argument():
    plan = plan_of(config.read_yaml(ROOT / "config" / "laptop.yaml"))
    assert len(plan.form("judge_claims").told(SimpleNamespace())) < 128_000


def test_what_uses_torch_says_which():
    pinned = pinned_versions(ROOT / "envs" / "requirements.txt")["torch"]
    for path, spec in specs(plan_of(tiny())).items():
        uses_torch = "/runs/" in path or "measures/" in path or "sources/tiny/letters" in path
        assert (json.loads(spec).get("versions", {}).get("torch") == pinned) == uses_torch


def test_every_input_of_a_job_is_the_output_of_another(default_config: dict[str, Any]):
    plan = at_every_rate(plan_of(default_config))
    made = {result.path for result in plan.results()}
    for result in plan.computed():
        assert {path for path in result.made.inputs if path.startswith("results/")} <= made, result.path
    for form in plan.ruled():
        for at in form.every():
            read = {path for reads in form.inputs().values() for path in reads(at, form.block.seeds)}
            assert {path for path in read if path.startswith("results/")} <= made, form.name


def test_a_form_names_no_input_as_an_output_and_every_wildcard_of_its_files(default_config: dict[str, Any]):
    plan = at_every_rate(plan_of(default_config))
    for form in plan.forms:
        assert not form.inputs().keys() & form.outputs(form.block.seeds).keys(), form.name
        wildcards = [
            set(re.findall(r"\{(\w+)\}", file)) for files in form.outputs(form.block.seeds).values() for file in files
        ]
        assert all(each == wildcards[0] for each in [*wildcards, *(set(re.findall(r"\{(\w+)\}", form.log)),)]), (
            form.name
        )
    names = [form.name for form in plan.ruled()]
    assert len(set(names)) == len(names)
