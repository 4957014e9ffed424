"""Tasks: no image is ever on two sides, draws are nested, and every purpose has a stream of its own."""

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, SHIPPED, plan_of, put, tiny

from whypretrain import registry
from whypretrain.config import models as config
from whypretrain.data.tasks import source_images, target_images
from whypretrain.jobs.plan import Plan
from whypretrain.randomness import PURPOSES, stream


@cache
def plan(name: str) -> Plan:
    return plan_of(config.read_yaml(ROOT / name))


def labels_alone(plan: Plan, task: str) -> dict[str, np.ndarray]:
    """Return a stand-in of a task's dataset: its labels, and images that are just their numbers.

    Which image is in which part goes by labels alone; their order in the file doesn't matter here.
    """
    counts = plan.grid.counts[plan.config.tasks[task].dataset]
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    return {"images": np.arange(len(labels))[:, None, None, None], "labels": labels}


def numbers(images: Any) -> set[int]:
    return set(images.images.ravel().tolist())


@pytest.mark.parametrize("name", SHIPPED)
def test_no_image_that_validates_or_tests_a_task_ever_trains_a_source_or_a_target(name: str):
    plan_ = plan(name)
    tasks = list(plan_.config.tasks)
    for seed in plan_.config.seeds:
        trained: dict[str, set[int]] = {}
        held_out: dict[str, set[int]] = {}
        for task in tasks:
            dataset = plan_.config.tasks[task].dataset
            parts = source_images(labels_alone(plan_, task), plan_.values.task(task), seed)
            trained.setdefault(dataset, set()).update(numbers(parts["train"]))
            held_out.setdefault(dataset, set()).update(numbers(parts["validation"]), numbers(parts["test"]))
        for target in sorted({arm.target for arm in plan_.arms}):
            described = plan_.values.target(target)
            parts = target_images(labels_alone(plan_, described["name"]), described, seed)
            dataset = described["dataset"]
            assert not numbers(parts["train"]) & held_out[dataset]
            for part in ("validation", "test"):
                assert not numbers(parts[part]) & trained[dataset]
            assert not numbers(parts["validation"]) & numbers(parts["test"])
        assert all(trained[dataset].isdisjoint(held_out[dataset]) for dataset in trained)


@pytest.mark.parametrize("name", ["config/config.yaml", "config/laptop.yaml"])
def test_source_and_target_of_the_same_distribution_share_classes_and_no_training_image(name: str):
    plan_ = plan(name)
    pairs = [
        (setting.source, setting.target)
        for study in plan_.config.studies.values()
        for relation, settings in study.settings.items()
        for setting in settings
        if relation == "same-distribution"
    ]
    assert pairs
    for source, target in pairs:
        task = plan_.config.sources[source].task
        described = plan_.values.target(target)
        for seed in plan_.config.seeds:
            data = labels_alone(plan_, task)
            of_source = source_images(data, plan_.values.task(task), seed)
            of_target = target_images(data, described | {"shots": None}, seed)
            assert not numbers(of_source["train"]) & numbers(of_target["train"])
            assert set(of_source["train"].labels) == set(of_target["train"].labels)


@pytest.mark.parametrize("seed", range(3))
def test_two_halves_of_the_classes_share_none_and_are_all_of_them(seed: int):
    raw = tiny()
    for half in ("a", "b"):
        raw["tasks"][f"half-{half}"] = {"dataset": "digits", "classes": list("0123478"), "class_half": half}
    plan_ = plan_of(raw)
    data = labels_alone(plan_, "digits")
    found = {half: source_images(data, plan_.values.task(f"half-{half}"), seed) for half in ("a", "b")}
    classes = {half: set(data["labels"][parts["train"].indices].tolist()) for half, parts in found.items()}
    assert classes["a"] | classes["b"] == {0, 1, 2, 3, 4, 7, 8}
    assert not classes["a"] & classes["b"]
    for half, size in (("a", 4), ("b", 3)):
        assert len(classes[half]) == size == plan_.values.task(f"half-{half}")["class_count"]
        for part in found[half].values():
            assert set(part.labels.tolist()) == set(range(size))
    assert plan_.grid.class_count("half-b") == 3


def test_seeds_draw_other_halves_of_the_classes():
    raw = put(tiny(), "tasks.half", {"dataset": "glyphs", "class_half": "a", "validation_shots": 1})
    plan_ = plan_of(raw)
    assert len({plan_.grid.drawn_classes("half", seed) for seed in range(5)}) == 5


