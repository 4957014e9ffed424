"""Sources: chains of them, random labels, and layers that learn one after another to reconstruct."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NOWHERE, fresh, job, plan_of, put, tiny, told_to
from hypothesis import given
from hypothesis import strategies as st
from nets import plain

from whypretrain import registry
from whypretrain.command import StageError
from whypretrain.config import models as config
from whypretrain.data.datasets import digits
from whypretrain.evidence.lookup import Lookup, Tables
from whypretrain.figures import source_history
from whypretrain.figures.plotting.view import View
from whypretrain.files.schemas import check_table
from whypretrain.files.storage import read_columns, read_tensors, write_tensors
from whypretrain.grid.coordinates import Arm
from whypretrain.jobs.fingerprints import closure
from whypretrain.jobs.plan import Plan
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.building import build
from whypretrain.networks.initialisation import without_head
from whypretrain.networks.network import in_batches
from whypretrain.networks.tracing import Place
from whypretrain.pages.study import source_lines
from whypretrain.registry import constants
from whypretrain.stages import anneal_source, pretrain_source
from whypretrain.training import autoencoding, pretraining, schedules
from whypretrain.training.data import TargetData
from whypretrain.training.learners import source_data
from whypretrain.training.modes import finetune
from whypretrain.training.objectives.random_labels import relabelled
from whypretrain.training.runs import Request

torch.set_num_threads(1)

CPU = torch.device("cpu")
TASK: dict[str, Any] = {
    "name": "digits",
    "dataset": "digits",
    "shares": {"validation": 0.2, "test": 0.2},
    "images": "all",
}
TASK |= {"classes": list(range(10)), "class_half": None, "class_count": 10}
WEIGHTS = dict[str, np.ndarray]


def source_spec(objective: str = "labels", norm: str = "batch", source: str = "digits", **settings: Any) -> Any:
    architecture = {"name": "tiny", "widths": [6, 8, 8], "kernels": [5, 3, 1], "pool_after": [1, 3], "norm": norm}
    values = {"objective": objective, "checkpoints": [0.0, 0.5, 2.0, 4.0, 6.0], "learning_rate": 0.03, "batch_size": 32}
    values |= {"weight_decay": 5e-4, "warmup_epochs": 0.5, "anneal_share": 0.2, **settings}
    spec: dict[str, Any] = {"architecture": architecture, "source": source, "device": "cpu", "threads": 1}
    spec["replicas"] = 1
    return spec | {"task": TASK, "normalisation": {"mean": 0.3, "standard_deviation": 0.37}, "pretraining": values}


def described(norm: str = "batch") -> Any:
    return plain(**source_spec(norm=norm)["architecture"])


@pytest.fixture(scope="module")
def tensors() -> WEIGHTS:
    images, labels = digits.prepare(digits.Parameters(), 9)  # uneven, so that pooling leaves a row and a column out
    return {"images": images, "labels": labels}


@pytest.fixture(scope="module")
def data(tensors: WEIGHTS) -> TargetData:
    """A third of the digits."""
    whole = source_data(source_spec(), 0, tensors, described(), CPU)
    images, labels = ({part: each[::3] for part, each in found.items()} for found in (whole.images, whole.labels))
    return TargetData(images, labels, whole.classes)


def pretrained(spec: Any, data: TargetData, seed: int = 0, parent: WEIGHTS | None = None) -> list[pretraining.ReadOut]:
    return [one for (one,) in pretraining.pretrain(spec, [pretraining.Learner(seed, data, of_spec(spec, []), parent)])]


def annealed(spec: Any, data: TargetData, raw: WEIGHTS) -> pretraining.ReadOut:
    (end,) = pretraining.anneal(spec, [pretraining.Learner(0, data, of_spec(spec, []), raw)])
    return end


def end_of(spec: Any, data: TargetData) -> WEIGHTS:
    raw = pretrained(spec, data)[-1].weights
    assert raw is not None
    end = annealed(spec | {"epoch": spec["pretraining"]["checkpoints"][-1]}, data, raw).weights
    assert end is not None
    return end


def equal(a: WEIGHTS, b: WEIGHTS) -> bool:
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


# --- chains --------------------------------------------------------------------------------


def chain(**starts: str) -> dict[str, Any]:
    """The tiny study from the first source of a chain, `first="second"` being that one's start."""
    raw = tiny()
    names = list(dict.fromkeys([*starts, *starts.values()]))
    raw["sources"] |= {name: {"task": "letters", "pretraining": "brief"} for name in names}
    for name, start in starts.items():
        raw["sources"][name]["start"] = start
    raw["studies"]["tiny"]["settings"]["different"]["source"] = names[0]
    raw["studies"]["tiny"]["grid"][0]["sources"] = [names[0]]
    return raw


