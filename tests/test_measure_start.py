"""The read-out of a start: the real stage on small files, each number against what is known of it."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
import torch
from conftest import NOWHERE, job, plan_of, tiny
from nets import plain

from whypretrain.data.tasks import target_images
from whypretrain.files.schemas import TABLES
from whypretrain.files.storage import read_columns, write_tensors
from whypretrain.measures.transferability import leep, log_me
from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import initialise, initialise_head
from whypretrain.networks.network import Weights, pooled_layers, reestimate_statistics
from whypretrain.networks.tracing import Place
from whypretrain.randomness import stream
from whypretrain.stages import measure_start
from whypretrain.training.loop import standardise

torch.set_num_threads(1)

ARCHITECTURE: dict[str, Any] = {"widths": [4, 6], "kernels": [3, 3], "pool_after": [1], "norm": "batch"}
NORMALISATION = {"mean": 0.5, "standard_deviation": 0.3}
KEYS = {"architecture", "source", "epoch", "treatment", "span", "target", "shots", "seed"}
OF_SOURCE = ["source_top1_stored", "source_top1_reestimated", "leep", "proxy_a_distance"]


def described(norm: str = "batch") -> Card:
    return plain(**{**ARCHITECTURE, "norm": norm})


def images_of(classes: int, brightness: float, seed: int) -> dict[str, np.ndarray]:
    """Noise with a bright row where the class says."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), 60)
    pixels = generator.normal(brightness, 30, (len(labels), 1, 8, 8))
    for image, label in zip(pixels, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 60
    return {"images": pixels.clip(0, 255).astype(np.uint8), "labels": labels}


DATASETS = {"dark": images_of(4, 60, 0), "bright": images_of(3, 150, 1)}


def task(name: str, dataset: str, **more: Any) -> dict[str, Any]:
    count = int(DATASETS[dataset]["labels"].max()) + 1
    described = {
        "name": name,
        "dataset": dataset,
        "shares": {"validation": 0.2, "test": 0.2},
        "images": "all",
        "classes": list(range(count)),
    }
    return described | {"class_half": None, "class_count": count} | more


def weights_of(seed: int, *, classes: int | None, norm: str = "batch", key: str = "other") -> Weights:
    weights = initialise(described(norm), stream("scratch-init", seed, key))
    return weights | (initialise_head(described(norm), classes, stream("head", seed, "own")) if classes else {})


def measured(
    folder: Path,
    *,
    source: dict[str, Any] | None,
    starts: dict[int, Weights],
    target: dict[str, Any] | None = None,
    shots: int | None = 5,
    norm: str = "batch",
) -> pd.DataFrame:
    """Run the stage and return a row for each seed; the untrained network is always the same of a seed."""
    target = target or task("brights", "bright")
    named = [target["dataset"], *([source["dataset"]] if source else [])]
    for dataset in named:
        write_tensors(folder / f"{dataset}.safetensors", DATASETS[dataset], NOWHERE)
    for seed, weights in starts.items():
        write_tensors(folder / f"start-{seed}.safetensors", weights, NOWHERE)
        untrained = weights_of(seed, classes=None, norm=norm, key="untrained")
        write_tensors(folder / f"untrained-{seed}.safetensors", untrained, NOWHERE)
    spec = {
        "architecture": {"name": "tiny", **ARCHITECTURE, "norm": norm},
        "target": target | {"target": f"{target['name']}.{shots}", "shots": shots, "validation_shots": 5},
        "source_task": source,
        "normalisation": NORMALISATION,
        "seeds": list(starts),
        "threads": 1,
        "device": "cpu",
    }
    files: dict[str, list[Any]] = {
        "target_dataset": [folder / f"{named[0]}.safetensors"],
        "source_dataset": [folder / f"{dataset}.safetensors" for dataset in named[1:]],
        "starts": [folder / f"start-{seed}.safetensors" for seed in starts],
        "untrained": [folder / f"untrained-{seed}.safetensors" for seed in starts] if source else [],
    }
    output = folder / "measured.parquet"
    measure_start.main(job(spec, {"measured": [output]}, **files))
    found: pd.DataFrame = read_columns(output)[0].to_pandas()
    return found


# --- what stands in the table ----------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_columns_are_those_of_the_table_and_all_are_numbers_with_a_source(tmp_path: Path, norm: str):
    found = measured(tmp_path, source=task("darks", "dark"), starts={0: weights_of(0, classes=4, norm=norm)}, norm=norm)
    expected = {column: kind for column, kind in TABLES["starts"].items() if column not in KEYS - {"seed"}}
    assert set(found) == set(expected)
    pa.DataFrameSchema(expected, strict=True).validate(found)
    assert found.notna().all(axis=None)


def test_without_a_source_there_is_nothing_of_it_and_no_untrained_network_is_asked_for(tmp_path: Path):
    found = measured(tmp_path, source=None, starts={0: weights_of(0, classes=None)})
    assert found[OF_SOURCE].isna().all(axis=None)
    assert found.drop(columns=OF_SOURCE).notna().all(axis=None)
    pa.DataFrameSchema({c: k for c, k in TABLES["starts"].items() if c not in KEYS - {"seed"}}).validate(found)


def test_a_source_without_a_head_has_a_distance_and_no_score_of_a_head(tmp_path: Path):
    source = task("darks", "dark")
    (with_head, without) = (
        measured(tmp_path / str(classes), source=source, starts={0: weights_of(0, classes=classes)})
        for classes in (4, None)
    )
    lost = ["source_top1_stored", "source_top1_reestimated", "leep"]
    assert without[lost].isna().all(axis=None)
    pd.testing.assert_frame_equal(without.drop(columns=lost), with_head.drop(columns=lost))


def test_a_head_for_other_classes_than_the_tasks_has_no_top1_but_a_leep(tmp_path: Path):
    found = measured(tmp_path, source=task("darks", "dark"), starts={0: weights_of(0, classes=7)}).iloc[0]
    assert math.isnan(found["source_top1_stored"])
    assert found["leep"] <= 0


# --- the scores ------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_scores_are_of_the_targets_training_images_with_the_sources_own_head(tmp_path: Path, norm: str):
    weights = weights_of(3, classes=4, norm=norm)
    found = measured(tmp_path, source=task("darks", "dark"), starts={3: weights}, norm=norm).iloc[0]
    target = task("brights", "bright") | {"target": "brights.5", "shots": 5, "validation_shots": 5}
    train = target_images(DATASETS["bright"], target, 3)["train"]
    images = standardise(train.images, NORMALISATION, torch.device("cpu"))
    network = build(described(norm), 4)
    network.load(weights)
    reestimate_statistics(network, images)
    with torch.no_grad():
        features, probabilities = network.features(images).numpy(), network(images).softmax(1).numpy()
    assert len(train.labels) == 15
    assert found["log_me"] == pytest.approx(log_me(features, train.labels), abs=1e-4)
    assert found["leep"] == pytest.approx(leep(probabilities, train.labels), abs=1e-5)


# --- the distance ----------------------------------------------------------------------------


def test_the_distance_depends_on_tasks_and_seed_and_on_nothing_else(tmp_path: Path):
    source = task("darks", "dark")
    one = measured(tmp_path / "a", source=source, starts={0: weights_of(0, classes=4)}, shots=5)
    other = measured(tmp_path / "b", source=source, starts={0: weights_of(1, classes=4)}, shots=None)
    assert one["proxy_a_distance"].tolist() == other["proxy_a_distance"].tolist()
    assert one["log_me"].tolist() != other["log_me"].tolist()


def test_bright_and_dark_images_are_far_apart_and_a_task_is_not_far_from_itself(tmp_path: Path):
    starts = {seed: weights_of(seed, classes=4) for seed in range(4)}
    far = measured(tmp_path / "far", source=task("darks", "dark"), starts={0: starts[0]})
    assert far["proxy_a_distance"].min() > 1.9
    target = task("darks", "dark")
    same = measured(tmp_path / "same", source=task("others", "dark"), starts=starts, target=target)
    # 12 images of each are counted: the standard deviation of one is 0.4, of the mean 0.2
    assert same["proxy_a_distance"].mean() == pytest.approx(0, abs=0.6)


def test_what_a_seed_gives_does_not_depend_on_its_block(tmp_path: Path):
    source = task("darks", "dark")
    starts = {seed: weights_of(seed, classes=4) for seed in range(2)}
    both = measured(tmp_path / "both", source=source, starts=starts)
    alone = measured(tmp_path / "alone", source=source, starts={1: starts[1]})
    pd.testing.assert_frame_equal(both[both["seed"] == 1].reset_index(drop=True), alone, check_exact=True)


def test_pooled_layers_are_each_layers_outputs_averaged_and_the_last_are_the_features():
    network = build(described(), 3).eval()
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32))
    with torch.no_grad():
        found = pooled_layers(network, images)
        first = network.until(Place("pool1", 0), images).mean((2, 3))
        assert found.shape == (5, 4 + 6)
        torch.testing.assert_close(found[:, :4], first)
        torch.testing.assert_close(found[:, 4:], network.features(images))


# --- the rule --------------------------------------------------------------------------------


def test_a_start_with_a_source_is_given_each_seeds_untrained_network_and_one_without_none():
    (form,) = plan_of(tiny()).forms_of("measure_start")
    with_source = form.inputs()["untrained"](SimpleNamespace(architecture="tiny", source="letters"), (0, 1))
    assert with_source == [f"results/sources/tiny/none/s{seed}/epoch-0.safetensors" for seed in (0, 1)]
    assert form.inputs()["untrained"](SimpleNamespace(architecture="tiny", source="none"), (0, 1)) == []