@pytest.mark.parametrize("seed", range(3))
def test_shots_are_nested_and_exact(seed: int):
    plan_ = plan_of(tiny())
    data = labels_alone(plan_, "digits")
    drawn = []
    for shots in (1, 2, 5, 20, None):
        described = plan_.values.target("digits.2") | {"shots": shots}
        train = target_images(data, described, seed)["train"]
        assert shots is None or (np.bincount(train.labels) == shots).all()
        drawn.append(numbers(train))
    assert all(few < more for few, more in itertools.pairwise(drawn))


def test_shots_restrict_what_trains_and_nothing_else():
    plan_ = plan_of(tiny())
    data = labels_alone(plan_, "digits")
    whole = source_images(data, plan_.values.task("digits"), 0)
    for shots in (1, 20):
        found = target_images(data, plan_.values.target(f"digits.{shots}"), 0)
        for part in ("validation", "test"):
            assert numbers(found[part]) == numbers(whole[part])
        few = found["validation_few"]
        assert np.bincount(few.labels).tolist() == [shots] * 10
        assert numbers(few) < numbers(found["validation"])


def test_few_validation_images_are_among_those_of_more():
    plan_ = plan_of(tiny())
    data = labels_alone(plan_, "digits")
    drawn = [
        numbers(target_images(data, plan_.values.target(f"digits.{shots}"), 0)["validation_few"])
        for shots in (2, 5, 20)
    ]
    assert all(few < more for few, more in itertools.pairwise(drawn))


def test_of_a_dataset_that_no_source_learns_nearly_all_images_test():
    plan_ = plan("config/config.yaml")
    learnt = {plan_.config.tasks[source.task].dataset for source in plan_.config.sources.values()}
    assert "mnist5k" not in learnt
    assert {part: set(sizes.values()) for part, sizes in plan_.grid.part_sizes("mnist5k").items()} == {
        "train": {40},
        "validation": {20},
        "test": {440},
    }


def test_seeds_draw_different_images_and_one_seed_always_the_same():
    plan_ = plan_of(tiny())
    data, described = labels_alone(plan_, "digits"), plan_.values.target("digits.2")
    drawn = [numbers(target_images(data, described, seed)["train"]) for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]


def test_a_class_subset_is_the_rest_of_the_same_partition():
    raw = put(tiny(), "tasks.some", {"dataset": "digits", "classes": ["7", "2"]})
    plan_ = plan_of(raw)
    data = labels_alone(plan_, "digits")
    whole, some = (source_images(data, plan_.values.task(task), 0) for task in ("digits", "some"))
    for part in ("train", "validation", "test"):
        truth = data["labels"][sorted(numbers(whole[part]))]
        expected = np.array(sorted(numbers(whole[part])))[np.isin(truth, [7, 2])]
        assert numbers(some[part]) == set(expected.tolist())
        # labels go by the order in which config names the classes
        assert (data["labels"][some[part].indices] == np.array([7, 2])[some[part].labels]).all()


def test_images_and_labels_belong_together():
    module = registry.load("datasets", "digits")
    images, labels = module.prepare(module.Parameters(), 8)
    plan_ = plan_of(tiny())
    parts = target_images({"images": images, "labels": labels}, plan_.values.target("digits.5"), 1)
    for part in parts.values():
        np.testing.assert_array_equal(part.images, images[part.indices])
        np.testing.assert_array_equal(part.labels, labels[part.indices])


# --- streams -------------------------------------------------------------------------------


def test_streams_of_different_purposes_seeds_and_keys_are_independent():
    keys: list[tuple[Any, ...]] = [(purpose, 0, "tiny") for purpose in PURPOSES]
    keys += [("head", seed, "tiny") for seed in range(1, 20)] + [("head", 0, "other"), ("head", "0", "tiny")]
    draws = np.array([stream(*each).standard_normal(2000) for each in keys])
    correlation = np.corrcoef(draws)[np.triu_indices(len(keys), 1)]
    # 435 pairs: the largest of so many has |r| of about 0.07 by chance; the standard deviation is 1/sqrt(2000)
    assert np.abs(correlation).max() < 0.1
    assert correlation.std() == pytest.approx(2000**-0.5, rel=0.25)


def test_a_stream_is_always_in_the_same_state():
    assert stream("head", 3, "a").random() == stream("head", 3, "a").random()
    # pinned: another number would mean that every result changes
    assert stream("treatment", 0, 1).integers(1 << 32, size=3).tolist() == PINNED


PINNED: list[int] = [1917712996, 367399038, 3534512194]


def test_keys_do_not_run_into_each_other():
    assert stream("treatment", 1, 11).random() != stream("treatment", 11, 1).random()
    assert stream("head", 1, "1a").random() != stream("head", 11, "a").random()


def test_an_unknown_purpose_is_refused():
    with pytest.raises(ValueError, match=r"unknown purpose 'luck'; allowed: .*partition"):
        stream("luck", 0)