def test_a_chain_of_one_link_is_plain_transfer(data: TargetData):
    parent = end_of(source_spec(source="parent", checkpoints=[0.0, 1.0]), data)
    child = pretrained(source_spec(source="child", checkpoints=[0.0, 1.0]), data, parent=parent)[0].weights
    assert child is not None
    assert equal(without_head(described(), child), without_head(described(), parent))
    recipe = {"epochs": 0, "min_steps": 12, "batch_size": 16, "weight_decay": 5e-4, "warmup_share": 0.1}
    recipe |= {"epoch_steps": 4, "schedule": "cosine", "decay_share": 0.0, "regulariser": None}
    plain, through = (
        finetune.run(Request(start, described(), data, "digits", recipe, 0.05, 0, CPU))[0] for start in (parent, child)
    )
    assert equal(through.final, plain.final)
    assert through.scores == plain.scores


def test_the_head_of_a_link_is_its_own_and_the_same_without_a_parent(data: TargetData):
    spec = source_spec(source="child", checkpoints=[0.0, 1.0])
    parent = end_of(source_spec(source="parent", checkpoints=[0.0, 1.0]), data)
    with_parent, alone = pretrained(spec, data, parent=parent), pretrained(spec, data)
    heads = [found[0].weights["head.weight"] for found in (with_parent, alone)]  # type: ignore[index]
    np.testing.assert_array_equal(heads[0], heads[1])
    assert (heads[0] != parent["head.weight"]).any()
    assert with_parent[1].row["loss_train"] != alone[1].row["loss_train"], "it goes on from its parent"


def test_a_parent_of_another_architecture_is_refused(data: TargetData):
    with pytest.raises(ValueError, match=r"don't fit the network: missing \['norm1"):
        pretrained(source_spec(), data, parent=pretrained(source_spec(norm="none"), data)[0].weights)


def parents(plan: Plan, source: str) -> list[str]:
    """Return the checkpoints that a source starts from."""
    form = next(f for f in plan.forms_of("pretrain_source") if f.parts[0] == plan.config.sources[source].pretraining)
    found: list[str] = form.inputs()["parents"](SimpleNamespace(architecture="tiny", source=source), form.block.seeds)
    return found


def test_a_link_is_told_where_the_one_before_it_ends():
    plan = plan_of(chain(child="letters"))
    child, letters = ({"architecture": "tiny", "source": source} for source in ("child", "letters"))
    folder = "results/sources/tiny/letters"
    assert parents(plan, "child") == [f"{folder}/s{seed}/epoch-1+anneal.safetensors" for seed in (0, 1)]
    assert told_to(plan, "pretrain_source", **child)["parent"] == {"epoch": "1+anneal", "source": "letters"}
    assert parents(plan, "letters") == []
    assert told_to(plan, "pretrain_source", **letters)["parent"] is None
    assert "parent" not in told_to(plan, "anneal_source", **child, epoch="1"), "its input says it"


def test_all_ancestors_are_made_to_any_depth_though_no_study_names_them():
    plan = plan_of(chain(d="c", c="b", b="a"))
    assert plan.grid.ancestors("d") == ("c", "b", "a")
    assert plan.grid.trained_sources == [("tiny", name) for name in "abcd"]
    assert plan.annealed(plan.grid) == [("tiny", name, "1+anneal") for name in "abcd"]
    made = {result.path for result in plan.computed()}
    for name in "dcb":
        assert set(parents(plan, name)) <= made
    for name in "abcd":  # size and constants of images are those of the study that the chain ends in
        told_to(plan, "pretrain_source", architecture="tiny", source=name)


