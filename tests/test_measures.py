"""Read-outs of a run: each on a small network that was really trained, against what is known of it beforehand."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
import torch
from nets import layer_activations, plain

from whypretrain import registry
from whypretrain.data.tasks import FEW
from whypretrain.files.schemas import RUN_COLUMNS, TABLES
from whypretrain.measures.cka import linear_cka
from whypretrain.measures.comparing import compare_layers
from whypretrain.measures.measuring import Measured
from whypretrain.measures.readouts import confusion, criticality, parts, similarity, spectra, units
from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import initialise
from whypretrain.networks.network import Network, Weights, reestimate_statistics
from whypretrain.training.data import TargetData
from whypretrain.training.modes import finetune, freeze
from whypretrain.training.moding import parse
from whypretrain.training.runs import Request

torch.set_num_threads(1)

CPU = torch.device("cpu")
MODULES = {
    "confusion": confusion,
    "criticality": criticality,
    "parts": parts,
    "similarity": similarity,
    "spectra": spectra,
    "units": units,
}
WIDTH = 5  # of the features
RECIPE = {
    "epochs": 0,
    "min_steps": 20,
    "batch_size": 16,
    "weight_decay": 0.01,
    "warmup_share": 0.1,
    "epoch_steps": 10,
    "schedule": "cosine",
    "decay_share": 0.0,
    "regulariser": None,
}


def described(norm: str = "batch") -> Card:
    return plain(widths=(6, 8, WIDTH), kernels=(5, 3, 1), pool_after=(1,), norm=norm)


def data_of(classes: int, seed: int, n: int = 60) -> TargetData:
    """Noisy images whose class is where they are bright."""
    generator = np.random.default_rng(seed)
    images, labels = {}, {}
    for part in ("train", "validation", "test"):
        truth = np.arange(n) % classes
        pixels = generator.normal(0.3 * seed, 1, (n, 1, 9, 9))
        for image, label in zip(pixels, truth, strict=True):
            image[0, :, 2 * label : 2 * label + 2] += 1.5
        images[part] = torch.from_numpy(pixels.astype(np.float32)).contiguous(memory_format=torch.channels_last)
        labels[part] = torch.from_numpy(truth)
    for found in (images, labels):
        found[FEW] = found["validation"][: 3 * classes]
    return TargetData(images, labels, classes)


@functools.cache
def trained(mode: str = "finetune", norm: str = "batch") -> Measured:
    """A run from weights that are not its initialisation, with a source's images beside the target's."""
    generator = np.random.default_rng(0)
    initial = initialise(described(norm), generator)
    start = {
        name: (array + 0.1 * np.abs(generator.standard_normal(array.shape))).astype(np.float32)
        for name, array in initial.items()
    }
    target = data_of(classes=3, seed=0)
    asked = Request(
        start=start,
        card=described(norm),
        data=target,
        task="easy",
        recipe=RECIPE,
        learning_rate=0.1,
        seed=0,
        device=CPU,
        mode=parse(mode),
    )
    final = (finetune if mode == "finetune" else freeze).run(asked)[0].final
    return Measured(
        card=described(norm),
        start=start,
        initial=initial,
        final=final,
        mode=parse(mode),
        target=target,
        source=data_of(4, 1),
        normalisation={"mean": 0.2, "standard_deviation": 0.35},
        seed=0,
        device=CPU,
    )


def frame(rows: Iterator[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows)


# --- rows and columns ----------------------------------------------------------------------


def test_these_are_all_the_read_outs():
    assert set(registry.names("measures")) == set(MODULES)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("name", MODULES)
def test_a_read_out_has_the_columns_of_its_table_and_what_may_stand_in_them(name: str, norm: str):
    found = frame(MODULES[name].read_out(trained(norm=norm)))
    expected = {column: kind for column, kind in TABLES[name].items() if column not in RUN_COLUMNS}
    assert set(found) == set(expected)
    pa.DataFrameSchema(expected, strict=True).validate(found)


def test_the_rows_are_every_combination_once():
    both = [("start", "target"), ("final", "target"), ("start", "source"), ("final", "source")]
    found = frame(spectra.read_out(trained()))
    assert found.groupby(["moment", "images", "centred"]).size().to_dict() == {
        (*each, centred): WIDTH for each in both for centred in (False, True)
    }
    found = frame(parts.read_out(trained()))
    keys = list(found[["moment", "images", "part"]].itertuples(index=False, name=None))
    # of the source the start alone
    assert sorted(keys) == sorted((*each, part) for each in both[:3] for part in ("all", "main", "residual"))
    assert frame(similarity.read_out(trained()))["layer"].tolist() == [1, 2, 3]
    found = frame(criticality.read_out(trained()))
    keys = list(found[["put_back", "layer"]].itertuples(index=False, name=None))
    assert sorted(keys) == [(back, layer) for back in ("initialisation", "start") for layer in (1, 2, 3)]


@pytest.mark.parametrize("name", ["parts", "spectra"])
def test_without_a_source_there_are_no_rows_of_its_images(name: str):
    without = frame(MODULES[name].read_out(dataclasses.replace(trained(), source=None)))
    assert set(without["images"]) == {"target"}
    whole = frame(MODULES[name].read_out(trained()))
    pd.testing.assert_frame_equal(without, whole[whole["images"] == "target"].reset_index(drop=True))


# --- similarity ----------------------------------------------------------------------------


def test_a_network_is_like_itself():
    network = trained().network("final", "target")
    found = frame(compare_layers(network, network, trained().target.images["test"], seed=0))
    assert found["relative_l2"].tolist() == [0, 0, 0]
    assert found["cosine_mean"].tolist() == pytest.approx([1, 1, 1])
    assert found["cka"].tolist() == pytest.approx([1, 1, 1])


def test_cka_has_images_as_rows_and_beside_it_positions_and_pooled_features():
    first, second = (trained().network(moment, "target") for moment in ("start", "final"))
    images = trained().target.images["test"]
    found = frame(compare_layers(first, second, images, seed=0))
    for layer, (_, here), (_, there) in zip(
        (1, 2, 3), layer_activations(first, images), layer_activations(second, images), strict=True
    ):
        a, b = (activation.numpy() for activation in (here, there))
        n, channels = a.shape[:2]
        rows = {
            "cka": [each.reshape(n, -1) for each in (a, b)],
            "cka_positions": [np.moveaxis(each, 1, 3).reshape(-1, channels) for each in (a, b)],
            "cka_pooled": [each.mean((2, 3)) for each in (a, b)],
        }
        for name, sides in rows.items():
            assert found.loc[layer - 1, name] == pytest.approx(linear_cka(*sides), abs=1e-5)
    assert found[list(rows)].nunique(axis=1).tolist() == [3, 3, 3], "they are three measures"


def test_frozen_layers_stay_alike_and_the_others_move():
    found = frame(similarity.read_out(trained("freeze-2"))).set_index("layer")
    assert (found.loc[[1, 2], "relative_l2"] == 0).all()
    assert found.loc[[1, 2], ["cosine_mean", "cka"]].to_numpy() == pytest.approx(1)
    assert found.loc[3, "relative_l2"] > 0.01
    assert found.loc[3, ["cosine_mean", "cka"]].max() < 1 - 1e-6


def test_a_distance_is_of_the_weights_from_the_start():
    found = frame(similarity.read_out(trained())).set_index("layer")
    start, final = trained().start["layer2.weight"], trained().final["layer2.weight"]
    expected = np.linalg.norm(final - start) / np.linalg.norm(start)
    assert found.loc[2, "relative_l2"] == pytest.approx(expected, rel=1e-5)


def test_a_layer_that_answers_nothing_has_no_cka_and_does_not_stop_the_others():
    final = dict(trained().final)
    final["norm2.weight"] = np.zeros_like(final["norm2.weight"])
    final["norm2.bias"] = np.zeros_like(final["norm2.bias"]) - 1
    found = frame(similarity.read_out(dataclasses.replace(trained(), final=final))).set_index("layer")
    assert math.isfinite(found.loc[1, "cka"])
    assert math.isnan(found.loc[2, "cka"])
    assert found[["relative_l2", "cosine_mean"]].notna().all(axis=None)


# --- criticality ---------------------------------------------------------------------------


def test_a_layer_that_did_not_change_is_not_critical():
    found = frame(criticality.read_out(trained("freeze-2"))).set_index(["put_back", "layer"])["top1_lost"]
    assert found["start"][[1, 2]].tolist() == [0, 0]
    # but its initialisation is not what it is now
    assert (found["initialisation"][[1, 2]] != 0).any()


def test_a_layer_put_back_to_noise_costs_what_the_network_has_learnt():
    noise = {name: np.zeros_like(array) for name, array in trained().start.items()}
    found = frame(criticality.read_out(dataclasses.replace(trained(), start=noise)))
    lost = found.loc[found["put_back"] == "start", "top1_lost"]
    network = trained().network("final", "target")
    reestimate_statistics(network, trained().target.images["train"])
    with torch.no_grad():
        predicted = network(trained().target.images["test"]).argmax(1)
    whole = float((predicted == trained().target.labels["test"]).double().mean())
    assert whole > 0.4
    assert lost.tolist() == pytest.approx([whole - 1 / 3] * 3)  # one answer to all images: chance of three classes


# --- spectra and parts ---------------------------------------------------------------------


def test_singular_values_fall_and_their_shares_are_all():
    found = frame(spectra.read_out(trained()))
    for _, group in found.groupby(["moment", "images", "centred"]):
        assert group["component"].tolist() == list(range(1, WIDTH + 1))
        assert (group["singular_value"].diff().dropna() <= 0).all()
        assert group["share"].sum() == pytest.approx(1)
        assert group["share_squared"].tolist() == pytest.approx(
            (group["singular_value"] ** 2 / (group["singular_value"] ** 2).sum()).tolist()
        )


@pytest.mark.parametrize("images", ["target", "source"])
def test_a_spectrum_is_of_the_test_images_of_its_own_data(images: str):
    found = frame(spectra.read_out(trained()))
    network = trained().network("start", images)
    data = getattr(trained(), images)
    with torch.no_grad():
        features = network.features(data.images["test"]).numpy().astype(np.float64)
    for centred in (False, True):
        chosen = found[(found["moment"] == "start") & (found["images"] == images) & (found["centred"] == centred)]
        expected = np.linalg.svd(features - features.mean(0) * centred, compute_uv=False)
        assert chosen["singular_value"].tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-6)


def test_main_and_residual_are_all_components():
    found = frame(parts.read_out(trained()))
    counts = found.pivot_table(index=["moment", "images"], columns="part", values="components")
    assert (counts["all"] == WIDTH).all()
    assert (counts["main"] + counts["residual"] == counts["all"]).all()
    assert (counts["main"] >= 1).all()
    ranks = found.pivot_table(index=["moment", "images"], columns="part", values="effective_rank")
    assert (ranks["main"] <= counts["main"] + 1e-6).all()
    assert (ranks["residual"] <= counts["residual"] + 1e-3).all()


def test_a_probe_on_fewer_images_than_features_has_as_many_components_as_images():
    few = data_of(3, 0, n=3)
    target = TargetData(
        trained().target.images | {"train": few.images["train"]},
        trained().target.labels | {"train": few.labels["train"]},
        3,
    )
    found = frame(parts.read_out(dataclasses.replace(trained(), target=target, source=None)))
    assert set(found.loc[found["part"] == "all", "components"]) == {3}


# --- what they are given -------------------------------------------------------------------


def statistics(network: Network) -> np.ndarray:
    weights = network.weights()
    return np.concatenate([weights[name] for name in sorted(weights) if "running" in name])


def stored(weights: Weights) -> np.ndarray:
    return np.concatenate([weights[name] for name in sorted(weights) if "running" in name])


def reestimated(weights: Weights, data: TargetData) -> np.ndarray:
    network = build(described(), 3)
    head = {name: array for name, array in trained().final.items() if name.startswith("head.")}
    network.load({**weights, **head})
    reestimate_statistics(network, data.images["train"])
    return statistics(network)


def test_the_start_meets_the_target_with_the_statistics_that_training_begins_with():
    measured = trained("freeze-1")
    found = statistics(measured.network("start", "target"))
    np.testing.assert_array_equal(found, reestimated(measured.start, measured.target))
    assert (found != stored(measured.start)).any()
    kept = trained("freeze-1+source-norm")
    np.testing.assert_array_equal(statistics(kept.network("start", "target")), stored(kept.start))


@pytest.mark.parametrize("mode", ["finetune", "freeze-1", "freeze-1+source-norm"])
def test_the_final_network_meets_the_target_as_training_left_it(mode: str):
    network = trained(mode).network("final", "target")
    assert not network.training
    found = network.weights()
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in trained(mode).final.items()
    }


@pytest.mark.parametrize("mode", ["finetune", "freeze-1+source-norm"])
@pytest.mark.parametrize("moment", ["start", "final"])
def test_on_the_sources_images_statistics_are_the_sources(mode: str, moment: str):
    measured = trained(mode)
    assert measured.source is not None
    expected = reestimated({"start": measured.start, "final": measured.final}[moment], measured.source)
    np.testing.assert_array_equal(statistics(measured.network(moment, "source")), expected)


def test_some_images_are_at_most_so_many_sorted_and_the_same_again():
    measured = dataclasses.replace(trained(), target=data_of(3, 0, n=1203))
    found = measured.some("target", "test")
    assert len(found) == 1000
    assert (found.diff() > 0).all()
    assert found.min() >= 0
    assert found.max() < 1203
    assert torch.equal(found, measured.some("target", "test"))
    assert not torch.equal(found, measured.some("target", "train"))
    assert not torch.equal(found, dataclasses.replace(measured, seed=1).some("target", "test"))
    assert measured.some("source", "test").tolist() == list(range(60))
    assert len(measured.some("target", "test", 500)) == 500


def test_features_come_with_their_own_labels():
    measured = dataclasses.replace(trained(), target=data_of(3, 0, n=1203))
    features, labels = measured.features("final", "target", ("test",))
    at = measured.some("target", "test")
    with torch.no_grad():
        expected = measured.network("final", "target").features(measured.target.images["test"][at]).numpy()
    np.testing.assert_allclose(features["test"], expected, rtol=1e-4, atol=1e-5)
    assert labels["test"].tolist() == (at % 3).tolist()
