"""Training: no image is lost, schedules go where they should, the same seed gives the same bits whatever else runs."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NOWHERE, job
from hypothesis import given
from hypothesis import strategies as st
from nets import plain

from whypretrain.files.batches import names_in, read_run
from whypretrain.files.origins import read_origin
from whypretrain.files.storage import read_columns, write_tensors
from whypretrain.grid.coordinates import write_run
from whypretrain.jobs.runs import KINDS, OF_STEPS
from whypretrain.networks import network as network_module
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.building import build
from whypretrain.networks.initialisation import initialise, initialise_head
from whypretrain.networks.network import Network
from whypretrain.randomness import stream
from whypretrain.stages import train_run
from whypretrain.training import loop as training
from whypretrain.training import moding, pretraining, schedules, supervised
from whypretrain.training.data import TargetData
from whypretrain.training.modes import finetune
from whypretrain.training.runs import Outcome, Request

torch.set_num_threads(1)

CPU = torch.device("cpu")
CLASSES = 3


def described(norm: str = "batch") -> Any:
    return plain(widths=(4, 5), kernels=(3, 3), pool_after=(1,), norm=norm)


def easy_data(n: int = 30, seed: int = 0) -> TargetData:
    """Images whose class is where they are bright."""
    generator = np.random.default_rng(seed)
    images, labels = {}, {}
    for part in ("train", "validation", "test"):
        truth = np.arange(n) % CLASSES
        pixels = generator.normal(0, 0.3, (n, 1, 9, 9))
        for image, label in zip(pixels, truth, strict=True):
            image[0, :, 3 * label : 3 * label + 3] += 1.5 * (1 + label)
        images[part] = torch.from_numpy(pixels.astype(np.float32))
        labels[part] = torch.from_numpy(truth)
    return TargetData(images, labels, CLASSES)


def request(norm: str = "batch", rate: float = 0.05, seed: int = 0, **recipe: Any) -> Request:
    start = initialise(described(norm), stream("scratch-init", seed, "tiny"))
    values = {
        "epochs": 0,
        "min_steps": 40,
        "batch_size": 16,
        "weight_decay": 5e-4,
        "warmup_share": 0.1,
        "epoch_steps": 10,
        "schedule": "cosine",
        "decay_share": 0.0,
        "regulariser": None,
    }
    return Request(start, described(norm), easy_data(), "easy", values | recipe, rate, seed, CPU)


def same(a: Outcome, b: Outcome) -> bool:
    weights = all((a.final[name] == b.final[name]).all() for name in a.final)
    return (
        weights
        and repr(a.scores) == repr(b.scores)
        and repr(a.history) == repr(b.history)
        and repr(a.kernels) == repr(b.kernels)
    )


# --- batches and schedules -----------------------------------------------------------------


@given(st.integers(2, 300), st.integers(2, 80), st.integers(0, 5))
def test_every_pass_is_a_permutation_of_all_images_but_for_a_last_batch_of_one(images: int, size: int, seed: int):
    a_pass = schedules.steps_per_pass(images, size)
    drawn = training.batches(images, size, np.random.default_rng(seed))
    for _ in range(2):
        found = np.concatenate([next(drawn) for _ in range(a_pass)])
        assert len(set(found.tolist())) == len(found)
        lost = images - len(found)
        assert lost == (1 if images > size and images % size == 1 else 0)


@given(st.integers(2, 300), st.integers(2, 80))
def test_no_batch_is_larger_than_asked_or_smaller_than_two(images: int, size: int):
    drawn = training.batches(images, size, np.random.default_rng(0))
    sizes = [len(batch) for batch in itertools.islice(drawn, 3 * schedules.steps_per_pass(images, size))]
    assert max(sizes) == min(size, images)
    assert min(sizes) >= 2


def test_passes_have_different_orders():
    drawn = training.batches(64, 64, np.random.default_rng(0))
    assert (next(drawn) != next(drawn)).any()


def test_the_targets_schedule_rises_and_falls_to_zero():
    rate = schedules.warmup_then_cosine(0.4, 10, 110)
    assert rate(1) == pytest.approx(0.04)
    assert rate(10) == pytest.approx(0.4)
    assert rate(60) == pytest.approx(0.2)  # halfway down the cosine
    assert rate(110) == pytest.approx(0, abs=1e-12)
    assert all(rate(n) > rate(n + 1) for n in range(10, 110))


def test_the_targets_schedule_without_warmup_starts_at_its_peak():
    rate = schedules.warmup_then_cosine(0.4, 0, 100)
    assert rate(1) == pytest.approx(0.4, rel=1e-3)


def test_the_sources_schedule_stays_up():
    rate = schedules.constant_after_warmup(0.1, 4)
    assert [rate(n) for n in (1, 2, 4, 5, 1000)] == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1])
    assert schedules.constant_after_warmup(0.1, 0)(1) == 0.1


def test_the_constant_schedule_rises_stays_and_falls_in_a_line():
    rate = schedules.warmup_constant_linear(0.4, warmup=4, decay=5, steps=20)
    assert [rate(n) for n in (1, 2, 4, 5, 15)] == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])
    branch = schedules.linear_to_zero(0.4, 5)
    assert [rate(n) for n in range(16, 21)] == [branch(n) for n in range(1, 6)]
    assert [rate(n) for n in range(16, 21)] == pytest.approx([0.4, 0.32, 0.24, 0.16, 0.08])


def test_a_constant_schedule_need_not_rise_or_fall_and_falls_from_what_it_reached():
    flat = schedules.warmup_constant_linear(0.4, 0, 0, 10)
    assert {flat(n) for n in range(1, 11)} == {0.4}
    falling = schedules.warmup_constant_linear(0.4, 0, 10, 10)
    assert [falling(n) for n in (1, 6, 10)] == pytest.approx([0.4, 0.2, 0.04])
    early = schedules.warmup_constant_linear(0.4, 8, 6, 10)  # falls before it is up
    assert [early(n) for n in (4, 5, 8, 10)] == pytest.approx([0.2, 0.2, 0.1, 0.2 / 6])


def test_a_recipe_says_its_schedule():
    recipe = {"schedule": "cosine", "warmup_share": 0.1, "decay_share": 0.5}
    rates = {name: schedules.rate_of(recipe | {"schedule": name}, 0.4, 100) for name in ("cosine", "constant")}
    cosine, constant = schedules.warmup_then_cosine(0.4, 10, 100), schedules.warmup_constant_linear(0.4, 10, 50, 100)
    assert [rates["cosine"](n) for n in range(1, 101)] == [cosine(n) for n in range(1, 101)]
    assert [rates["constant"](n) for n in range(1, 101)] == [constant(n) for n in range(1, 101)]
    with pytest.raises(ValueError, match="unknown schedule 'step'; allowed: cosine, constant"):
        schedules.rate_of(recipe | {"schedule": "step"}, 0.4, 100)


def test_the_branch_falls_in_a_line():
    rate = schedules.linear_to_zero(0.1, 10)
    assert [rate(n) for n in (1, 6, 10, 11)] == pytest.approx([0.1, 0.05, 0.01, 0])


@pytest.mark.parametrize(
    ("images", "recipe", "expected"),
    [
        (50, {"epochs": 0, "min_steps": 200, "batch_size": 64, "epoch_steps": 10}, (200, 10)),
        (1000, {"epochs": 20, "min_steps": 200, "batch_size": 64, "epoch_steps": 10}, (320, 16)),
        (100, {"epochs": 0, "min_steps": 7, "batch_size": 50, "epoch_steps": 3}, (7, 4)),
    ],
)
def test_the_length_of_a_run(images: int, recipe: dict[str, Any], expected: tuple[int, int]):
    assert supervised.run_steps(recipe, images) == expected


# --- one update ----------------------------------------------------------------------------


def train(network: Network, data: TargetData, steps: int, rate: float = 0.1, decay: float = 0.0) -> list[Any]:
    return list(
        training.train(
            network,
            [data.images["train"]],
            [data.labels["train"]],
            rates=[lambda step: rate],
            steps=steps,
            batch_size=16,
            weight_decay=decay,
            orders=[np.random.default_rng(0)],
        )
    )


def fresh(norm: str = "batch", seed: int = 0) -> Network:
    own = described(norm)
    network = build(own, CLASSES)
    generator = np.random.default_rng(seed)
    network.load(initialise(own, generator) | initialise_head(own, CLASSES, generator))
    return network


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_weight_decay_is_of_weights_and_not_of_biases_and_norms(norm: str):
    # in one step, momentum still empty, decay changes a weight by (1 + momentum) * rate * decay * weight
    rate, decay = 0.1, 0.5
    start = fresh(norm).weights()
    networks = [fresh(norm), fresh(norm)]
    train(networks[0], easy_data(), 1, rate, 0.0)
    train(networks[1], easy_data(), 1, rate, decay)
    without, decayed = (each.weights() for each in networks)
    for name, array in start.items():
        if "running" in name:
            continue
        expected = (1 + training.MOMENTUM) * rate * decay * array if array.ndim > 1 else np.zeros_like(array)
        np.testing.assert_allclose(without[name] - decayed[name], expected, atol=1e-6)
        assert (without[name] != array).any(), f"{name} learns"
        assert array.ndim == 1 or np.abs(expected).max() > 0


def test_networks_without_norm_have_their_gradients_clipped():
    for norm, clipped in (("batch", False), ("none", True)):
        network, data = fresh(norm), easy_data()
        data.images["train"].mul_(1e4)
        before = network.weights()
        train(network, data, 1, rate=1.0)
        after = network.weights()
        moved = math.sqrt(sum(((after[n] - before[n]) ** 2).sum() for n in after if "running" not in n))
        # one Nesterov step of a gradient of norm 1
        assert (abs(moved - (1 + training.MOMENTUM)) < 1e-3) == clipped, (norm, moved)


def test_training_learns_and_evaluating_changes_nothing():
    network, data = fresh(), easy_data()
    before = training.evaluate(network, data.images["test"], data.labels["test"])
    train(network, data, 60)
    weights = network.weights()
    after = training.evaluate(network, data.images["test"], data.labels["test"])
    assert after.top1 > max(0.9, before.top1)
    assert network.training
    for name, array in network.weights().items():
        np.testing.assert_array_equal(array, weights[name])


def _evaluated(monkeypatch: pytest.MonkeyPatch, network: Network, data: TargetData, batch: int) -> training.Score:
    monkeypatch.setattr(network_module, "BATCH", batch)
    return training.evaluate(network, data.images["test"], data.labels["test"])


def test_scores_do_not_depend_on_the_batches_they_are_taken_in(monkeypatch: pytest.MonkeyPatch):
    network, data = fresh(), easy_data()
    whole, parts = (_evaluated(monkeypatch, network, data, n) for n in (256, 7))
    assert whole.loss == pytest.approx(parts.loss, rel=1e-5)
    np.testing.assert_array_equal(whole.predictions, parts.predictions)


# --- runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_same_seed_gives_the_same_bits_and_another_gives_others(norm: str):
    first, again, other = (finetune.run(request(norm, seed=seed))[0] for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def test_a_run_learns_what_is_easy_and_reads_out_every_epoch():
    outcome = finetune.run(request())[0]
    assert outcome.scores["top1_test"] > 0.9
    assert not outcome.scores["diverged"]
    assert not outcome.scores["collapsed"]
    assert outcome.scores["steps"] == 40
    # two steps a pass of 30 images, five passes an epoch
    assert outcome.history["step"] == [0, 10, 20, 30, 40]
    assert outcome.kernels["target_epoch"] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert outcome.kernels["cosine_mean"][:2] == pytest.approx([1, 1])
    assert outcome.kernels["cosine_mean"][-1] < 1


def test_a_run_begins_with_the_kernels_of_its_start_and_a_head_of_its_own():
    asked = request(min_steps=1, warmup_share=0, epoch_steps=1, rate=1e-12)
    outcome = finetune.run(asked)[0]
    for name in ("layer1.weight", "layer2.weight"):
        np.testing.assert_allclose(outcome.final[name], asked.start[name], atol=1e-7)
    with_head = Request(
        **{**vars(asked), "start": {**asked.start, **initialise_head(described(), 9, stream("null", 0))}}
    )
    assert same(finetune.run(with_head)[0], outcome), "the source's head plays no part"


def test_all_arms_and_rates_of_a_seed_have_the_same_head():
    # so that differences are paired; a rate near zero leaves the head as it was drawn
    asked = request(min_steps=1)
    other = Request(**{**vars(asked), "start": request(seed=1).start})
    runs = [(asked, 1e-12), (asked, 2e-12), (other, 1e-12), (request(min_steps=1, seed=1), 1e-12)]
    heads = [
        finetune.run(Request(**{**vars(each), "learning_rate": rate}))[0].final["head.weight"] for each, rate in runs
    ]
    np.testing.assert_allclose(heads[1], heads[0], atol=1e-7)
    np.testing.assert_allclose(heads[2], heads[0], atol=1e-7)
    assert np.abs(heads[3] - heads[0]).max() > 0.01


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_diverging_run_is_a_row_at_chance(norm: str):
    asked = request(norm, rate=1e30)
    asked.data.labels["test"][:] = 0  # what a network of NaN predicts is right all the time
    with np.errstate(all="ignore"):
        outcome = finetune.run(asked)[0]
    assert outcome.scores["diverged"]
    assert not outcome.scores["collapsed"]
    for part in ("train", "validation", "test"):
        assert outcome.scores[f"top1_{part}"] == pytest.approx(1 / CLASSES)
        assert outcome.scores[f"loss_{part}"] == pytest.approx(math.log(CLASSES))
    assert outcome.scores["steps"] <= 40
    assert len(outcome.predictions) == 30


def test_a_run_that_learns_nothing_is_collapsed():
    asked = request(rate=1e-12)
    asked.data.labels["train"][:] = torch.arange(30) * 7 % CLASSES
    constant = {part: torch.zeros_like(images) for part, images in asked.data.images.items()}
    outcome = finetune.run(Request(**{**vars(asked), "data": TargetData(constant, asked.data.labels, CLASSES)}))[0]
    assert outcome.scores["collapsed"]
    assert outcome.scores["top1_train"] == pytest.approx(1 / CLASSES)


def test_a_run_that_learns_nothing_of_uneven_classes_is_collapsed_too():
    asked = request(rate=0.05)
    labels = {part: torch.where(torch.arange(30) < 27, 0, 1) for part in asked.data.images}
    constant = {part: torch.zeros_like(images) for part, images in asked.data.images.items()}
    scores = finetune.run(Request(**{**vars(asked), "data": TargetData(constant, labels, 2)}))[0].scores
    assert scores["top1_test"] == pytest.approx(0.9)
    assert scores["balanced_test"] == pytest.approx(0.5)
    assert scores["collapsed"]


def test_test_images_and_labels_play_no_part_in_training():
    asked = request()
    images = asked.data.images | {"test": torch.randn_like(asked.data.images["test"])}
    labels = asked.data.labels | {"test": asked.data.labels["test"].flip(0)}
    other = finetune.run(Request(**{**vars(asked), "data": TargetData(images, labels, CLASSES)}))[0]
    plain = finetune.run(asked)[0]
    for name, array in plain.final.items():
        np.testing.assert_array_equal(other.final[name], array)
    assert other.history == plain.history


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "digits.safetensors"
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 40)
    tensors = {"images": generator.integers(0, 256, (400, 1, 8, 8)).astype(np.uint8), "labels": labels}
    write_tensors(path, tensors, NOWHERE)
    return path


def run_block(
    folder: Path,
    dataset: Path,
    rates: tuple[float | None, ...],
    seeds: tuple[int, ...],
    mode: str = "finetune",
    replicas: int = 1,
    precision: str = "float32",
) -> None:
    """Run the real stage on a block."""
    starts = []
    for seed in seeds:
        start = folder / f"start-{seed}.safetensors"
        write_tensors(start, initialise(described(), stream("scratch-init", seed, "tiny")), NOWHERE)
        starts.append(str(start))
    target: dict[str, Any] = {
        "name": "digits.2",
        "dataset": "digits",
        "images": "all",
        "shots": 2,
        "validation_shots": 2,
    }
    target |= {
        "classes": list(range(10)),
        "class_half": None,
        "class_count": 10,
        "shares": {"validation": 0.2, "test": 0.2},
    }
    spec = {
        "architecture": {"name": "tiny", "widths": [4, 5], "kernels": [3, 3], "pool_after": [1], "norm": "batch"},
        "target": target,
        "normalisation": {"mean": 0.5, "standard_deviation": 0.3},
        "mode": mode,
        "recipe": dict(request(epochs=1, min_steps=10, epoch_steps=5).recipe or {}) if moding.by_steps(mode) else None,
        "learning_rates": rates,
        "seeds": seeds,
        "threads": 1,
        "device": "cpu",
        "replicas": replicas,
        "precision": precision,
    }
    kinds = [kind for kind in KINDS if moding.by_steps(mode) or kind not in OF_STEPS]
    outputs = {kind: [path] for kind, path in names_in(folder, kinds).items()}
    train_run.main(job(spec, outputs, dataset=[dataset], starts=starts))


def of_run(folder: Path, kind: str, rate: float | None, seed: int) -> Any:
    """Return what a batch holds of one run: the rows of a table, or the final weights as lists."""
    if kind == "final":
        return {
            name: array.tolist()
            for name, array in read_run(folder / "final.safetensors", write_run(rate, seed)).items()
        }
    rows = read_columns(folder / f"{kind}.parquet")[0].to_pylist()
    return [repr(row) for row in rows if (row["learning_rate"], row["seed"]) == (rate, seed)]


def test_a_run_does_not_depend_on_what_else_its_job_trains(tmp_path: Path, dataset: Path):
    run_block(tmp_path / "block", dataset, (0.01, 0.1), (0, 1))
    run_block(tmp_path / "other", dataset, (0.1, 0.5), (1, 2))
    run_block(tmp_path / "alone", dataset, (0.1,), (1,))
    for folder in ("block", "other"):
        for kind in ("history", "scores", "kernels", "predictions", "final"):
            assert of_run(tmp_path / folder, kind, 0.1, 1) == of_run(tmp_path / "alone", kind, 0.1, 1), kind


@pytest.mark.parametrize(("mode", "rate"), [("freeze-1", 0.1), ("probe", None), ("probe+source-norm", None)])
def test_the_stage_trains_every_mode_and_writes_the_files_it_has(
    tmp_path: Path, dataset: Path, mode: str, rate: float | None
):
    run_block(tmp_path / "block", dataset, (rate,), (0, 1), mode)
    run_block(tmp_path / "alone", dataset, (rate,), (1,), mode)
    kinds = {"scores", "predictions", "final", "provenance"} | ({"history", "kernels"} if rate else set())
    files = (file.stem for file in (tmp_path / "block").iterdir())
    assert {name for name in files if not name.startswith("start-")} == kinds
    for kind in kinds - {"provenance"}:
        assert of_run(tmp_path / "block", kind, rate, 1) == of_run(tmp_path / "alone", kind, rate, 1), kind
    table, origin = read_columns(tmp_path / "alone/scores.parquet")
    (row,) = table.to_pylist()
    assert json.loads(origin.spec)["learning_rates"] == [rate]
    assert math.isnan(row["strength"]) == (rate is not None)
    assert row["steps"] == (10 if rate else 0)


def test_a_batch_says_what_made_it_and_how_each_run_ran(tmp_path: Path, dataset: Path):
    run_block(tmp_path, dataset, (0.01, 0.1), (0, 1))
    for kind in KINDS:
        origin = read_origin(next(tmp_path.glob(f"{kind}.*")))
        told = json.loads(origin.spec)
        assert (told["learning_rates"], told["seeds"], origin.code) == ([0.01, 0.1], [0, 1], "code")
    runs = json.loads((tmp_path / "provenance.json").read_text())["runs"]
    assert [(run["learning_rate"], run["seed"]) for run in runs] == [(0.01, 0), (0.1, 0), (0.01, 1), (0.1, 1)]
    assert all(run["seconds"] > 0 for run in runs)


# --- sources -------------------------------------------------------------------------------


def source_spec(**changes: Any) -> dict[str, Any]:
    settings = {
        "objective": "labels",
        "checkpoints": [0.0, 0.5, 1.0, 4.0],
        "learning_rate": 0.1,
        "batch_size": 8,
        "weight_decay": 5e-4,
        "warmup_epochs": 0.5,
        "anneal_share": 0.25,
    }
    architecture = {"name": "tiny", "widths": [4, 5], "kernels": [3, 3], "pool_after": [1], "norm": "batch"}
    spec: dict[str, Any] = {"architecture": architecture, "source": "easy", "device": "cpu"}
    return spec | {"pretraining": settings} | changes


def pretrained(spec: dict[str, Any]) -> list[pretraining.ReadOut]:
    return [one for (one,) in pretraining.pretrain(spec, [pretraining.Learner(0, easy_data(), of_spec(spec, []))])]


def annealed(spec: dict[str, Any], raw: pretraining.ReadOut) -> pretraining.ReadOut:
    (end,) = pretraining.anneal(spec, [pretraining.Learner(0, easy_data(), of_spec(spec, []), raw.weights)])
    return end


def test_a_source_learns_from_its_own_initialisation_and_keeps_its_head():
    found = pretrained(source_spec())
    # a row for every epoch, and weights at the checkpoints
    assert [read_out.row["epoch"] for read_out in found] == [0, 0.5, 1.0, 2.0, 3.0, 4.0]
    assert [read_out.row["step"] for read_out in found if read_out.weights is not None] == [0, 2, 4, 16]
    assert found[-1].row["top1_test"] > found[0].row["top1_test"]
    assert found[-1].weights["head.weight"].shape == (CLASSES, 5)
    scratch = initialise(described(), stream("scratch-init", 0, "tiny"))
    assert (scratch["layer1.weight"] != found[0].weights["layer1.weight"]).all()


def test_a_source_gives_the_same_bits_again_and_checkpoints_on_the_way_change_none():
    few = source_spec()
    few["pretraining"] = few["pretraining"] | {"checkpoints": [0.0, 4.0]}
    ends = [pretrained(spec)[-1] for spec in (source_spec(), source_spec(), few)]
    for name, array in ends[0].weights.items():
        np.testing.assert_array_equal(ends[1].weights[name], array)
        np.testing.assert_array_equal(ends[2].weights[name], array)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_sources_that_train_at_once_learn_what_each_learns_alone(norm: str):
    spec = source_spec(epoch=4.0)
    spec["architecture"] = spec["architecture"] | {"norm": norm}
    spec["pretraining"] = spec["pretraining"] | {"learning_rate": 0.02}  # larger ones grow what rounding differs by
    learners = [pretraining.Learner(seed, easy_data(seed=seed), of_spec(spec, [])) for seed in (0, 1, 2)]
    at_once = list(pretraining.pretrain(spec, learners))
    for copy, learner in enumerate(learners):
        alone = [one for (one,) in pretraining.pretrain(spec, [learner])]
        for found, own in zip((each[copy] for each in at_once), alone, strict=True):
            assert found.row == pytest.approx(own.row, rel=1e-2, nan_ok=True)
            for name, array in (own.weights or {}).items():
                np.testing.assert_allclose(found.weights[name], array, rtol=1e-2, atol=1e-4)
    raw = [replace(one, start=own.weights) for one, own in zip(learners, at_once[-1], strict=True)]
    for end, one in zip(pretraining.anneal(spec, raw), raw, strict=True):
        (own,) = pretraining.anneal(spec, [one])
        assert end.row == pytest.approx(own.row, rel=1e-2, nan_ok=True)


def test_checkpoints_that_fall_on_one_step_are_refused():
    spec = source_spec()
    spec["pretraining"] = spec["pretraining"] | {"checkpoints": [0.0, 0.25, 0.3]}
    with pytest.raises(ValueError, match="fall on one step: a pass has 4"):
        pretrained(spec)


def test_a_source_that_diverges_is_told():
    spec = source_spec()
    spec["architecture"] = spec["architecture"] | {"norm": "none"}
    spec["pretraining"] = spec["pretraining"] | {"learning_rate": 1e30}
    with pytest.raises(ValueError, match="diverged at step"):
        pretrained(spec)


def test_a_branch_from_inside_the_warm_up_starts_at_the_rate_reached(monkeypatch: pytest.MonkeyPatch):
    rates: list[float] = []
    real = training.train

    def watched(*args: Any, **options: Any) -> Any:
        for step in real(*args, **options):
            rates.append(step.learning_rates[0])
            yield step

    spec = source_spec(epoch=1.0)
    spec["pretraining"] = spec["pretraining"] | {"warmup_epochs": 2.0}
    raw = next(found for found in pretrained(spec) if found.row["epoch"] == 1.0)
    monkeypatch.setattr(training, "train", watched)
    annealed(spec, raw)
    assert rates == pytest.approx([spec["pretraining"]["learning_rate"] / 2])


def test_the_annealed_branch_goes_on_from_its_checkpoint_with_a_rate_that_falls(monkeypatch: pytest.MonkeyPatch):
    raw = pretrained(source_spec())[-1]
    steps: list[training.Step] = []
    real = training.train

    def watched(*args: Any, **options: Any) -> Any:
        for step in real(*args, **options):
            steps.append(step)
            yield step

    monkeypatch.setattr(training, "train", watched)
    end = annealed(source_spec(epoch=4.0), raw)
    # a quarter of 4 epochs of 4 steps
    assert [step.learning_rates[0] for step in steps] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert (end.weights["layer1.weight"] != raw.weights["layer1.weight"]).any()
    assert np.abs(end.weights["layer1.weight"] - raw.weights["layer1.weight"]).max() < 1
    assert end.row["step"] == 4


def test_a_branch_is_the_same_whatever_checkpoints_come_after_it():
    # so the source that others transfer from, the branch of the last epoch, is also that of a longer list
    longer, shorter = source_spec(epoch=1.0), source_spec(epoch=1.0)
    shorter["pretraining"] = shorter["pretraining"] | {"checkpoints": [0.0, 1.0]}
    ends = []
    for spec in (longer, shorter):
        raw = next(found for found in pretrained(spec) if found.row["epoch"] == 1.0)
        ends.append(annealed(spec, raw))
    assert ends[0].row == ends[1].row
    for name, array in ends[0].weights.items():
        np.testing.assert_array_equal(ends[1].weights[name], array)