def test_datasets_of_ancestors_have_the_size_of_the_study():
    raw = put(chain(child="parent"), "datasets.more", {"module": "digits"})
    raw["tasks"]["parent"] = {"dataset": "more"}
    raw["sources"]["parent"]["task"] = "parent"
    assert told_to(plan_of(raw), "prepare_dataset", dataset="more")["size"] == 8


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ({"a": "a"}, "sources.a.start: 'a' -> 'a' goes in a circle; allowed: a chain that ends"),
        ({"a": "b", "b": "a"}, "sources.a.start: 'a' -> 'b' -> 'a' goes in a circle"),
        ({"c": "a", "a": "b", "b": "a"}, "sources.a.start: 'a' -> 'b' -> 'a' goes in a circle"),
        ({"a": "b", "b": "c", "c": "a"}, "sources.a.start: 'a' -> 'b' -> 'c' -> 'a' goes in a circle"),
    ],
)
def test_a_circle_is_named_before_anything_runs(starts: dict[str, str], message: str):
    with pytest.raises(config.ConfigError) as error:
        plan_of(chain(**starts))
    assert str(error.value).startswith(message)


def test_a_start_that_isnt_there_is_named():
    with pytest.raises(config.ConfigError, match=r"^sources\.letters\.start: 'leters' is unknown; allowed: letters"):
        plan_of(put(tiny(), "sources.letters.start", "leters"))


def test_a_chain_through_a_part_of_the_target_is_refused():
    raw = put(chain(child="middle", middle="parent"), "tasks.few", {"dataset": "digits", "classes": ["1", "2"]})
    raw["sources"]["parent"]["task"] = "few"
    with pytest.raises(config.ConfigError) as error:
        plan_of(raw)
    assert str(error.value).startswith(
        "studies.tiny.grid.0: source 'child', through 'parent' that it starts from, and target 'digits.2' overlap in"
    )
    raw["sources"]["parent"]["task"] = "letters"
    grid = plan_of(raw).grid
    assert (grid.relation("child", "digits"), grid.relation("child", "few")) == ("different", "different")


def test_an_ancestor_under_two_normalisations_is_refused():
    raw = chain(child="parent")
    other = raw["studies"]["tiny"] | {"claims": [], "settings": {}, "normalisation": {"mean": 0.5}}
    raw["sources"]["sibling"] = raw["sources"]["child"] | {"task": "digits"}
    raw["tasks"]["other"] = {"dataset": "glyphs", "images": "a"}
    block = raw["studies"]["tiny"]["grid"][0] | {"sources": ["sibling"], "targets": ["other.2"]}
    raw["studies"]["other"] = other | {"grid": [block]}
    with pytest.raises(config.ConfigError, match=r"source 'parent' is used with normalisation 0\.5"):
        plan_of(put(raw, "tasks.letters", {"dataset": "glyphs", "images": "b"}))


# --- objectives ----------------------------------------------------------------------------


def test_every_objective_of_config_has_its_module_that_says_if_it_has_branches():
    names = get_args(config.Pretraining.model_fields["objective"].annotation)
    assert sorted(names) == list(registry.names("objectives"))
    for name in names:
        assert constants("objectives", name)["ANNEALED"] == hasattr(registry.load("objectives", name), "anneal")


def test_an_objective_stales_the_sources_that_learn_it_and_no_other():
    raw = put(tiny(), "pretraining.layers", {"checkpoints": [0, 1], "objective": "reconstruction"})
    raw["sources"]["layers"] = {"task": "letters", "pretraining": "layers"}
    code = plan_of(raw).forms_of("pretrain_source")[0].code
    assert code(SimpleNamespace(source="layers")) != code(SimpleNamespace(source="letters"))
    assert "whypretrain.training.autoencoding" not in closure(
        ("whypretrain.stages.pretrain_source", "whypretrain.training.objectives.labels")
    )


