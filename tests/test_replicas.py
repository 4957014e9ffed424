"""Replicas: runs that train as copies of one network do what each does alone, whatever becomes of the others."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import test_snapshots
import test_training
import torch
from conftest import plan_of, put, tiny, trains
from test_training import easy_data, request, run_block, same

from whypretrain import registry
from whypretrain.config.models import ConfigError, load
from whypretrain.data.tasks import FEW
from whypretrain.files.storage import read_columns
from whypretrain.stages.train_run import sets_of_runs
from whypretrain.training.data import TargetData
from whypretrain.training.modes import finetune, freeze, lpft
from whypretrain.training.moding import parse
from whypretrain.training.runs import Outcome, Request

torch.set_num_threads(1)

digits = test_training.dataset
handlers = test_snapshots.handlers
ONE_STEP: dict[str, Any] = {"min_steps": 1, "warmup_share": 0.0, "schedule": "constant"}  # a cosine ends at rate 0
MODES = {"finetune": finetune, "freeze-1": freeze, "freeze-2": freeze, "lpft": lpft}


def runs_of(rates: tuple[float, ...], seeds: tuple[int, ...], mode: str = "finetune", **options: Any) -> list[Request]:
    """One data set for each seed, and all learning rates of a seed after one another."""
    data = {seed: easy_data(seed=seed) for seed in seeds}
    for each in data.values():  # lpft's probe is selected by the few
        for found in (each.images, each.labels):
            found[FEW] = found["validation"][:6]
    shared: dict[int, dict[str, Any]] = {seed: {} for seed in seeds}
    return [
        replace(request(rate=rate, seed=seed, **options), data=data[seed], shared=shared[seed], mode=parse(mode))
        for seed in seeds
        for rate in rates
    ]


def largest_difference(a: Outcome, b: Outcome) -> float:
    assert a.final.keys() == b.final.keys()
    return max(float(np.abs(a.final[name] - b.final[name]).max()) for name in a.final)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("rates", "seeds"), [((0.02, 0.1), (0, 1)), ((0.02, 0.1, 0.5), (0,)), ((0.1,), (0, 1, 2))])
def test_a_step_of_copies_is_the_step_of_each_to_rounding(
    norm: str, mode: str, rates: tuple[float, ...], seeds: tuple[int, ...]
):
    asked = runs_of(rates, seeds, mode, norm=norm, **ONE_STEP)
    together, alone = MODES[mode].run(*asked), [MODES[mode].run(each)[0] for each in asked]
    for one, other in zip(together, alone, strict=True):
        assert largest_difference(one, other) < 1e-6
        for part in ("train", "validation", "test"):
            assert one.scores[f"loss_{part}"] == pytest.approx(other.scores[f"loss_{part}"], rel=1e-4)
        assert one.history["loss_train"] == pytest.approx(other.history["loss_train"], rel=1e-4)
        assert one.kernels["cosine_null"] == pytest.approx(other.kernels["cosine_null"], abs=1e-5)
    finals = [outcome.final["head.weight"] for outcome in together]
    assert all((a != b).any() for n, a in enumerate(finals) for b in finals[:n]), "each has a rate or seed of its own"


@pytest.mark.parametrize("name", registry.names("regularisers"))
def test_a_regulariser_is_of_each_copy_and_what_it_draws_of_each_seed(name: str):
    asked = runs_of((0.05, 0.2), (0, 1), **ONE_STEP, regulariser={"name": name, "strength": 0.3})
    plain = finetune.run(*runs_of((0.05, 0.2), (0, 1), **ONE_STEP))
    for one, each, without in zip(finetune.run(*asked), asked, plain, strict=True):
        assert largest_difference(one, finetune.run(each)[0]) < 1e-6
        # the first step leaves the start, where a pull towards it is 0
        assert name == "l2-sp" or largest_difference(one, without) > 1e-3


def hard_data(seed: int) -> TargetData:
    """Classes that overlap, so that accuracies differ from run to run."""
    found = easy_data(60, seed)
    noise = torch.Generator().manual_seed(seed)
    images = {part: own + 6 * torch.randn(own.shape, generator=noise) for part, own in found.images.items()}
    return replace(found, images=images)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_copies_reach_the_accuracy_of_runs_one_by_one(precision: str):
    """The mean over seeds of the paired difference is within three standard errors of 0, and these are small."""
    asked = [
        replace(each, data=hard_data(each.seed), precision=precision)
        for each in runs_of((0.1,), tuple(range(24)), min_steps=200, epoch_steps=100)
    ]
    together = [outcome for at in range(0, 24, 8) for outcome in finetune.run(*asked[at : at + 8])]
    alone = [finetune.run(replace(each, precision="float32"))[0] for each in asked]
    a, b = (np.array([outcome.scores["top1_test"] for outcome in found]) for found in (together, alone))
    assert 0.45 < b.mean() < 0.95
    error = max(float((a - b).std(ddof=1)) / math.sqrt(len(a)), 0.004)
    assert error < 0.02
    assert abs((a - b).mean()) < 3 * error


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_copy_does_not_depend_on_what_becomes_of_the_others(norm: str):
    """One that diverges ends as it does alone; those beside it keep every bit."""
    calm = finetune.run(*runs_of((0.05, 0.1, 0.2), (0, 1), norm=norm))
    asked = runs_of((0.05, 1e30, 0.2), (0, 1), norm=norm)
    found = finetune.run(*asked)
    for copy, (one, other) in enumerate(zip(found, calm, strict=True)):
        if copy % 3 != 1:
            assert same(one, other)
            continue
        alone = finetune.run(asked[copy])[0]
        assert one.scores["diverged"]
        assert one.scores == alone.scores
        assert one.history["step"] == alone.history["step"]
        assert len(one.kernels["layer"]) == len(alone.kernels["layer"])


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_copies_that_all_diverge_end_there(norm: str):
    outcomes = finetune.run(*runs_of((1e30, 1e32), (0,), norm=norm))
    assert all(outcome.scores["diverged"] and outcome.scores["steps"] == 10 for outcome in outcomes)


def test_bf16_computes_otherwise_and_keeps_weights_in_float32():
    exact, rough = (finetune.run(replace(request(min_steps=5), precision=p))[0] for p in ("float32", "bf16"))
    assert 0 < largest_difference(exact, rough) < 0.1
    assert all(array.dtype == np.float32 for array in rough.final.values())


# --- which runs train together -------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        (1, [[(1, 0)], [(2, 0)], [(3, 0)], [(1, 1)], [(2, 1)], [(3, 1)], [(1, 2)], [(2, 2)], [(3, 2)]]),
        (2, [[(1, 0), (2, 0)], [(3, 0)], [(1, 1), (2, 1)], [(3, 1)], [(1, 2), (2, 2)], [(3, 2)]]),
        (4, [[(1, 0), (2, 0), (3, 0)], [(1, 1), (2, 1), (3, 1)], [(1, 2), (2, 2), (3, 2)]]),
        (6, [[(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1)], [(1, 2), (2, 2), (3, 2)]]),
    ],
)
def test_whole_seeds_train_together_where_there_is_room(replicas: int, expected: list[list[tuple[float, int]]]):
    assert list(sets_of_runs((1, 2, 3), (0, 1, 2), replicas, dict.fromkeys(range(3), (5, 5, 9)))) == expected


def test_seeds_with_other_numbers_of_images_train_apart():
    counts = {0: (5, 5, 9), 1: (5, 5, 9), 2: (6, 5, 9)}
    assert list(sets_of_runs((1,), (0, 1, 2), 8, counts)) == [[(1, 0), (1, 1)], [(1, 2)]]


@pytest.mark.parametrize("mode", MODES)
def test_the_stage_writes_what_a_job_of_single_runs_writes(tmp_path: Path, digits: Path, mode: str):
    for replicas in (1, 4):
        run_block(tmp_path / str(replicas), digits, (0.01, 0.1), (0, 1, 2), mode, replicas)
    single, together = (sorted((tmp_path / name).rglob("*.*")) for name in ("1", "4"))
    assert [path.relative_to(tmp_path / "1") for path in single] == [
        path.relative_to(tmp_path / "4") for path in together
    ]
    (a, of_a), (b, of_b) = (read_columns(tmp_path / name / "history.parquet") for name in ("1", "4"))
    assert a.schema == b.schema
    assert a["loss_validation"].to_pylist() == pytest.approx(b["loss_validation"].to_pylist(), rel=0.05)
    assert json.loads(of_b.spec) == json.loads(of_a.spec) | {"replicas": 4}
    told = json.loads((tmp_path / "4/provenance.json").read_text())["runs"]
    assert told[0]["seconds"] == told[3]["seconds"], "runs that train together share what they took"


@pytest.mark.parametrize("mode", ["finetune", "freeze-1", "lpft"])
def test_copies_stopped_after_each_of_their_steps_end_in_the_same_bits(
    tmp_path: Path, digits: Path, mode: str, monkeypatch: pytest.MonkeyPatch
):
    rates, seeds = (0.01, 0.1), (0, 1, 2)
    run_block(tmp_path / "whole", digits, rates, seeds, mode, replicas=4)
    again = tmp_path / "again"
    times = test_snapshots.stopped_at_every_step(
        monkeypatch, again, lambda: run_block(again, digits, rates, seeds, mode, replicas=4)
    )
    assert times == 2 * 9, "once after each step but the last, of four runs and of two"
    assert test_snapshots.files(again) == test_snapshots.files(tmp_path / "whole")


def test_a_copy_that_diverged_before_the_stop_is_still_so_after_it(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
):
    rates, again = (0.01, 1e30), tmp_path / "again"
    run_block(tmp_path / "whole", digits, rates, (0,), replicas=2)
    test_snapshots.stopped_at_every_step(monkeypatch, again, lambda: run_block(again, digits, rates, (0,), replicas=2))
    assert test_snapshots.files(again) == test_snapshots.files(tmp_path / "whole")
    assert read_columns(again / "scores.parquet")[0].to_pylist()[1]["diverged"]


# --- config --------------------------------------------------------------------------------


def test_specs_of_runs_say_replicas_and_precision():
    plan = plan_of(put(put(tiny(), "replicas", 4), "precision", "bf16"))
    arm = next(arm for arm in plan.arms if arm.mode == "finetune")
    spec = trains(plan, arm).spec(SimpleNamespace(**arm.columns(), learning_rate="0.1"), (0,))
    assert (spec["replicas"], spec["precision"]) == (4, "bf16")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [("replicas", 0, "greater than or equal to 1"), ("precision", "float16", "'float32' or 'bf16'")],
)
def test_other_values_are_refused(key: str, value: Any, told: str):
    with pytest.raises(ConfigError, match=told):
        load(put(tiny(), key, value), Path(__file__).parents[1])