def test_the_history_of_labels_says_how_much_of_each_pass_was_right(data: TargetData):
    rows = [found.row for found in pretrained(source_spec(learning_rate=1e-12, checkpoints=[0.0, 2.0]), data)]
    assert math.isnan(rows[0]["top1_train"])
    for row in rows[1:]:  # a pass leaves no image out, and nothing moves: it is right as often as before
        count = row["top1_train"] * len(data.labels["train"])
        assert abs(count - round(count)) < 1e-4
        assert row["top1_train"] == pytest.approx(rows[0]["top1_test"], abs=0.15)
    learnt = pretrained(source_spec(), data)
    assert learnt[-1].row["top1_train"] > 0.6
    assert [name for name, value in learnt[-1].row.items() if math.isnan(value)] == list(pretraining.OF_LAYERS)


# --- random labels -------------------------------------------------------------------------


def test_random_labels_are_fixed_uniform_and_hang_on_seed_and_source_alone(data: TargetData):
    drawn = relabelled(data, 0, "a")
    again, seed, source = (relabelled(data, *key) for key in ((0, "a"), (1, "a"), (0, "b")))
    first = drawn.labels["train"]
    assert (again.labels["train"] == first).all()
    assert first.dtype == data.labels["train"].dtype
    for other in (seed, source, data):  # alike as often as chance has it: 36 of 360, 3 standard deviations 17
        assert abs(int((other.labels["train"] == first).sum()) - len(first) / 10) < 20
    counts = np.bincount(first.numpy(), minlength=10)
    assert len(counts) == 10
    assert ((counts - len(first) / 10) ** 2).sum() / (len(first) / 10) < 27.9  # chi-square, 9 degrees, p = 0.001
    for part in ("validation", "test"):
        assert drawn.labels[part] is data.labels[part]
    assert drawn.images is data.images


def test_random_labels_are_learnt_and_the_true_ones_stay_at_chance(data: TargetData):
    few = TargetData(
        {part: images[::4] for part, images in data.images.items()},
        {part: labels[::4] for part, labels in data.labels.items()},
        data.classes,
    )
    rows = [
        found.row for found in pretrained(source_spec("random-labels", checkpoints=[0.0, 60.0], batch_size=16), few)
    ]
    assert rows[1]["top1_train"] < 0.3
    assert rows[-1]["top1_train"] > 0.6
    assert rows[-1]["top1_test"] < 0.3
    assert rows[-1]["loss_train"] < rows[1]["loss_train"]


def test_random_labels_start_and_order_as_labels_do_and_go_on_in_the_branch(data: TargetData):
    spec, plain = source_spec("random-labels", checkpoints=[0.0, 1.0]), source_spec(checkpoints=[0.0, 1.0])
    found, labelled = pretrained(spec, data), pretrained(plain, data)
    assert found[0].row == labelled[0].row
    assert equal(found[0].weights, labelled[0].weights)  # type: ignore[arg-type]
    # with those labels as true ones training is the same: nothing else differs
    shuffled = relabelled(data, 0, "digits")
    assert equal(pretrained(plain, shuffled)[-1].weights, found[-1].weights)  # type: ignore[arg-type]
    raw = found[-1].weights
    assert raw is not None
    branches = [
        annealed(each | {"epoch": 1.0}, images, raw)
        for each, images in ((spec, data), (plain, shuffled), (plain, data))
    ]
    assert equal(branches[0].weights, branches[1].weights)  # type: ignore[arg-type]
    assert not equal(branches[0].weights, branches[2].weights)  # type: ignore[arg-type]


# --- reconstruction ------------------------------------------------------------------------


def by_layer(found: list[pretraining.ReadOut]) -> dict[int, list[dict[str, Any]]]:
    rows: dict[int, list[dict[str, Any]]] = {}
    for read_out in found:
        rows.setdefault(int(read_out.row["layer"]), []).append(read_out.row)
    return rows


@pytest.fixture(scope="module", params=["batch", "none"])
def layerwise(request: pytest.FixtureRequest, data: TargetData) -> tuple[str, list[pretraining.ReadOut]]:
    return request.param, pretrained(source_spec("reconstruction", request.param), data)


def test_each_layer_lowers_its_reconstruction_error(layerwise: tuple[str, list[pretraining.ReadOut]]):
    rows = by_layer(layerwise[1])
    assert list(rows) == [1, 2, 3]
    for layer, mine in rows.items():
        # before it learns the decoder says the means, which leaves the whole variance
        assert mine[0]["reconstruction_train"] == pytest.approx(1, abs=1e-4), layer
        for part in ("train", "validation", "test"):
            assert mine[-1][f"reconstruction_{part}"] < 0.85 * mine[0][f"reconstruction_{part}"], (layer, part)


def test_layers_share_the_epochs_and_checkpoints_are_where_they_are_asked_for(
    layerwise: tuple[str, list[pretraining.ReadOut]],
):
    found, a_pass = layerwise[1], 12  # of 32 of the 360 images
    rows = by_layer(found)
    assert [(mine[0]["step"], mine[-1]["step"]) for mine in rows.values()] == [(0, 24), (24, 48), (48, 72)]
    kept = [read_out.row for read_out in found if read_out.weights is not None]
    assert [(row["epoch"], row["step"]) for row in kept] == [(0, 0), (0.5, 6), (2, 24), (4, 48), (6, 72)]
    assert {row["step"] for row in kept} | {a_pass * n for n in range(7)} == {found.row["step"] for found in found}
    assert all(math.isnan(row[name]) for row in kept for name in pretraining.OF_LABELS)


def test_layers_above_are_untouched_and_layers_below_stay_fixed(
    layerwise: tuple[str, list[pretraining.ReadOut]], data: TargetData
):
    _, found = layerwise
    kept = {read_out.row["epoch"]: read_out.weights for read_out in found if read_out.weights is not None}
    learner = pretraining.Learner(0, data, described(layerwise[0]))
    start = without_head(described(layerwise[0]), pretraining.initial_weights(learner, "digits"))
    assert equal(kept[0.0], start), "epoch 0 is the initialisation, without a head"
    done = {0.5: 0, 2.0: 1, 4.0: 2, 6.0: 3}  # layers that have ended
    for epoch, ended in done.items():
        for name, array in kept[epoch].items():
            layer = int(name[len("layer") :].split(".")[0]) if name.startswith("layer") else int(name[4])
            learning = ended + (epoch == 0.5)
            assert (array == start[name]).all() == (layer > learning), (epoch, name)
            if layer <= ended:
                assert (array == kept[6.0][name]).all(), f"{name} moved after its layer had ended"


def test_a_layer_takes_what_the_layers_below_give_in_evaluation_mode(data: TargetData):
    # the means of what layer 2 takes leave its variance: said of the stored layer 1, it is the error's unit
    spec = source_spec("reconstruction")
    found = pretrained(spec, data)
    end = next(read_out for read_out in found if read_out.row["epoch"] == 2.0 and read_out.weights is not None)
    network = build(described(), 10)
    own = pretraining.initial_weights(pretraining.Learner(0, data, described()), "digits")
    network.load(own | end.weights)  # type: ignore[operator]
    network.eval()
    taken = {
        part: in_batches(lambda batch: network.until(Place("pool1", 0), batch), data.images[part])
        for part in data.images
    }
    channel = taken["train"].mean((0, 2, 3), keepdim=True)
    variance = float(((taken["train"] - channel) ** 2).mean())
    before = by_layer(found)[2][0]
    for part in ("train", "validation", "test"):
        expected = float(((taken[part] - channel) ** 2).mean()) / variance
        assert before[f"reconstruction_{part}"] == pytest.approx(expected, rel=1e-4)
    if end.weights:  # its statistics are those of the training images
        convolved = torch.nn.functional.conv2d(
            data.images["train"], torch.from_numpy(end.weights["layer1.weight"]), padding=2
        )
        np.testing.assert_allclose(end.weights["norm1.running_mean"], convolved.mean((0, 2, 3)), atol=1e-4)


def test_the_same_bits_twice_and_checkpoints_on_the_way_change_none(data: TargetData):
    found, again = (pretrained(source_spec("reconstruction"), data) for _ in range(2))
    few = pretrained(source_spec("reconstruction", checkpoints=[0.0, 6.0]), data)
    assert [read_out.row for read_out in found] == [read_out.row for read_out in again]
    for other in (again, few):
        assert equal(found[-1].weights, other[-1].weights)  # type: ignore[arg-type]
    assert not equal(found[-1].weights, pretrained(source_spec("reconstruction"), data, 1)[-1].weights)  # type: ignore


def test_labels_play_no_part_in_reconstruction(data: TargetData):
    other = TargetData(data.images, {part: labels.flip(0) for part, labels in data.labels.items()}, data.classes)
    ends = [pretrained(source_spec("reconstruction"), each)[-1] for each in (data, other)]
    assert equal(ends[0].weights, ends[1].weights)  # type: ignore[arg-type]


def test_each_layer_ends_at_rate_zero(monkeypatch: pytest.MonkeyPatch, data: TargetData):
    rates: list[list[float]] = []
    real = autoencoding._schedule

    def watched(settings: Any, a_pass: int, steps: int) -> Any:
        rate = real(settings, a_pass, steps)
        rates.append([rate(step) for step in range(1, steps + 2)])
        return rate

    monkeypatch.setattr(autoencoding, "_schedule", watched)
    pretrained(source_spec("reconstruction"), data)
    assert len(rates) == 3
    for mine in rates:  # six steps of warm-up; a branch of a fifth of the 20 steps before it
        assert mine[:6] == pytest.approx([0.005 * step for step in range(1, 7)])
        assert mine[6:20] == pytest.approx([0.03] * 14)
        assert mine[20:] == pytest.approx([0.03, 0.0225, 0.015, 0.0075, 0])


def test_a_layerwise_source_can_start_from_another_and_be_started_from(data: TargetData):
    labelled = end_of(source_spec(checkpoints=[0.0, 1.0]), data)
    layerwise = pretrained(source_spec("reconstruction", source="layers"), data, parent=labelled)
    assert equal(layerwise[0].weights, without_head(described(), labelled))  # type: ignore[arg-type]
    child = pretrained(source_spec(source="child", checkpoints=[0.0, 1.0]), data, parent=layerwise[-1].weights)
    assert equal(without_head(described(), child[0].weights), layerwise[-1].weights)  # type: ignore[arg-type]
    assert "head.weight" in child[0].weights  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1e30}, "the source diverged at step 6; give its pretraining a lower learning_rate"),
        ({"checkpoints": [0.0, 0.1]}, "3 layers that learn one after another need 3 steps or more, not 1"),
    ],
)
def test_a_layerwise_source_that_cant_be_is_told(data: TargetData, change: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        pretrained(source_spec("reconstruction", "none", **change), data)


def test_a_layer_that_takes_a_constant_is_told(data: TargetData):
    blank = {part: torch.zeros_like(images) for part, images in data.images.items()}
    with pytest.raises(ValueError, match="layer 1 takes the same values everywhere"):
        pretrained(source_spec("reconstruction"), TargetData(blank, data.labels, 10))


@given(st.integers(1, 40), st.integers(0, 5000))
def test_layers_share_all_steps_as_evenly_as_can_be(depth: int, more: int):
    ends = [0, *schedules.layer_ends(depth + more, depth)]
    shares = {b - a for a, b in itertools.pairwise(ends)}
    assert ends[-1] == depth + more
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1


# --- layer-wise sources in config ----------------------------------------------------------


def with_layers(epoch: Any = "last", **settings: Any) -> dict[str, Any]:
    """The tiny study with a second source, learnt layer by layer, and a third that starts from it."""
    raw = tiny()
    raw["pretraining"]["layers"] = {"checkpoints": [0, 0.5, 1], "objective": "reconstruction", **settings}
    raw["sources"]["layers"] = {"task": "letters", "pretraining": "layers"}
    raw["sources"]["after"] = {"task": "letters", "pretraining": "brief", "start": "layers"}
    block = raw["studies"]["tiny"]["grid"][0]
    raw["studies"]["tiny"]["grid"] += [
        block | {"sources": ["layers"], "epochs": [epoch]},
        block | {"sources": ["after"]},
    ]
    return raw


@pytest.mark.parametrize("epoch", ["1+anneal", "0.5+anneal"])
def test_a_branch_of_a_layerwise_source_is_refused(epoch: str):
    with pytest.raises(config.ConfigError) as error:
        plan_of(with_layers(epoch))
    assert str(error.value) == (
        f"studies.tiny.grid.2.epochs: '{epoch}' is a branch, and source 'layers' has none: its layers learn one after "
        "another, each annealed in itself; allowed: 0, 0.5, 1, last"
    )


def test_the_end_of_a_layerwise_source_is_annealed_in_itself():
    assert plan_of(with_layers("last+anneal")).arms == plan_of(with_layers("last")).arms


def test_what_starts_from_a_layerwise_source_starts_from_its_raw_end():
    plan = plan_of(with_layers())
    assert parents(plan, "after") == [f"results/sources/tiny/layers/s{seed}/epoch-1.safetensors" for seed in (0, 1)]
    assert plan.annealed(plan.grid) == [("tiny", "after", "1+anneal"), ("tiny", "letters", "1+anneal")]


def test_fewer_steps_than_layers_are_refused_before_anything_runs():
    with pytest.raises(config.ConfigError) as error:
        plan_of(with_layers(checkpoints=[0, 0.1]))
    assert str(error.value) == (
        "pretraining.layers.checkpoints: 2 layers that learn one after another need 2 steps or more, not 1, "
        "with source 'layers' and architecture 'tiny'"
    )


def test_an_unknown_objective_is_named_with_what_is_allowed():
    with pytest.raises(
        config.ConfigError, match=r"pretraining\.brief\.objective.*'labels', 'random-labels', 'reconstruction' or"
    ):
        plan_of(put(tiny(), "pretraining.brief.objective", "jigsaw"))


def test_snakemake_finds_the_way_through_a_chain(tmp_path: Path):
    project = fresh(tmp_path / "project")
    project.write_config(with_layers())
    jobs = project.planned("results/sources/tiny/after/s1/epoch-1+anneal.safetensors")
    expected = {"prepare_dataset_of_seed": 2, "pretrain_source_brief_s0": 1, "pretrain_source_layers_s0": 1}
    assert {name: jobs[name] for name in expected} == expected
    assert jobs["anneal_source_s0"] == 1


# --- stages and tables ---------------------------------------------------------------------


def run_stages(
    folder: Path, dataset: Path, spec: dict[str, Any], seeds: tuple[int, ...], parents: tuple[str, ...] = ()
):
    """Run the real stages of a source on a block of seeds; its files lie in `s{seed}`."""
    epochs = spec["pretraining"]["checkpoints"]
    checkpoints = [f"epoch-{epoch:g}.safetensors" for epoch in epochs]
    outputs: list[Any] = [folder / f"s{seed}" / name for seed in seeds for name in (*checkpoints, "history.parquet")]
    pretrain_source.main(job({**spec, "seeds": seeds}, {"outputs": outputs}, dataset=[dataset], parents=[*parents]))
    if spec["pretraining"]["objective"] != "reconstruction":
        ends: list[Any] = [folder / f"s{seed}" / checkpoints[-1] for seed in seeds]
        outputs = [folder / f"s{seed}/annealed.{kind}" for seed in seeds for kind in ("safetensors", "parquet")]
        told = {**spec, "epoch": epochs[-1], "seeds": seeds}
        anneal_source.main(job(told, {"outputs": outputs}, dataset=[dataset], checkpoints=ends))


@pytest.fixture(scope="module")
def dataset(tensors: WEIGHTS, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "digits.safetensors"
    write_tensors(path, {"images": tensors["images"][:300], "labels": tensors["labels"][:300]}, NOWHERE)
    return path


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of each objective, the labelled one starting from the layer-wise one."""
    folder = tmp_path_factory.mktemp("sources")
    checkpoints = [0.0, 1.0, 3.0]
    for objective in ("reconstruction", "random-labels", "labels"):
        parents = [str(folder / f"reconstruction/s{seed}/epoch-3.safetensors") for seed in (0, 1)]
        spec = source_spec(objective, source=objective, checkpoints=checkpoints)
        run_stages(folder / objective, dataset, spec, (0, 1), tuple(parents) if objective == "labels" else ())
    return folder


@pytest.fixture(scope="module")
def sources(trained: Path) -> pd.DataFrame:
    """The table of these sources, as it is collected and read."""
    frames = []
    for path in sorted(trained.rglob("*.parquet")):
        source, seed = path.parts[-3], int(path.parts[-2].removeprefix("s"))
        frame = read_columns(path)[0].to_pandas()
        own = {"architecture": "tiny", "source": source, "objective": source}
        own |= {"seed": seed, "annealed": path.stem == "annealed"}
        frames.append(frame.assign(**own))
    return check_table("sources", pd.concat(frames, ignore_index=True)).astype({"source": "category"})


def test_a_seed_of_a_block_is_the_same_alone_and_takes_its_own_parent(trained: Path, dataset: Path, tmp_path: Path):
    parent = str(trained / "reconstruction/s1/epoch-3.safetensors")
    for objective in ("reconstruction", "random-labels", "labels"):
        spec = source_spec(objective, source=objective, checkpoints=[0.0, 1.0, 3.0])
        run_stages(tmp_path / objective, dataset, spec, (1,), (parent,) if objective == "labels" else ())
    names = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(names) == 16
    for name in names:
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name
    found = read_tensors(trained / "labels/s1/epoch-0.safetensors")
    assert equal(without_head(described(), found), read_tensors(parent))


def test_files_of_a_layerwise_source_have_no_head(trained: Path):
    for path in (trained / "reconstruction").rglob("*.safetensors"):
        assert not [name for name in read_tensors(path) if name.startswith("head.")]


def test_a_diverging_layerwise_source_ends_its_job_with_its_seed(dataset: Path, tmp_path: Path):
    spec = source_spec("reconstruction", "none", learning_rate=1e30)
    with pytest.raises(StageError, match=r"^seed 3: the source diverged at step \d+; give its pretraining a lower"):
        run_stages(tmp_path, dataset, spec, (3,))


def test_the_table_has_layers_where_layers_learn_and_accuracies_where_labels_do(sources: pd.DataFrame):
    layerwise = sources["source"] == "reconstruction"
    assert (sources["layer"].notna() == layerwise).all()
    assert (sources["reconstruction_train"].notna() == layerwise).all()
    assert (sources["top1_validation"].isna() == layerwise).all()
    between = ~sources["epoch"].isin([0, 1, 3])  # no checkpoint
    assert (sources["top1_test"].isna() == (layerwise | between)).all()
    at_zero = (sources["epoch"] == 0) & ~sources["annealed"]
    assert (sources["top1_train"].isna() == (layerwise | at_zero)).all()
    assert sources.loc[sources["annealed"], "source"].unique().tolist() == ["labels", "random-labels"]


def test_who_reads_accuracies_leaves_layerwise_sources_out(sources: pd.DataFrame):
    runs = pd.DataFrame()
    lookup = Lookup(Tables(runs, runs, runs, sources))
    own = ("intact", "all", "digits.2", "finetune", "short")
    assert {0, 1} == set(lookup.source_accuracy(Arm("tiny", "labels", "3+anneal", *own)))
    for epoch in ("0", "1", "3"):
        found = lookup.source_accuracy(Arm("tiny", "reconstruction", epoch, *own))
        assert set(found) == {0, 1}
        assert all(math.isnan(value) for value in found.values())
    view = View("order", "Order", [], [], {"tiny": 3}, "short", "scratch", seed=0)
    arms = pd.DataFrame({"study": "order", "architecture": "tiny", "source": ["labels", "reconstruction", "none"]})
    figure = source_history.draw({"sources": sources, "arms": arms}, view, [])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["labels, raw", "labels, annealed from there"]
    lines = source_lines(sources, arms, view)
    assert "test top-1" in lines[0]
    assert "nan" not in " ".join(lines)
    last = sources[(sources["source"] == "reconstruction") & (sources["step"] == sources["step"].max())]
    assert "with layers that reconstruct what they take but for" in lines[1]
    assert f"{100 * last['reconstruction_test'].mean():.1f}" in lines[1] or len(last) == 2
