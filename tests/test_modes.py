"""Modes: what is frozen stays bit for bit, what isn't learns, and a probe is scikit-learn's on the features."""

import dataclasses
import math
import os
from typing import Any

import numpy as np
import pytest
import torch
from nets import plain
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch.nn import functional

from whypretrain import registry
from whypretrain.data.tasks import FEW
from whypretrain.networks.banks import pool_kernels
from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import initialise, initialise_head
from whypretrain.networks.network import Network, reestimate_statistics
from whypretrain.networks.tracing import Place
from whypretrain.randomness import stream
from whypretrain.training import loop as training
from whypretrain.training import moding, probes, schedules
from whypretrain.training.data import TargetData
from whypretrain.training.modes import finetune, freeze, lpft, probe, svm
from whypretrain.training.moding import Mode, parse
from whypretrain.training.pretraining import Learner, pretrain
from whypretrain.training.runs import Outcome, Request
from whypretrain.training.torch_setup import set_up_torch
from whypretrain.treatments.treating import apply_treatment, reference_of

torch.set_num_threads(1)

CPU = torch.device("cpu")
DEPTH = 3
RECIPE = {
    "epochs": 0,
    "min_steps": 30,
    "batch_size": 16,
    "weight_decay": 0.01,
    "warmup_share": 0.1,
    "epoch_steps": 10,
    "schedule": "cosine",
    "decay_share": 0.0,
    "regulariser": None,
}

Weights = dict[str, np.ndarray]
NORMS = pytest.mark.parametrize("norm", ["batch", "none"])


def described(norm: str = "batch") -> Card:
    return plain(widths=(6, 8, 5), kernels=(5, 3, 1), pool_after=(1,), norm=norm)


def start_of(norm: str) -> Weights:
    """Weights as source training leaves them: no bias, affine parameter or statistic at its first value."""
    generator = np.random.default_rng(0)
    weights = initialise(described(norm), generator)
    for name, array in weights.items():
        if array.ndim == 1:
            moved = array + 0.2 * generator.standard_normal(array.shape)
            weights[name] = (np.abs(moved) + 0.1 if name.endswith("running_var") else moved).astype(np.float32)
    return weights


def data_of(n: int = 60, classes: int = 3, noise: float = 1.0) -> TargetData:
    """Noisy images whose class is where they are bright."""
    generator = np.random.default_rng(0)
    images, labels = {}, {}
    for part in ("train", "validation", "test"):
        truth = np.arange(n) % classes
        pixels = generator.normal(0, noise, (n, 1, 9, 9))
        for image, label in zip(pixels, truth, strict=True):
            image[0, :, 3 * label : 3 * label + 3] += 0.5 * (1 + label)
        images[part] = torch.from_numpy(pixels.astype(np.float32)).contiguous(memory_format=torch.channels_last)
        labels[part] = torch.from_numpy(truth)
    images[FEW], labels[FEW] = images["validation"][:9], labels["validation"][:9]
    return TargetData(images, labels, classes)


def request(mode: str, norm: str = "batch", **changes: Any) -> Request:
    learns = moding.by_steps(mode)
    values = {
        "start": start_of(norm),
        "card": described(norm),
        "data": data_of(),
        "task": "easy",
        "recipe": RECIPE if learns else None,
        "learning_rate": 0.1 if learns else None,
        "seed": 0,
        "device": CPU,
        "mode": parse(mode),
    }
    return Request(**values | changes)


def network_of(asked: Request, weights: Weights) -> Network:
    network = build(asked.card, asked.data.classes, layer=None if "layer3.weight" in weights else asked.mode.layer)
    network.load(weights)
    return network.eval()


def drawn_head(asked: Request) -> Weights:
    return initialise_head(asked.card, asked.data.classes, stream("head", asked.seed, asked.task))


def before_training(asked: Request) -> Weights:
    """The start under its new head, with its statistics as they are when training begins."""
    network = network_of(asked, {**asked.start, **drawn_head(asked)})
    if not asked.mode.source_norm:
        reestimate_statistics(network, asked.data.images["train"])
    return network.weights()


def number(name: str) -> int:
    """The layer that a tensor belongs to; the head comes after all."""
    module = name.split(".")[0]
    return DEPTH + 1 if module == "head" else int(module[-1])


# --- devices -------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mode of the intact start, every treatment fine-tuned, and sources, by few and small steps."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", "0"))
    device, few = set_up_torch({"device": "cuda", "threads": 1}), RECIPE | {"min_steps": 5}
    pool = pool_kernels([start_of("batch")], described(), share=0.0)
    references = {"bank": pool, "epoch-0": initialise(described(), np.random.default_rng(1))}
    references["none"] = references["epoch-0"]
    data = data_of()
    images, labels = ({part: each.to(device) for part, each in of.items()} for of in (data.images, data.labels))
    moved = TargetData(images, labels, data.classes)
    asked = {"intact": ("finetune", "lpft", "freeze-1", "freeze-2+source-norm", "probe", "probe-2", "svm-1")}
    for treatment in registry.names("treatments"):
        taken = references.get(reference_of(treatment) or "")
        start = apply_treatment(start_of("batch"), treatment, (1,), 0, described(), taken)
        for mode in asked.get(treatment, ("finetune",)):
            changes = {"start": start} | ({"recipe": few, "learning_rate": 0.01} if moding.by_steps(mode) else {})
            here = request(mode, **changes)
            there = dataclasses.replace(here, device=device, data=moved)
            a, b = (registry.load("modes", each.mode.name).run(each)[0] for each in (here, there))
            for name, array in a.final.items():
                np.testing.assert_allclose(
                    b.final[name], array, rtol=0.05, atol=0.01, err_msg=f"{treatment} {mode} {name}"
                )
            for name, score in a.scores.items():
                if name.startswith(("loss", "top1")):
                    assert b.scores[name] == pytest.approx(score, abs=0.05, nan_ok=True), (treatment, mode, name)
    settings = {"checkpoints": [0, 1], "batch_size": 16, "learning_rate": 0.01, "warmup_epochs": 0, "weight_decay": 0.1}
    for objective in ("labels", "random-labels", "reconstruction"):
        spec = {"pretraining": settings | {"objective": objective, "anneal_share": 0.2}, "source": "easy"}
        a, b = (list(pretrain(spec, [Learner(0, own, described())]))[-1][0].weights for own in (data, moved))
        assert a
        assert b
        for name, array in a.items():
            np.testing.assert_allclose(b[name], array, rtol=0.01, atol=1e-3, err_msg=f"{objective} {name}")
    torch.use_deterministic_algorithms(False)


# --- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected", "steps"),
    [
        ("finetune", Mode("finetune"), True),
        ("freeze-0", Mode("freeze", 0), True),
        ("freeze-12", Mode("freeze", 12), True),
        ("freeze-3+source-norm", Mode("freeze", 3, source_norm=True), True),
        ("probe", Mode("probe"), False),
        ("probe+source-norm", Mode("probe", source_norm=True), False),
        ("probe-2", Mode("probe", layer=2), False),
        ("probe-2+source-norm", Mode("probe", layer=2, source_norm=True), False),
        ("svm-12", Mode("svm", layer=12), False),
        ("lpft", Mode("lpft"), True),
    ],
)
def test_a_name_says_its_mode(name: str, expected: Mode, steps: bool):
    assert parse(name) == expected
    assert moding.by_steps(name) == steps


@pytest.mark.parametrize(
    "name",
    [
        *("", "probing", "freeze", "freeze-", "freeze-x", "freeze--1", "freeze-01", "freeze-1.5", "freeze-²"),
        *("finetune+source-norm", "finetune-2", "probe-0", "probe+", "probe+target-norm", "freeze+source-norm-2"),
        *("svm", "svm-0", "svm-x", "svm-01", "lpft-2", "lpft+source-norm", "probe-2-3"),
        *("probe+source-norm+source-norm", "freeze-2+source-norm+source-norm", "Probe", "probe\n", " probe"),
    ],
)
def test_another_name_is_refused_with_what_is_allowed(name: str):
    expected = r"(?s)unknown mode '.*'; allowed: finetune, lpft, probe, probe-L and svm-L .* freeze-N"
    with pytest.raises(ValueError, match=expected) as caught:
        parse(name)
    assert f"'{name}'" in str(caught.value)
    with pytest.raises(ValueError, match="unknown mode"):
        moding.by_steps(name)


# --- freeze --------------------------------------------------------------------------------


@NORMS
@pytest.mark.parametrize("suffix", ["", "+source-norm"])
@pytest.mark.parametrize("frozen", [1, 2, 3])
def test_frozen_layers_keep_every_bit_and_all_others_learn(norm: str, suffix: str, frozen: int):
    asked = request(f"freeze-{frozen}{suffix}", norm)
    before = before_training(asked)
    outcome = freeze.run(asked)[0]
    assert outcome.final.keys() == before.keys()
    for name, array in outcome.final.items():
        if number(name) <= frozen:
            assert array.tobytes() == before[name].tobytes(), name
        else:
            assert (array != before[name]).any(), name
    cosines = zip(outcome.kernels["layer"], outcome.kernels["cosine_q05"], outcome.kernels["target_epoch"], strict=True)
    for layer, cosine, epoch in cosines:
        assert cosine > 1 - 1e-6 if layer <= frozen or epoch == 0 else cosine < 1 - 1e-6


@NORMS
def test_each_layer_more_that_is_frozen_changes_what_is_learnt(norm: str):
    scores = [freeze.run(request(f"freeze-{frozen}", norm))[0].scores["loss_test"] for frozen in range(DEPTH + 1)]
    assert len(set(scores)) == DEPTH + 1


def test_source_norm_keeps_the_starts_statistics_and_the_default_takes_the_targets():
    start = start_of("batch")
    kept, reestimated = (freeze.run(request(f"freeze-2{suffix}"))[0].final for suffix in ("+source-norm", ""))
    for layer in (1, 2):
        for name in (f"norm{layer}.running_mean", f"norm{layer}.running_var"):
            assert kept[name].tobytes() == start[name].tobytes()
            assert (reestimated[name] != start[name]).all()


def test_with_source_norm_learning_layers_begin_with_the_starts_statistics_too():
    short = RECIPE | {"min_steps": 1, "epoch_steps": 1}
    asked = request("freeze-1+source-norm", recipe=short, learning_rate=1e-12)
    network = network_of(asked, {**asked.start, **drawn_head(asked)})
    first_batch = next(training.batches(60, 16, stream("target-order", 0, "easy")))
    with torch.no_grad():
        images = asked.data.images["train"][first_batch]
        activations = network.module.layer2(network.until(Place("pool1", 0), images))  # type: ignore[operator]
    expected = 0.9 * asked.start["norm2.running_mean"] + 0.1 * activations.mean((0, 2, 3)).numpy()
    np.testing.assert_allclose(freeze.run(asked)[0].final["norm2.running_mean"], expected, rtol=1e-4, atol=1e-5)


@NORMS
def test_nothing_frozen_is_fine_tuning_bit_by_bit(norm: str):
    none, fine = freeze.run(request("freeze-0", norm))[0], finetune.run(request("finetune", norm))[0]
    assert {name: array.tobytes() for name, array in none.final.items()} == {
        name: array.tobytes() for name, array in fine.final.items()
    }
    assert repr((none.scores, none.history, none.kernels)) == repr((fine.scores, fine.history, fine.kernels))
    np.testing.assert_array_equal(none.predictions, fine.predictions)


def reference(asked: Request) -> tuple[Weights, list[float]]:
    """Freezing as it is usually written: whole network, no gradient below, frozen norms in evaluation mode."""
    recipe, frozen = RECIPE, asked.mode.frozen
    network = network_of(asked, before_training(asked))
    for name, parameter in network.module.named_parameters():
        parameter.requires_grad_(number(name) > frozen)
    learning = [p for p in network.module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": recipe["weight_decay"]},
        {"params": [p for p in learning if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)
    images, labels = asked.data.images["train"], asked.data.labels["train"]
    order = training.batches(len(images), 16, stream("target-order", asked.seed, asked.task))
    rate = schedules.warmup_then_cosine(0.1, 3, 30)
    losses = []
    for step, batch in zip(range(1, 31), order, strict=False):
        network.train()
        for name, module in network.module.named_modules():
            if name.startswith("norm") and number(name) <= frozen:
                module.eval()
        loss = functional.cross_entropy(network(images[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        if not asked.card.has_norm:
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        optimiser.step()
        if step % 12 == 0 or step == 30:
            network.eval()
            with torch.no_grad():
                losses.append(
                    float(
                        functional.cross_entropy(
                            network(asked.data.images["validation"]), asked.data.labels["validation"]
                        )
                    )
                )
    return network.weights(), losses


@NORMS
@pytest.mark.parametrize("mode", ["freeze-1", "freeze-2", "freeze-3", "freeze-2+source-norm"])
def test_the_cached_prefix_gives_what_the_whole_network_gives(norm: str, mode: str):
    asked = request(mode, norm)
    outcome = freeze.run(asked)[0]
    weights, losses = reference(asked)
    for name, array in weights.items():
        np.testing.assert_allclose(outcome.final[name], array, rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(outcome.history["loss_validation"][1:], losses, rtol=1e-4)
    network = network_of(asked, outcome.final)
    for part in ("train", "validation", "test"):
        score = training.evaluate(network, asked.data.images[part], asked.data.labels[part])
        assert outcome.scores[f"loss_{part}"] == pytest.approx(score.loss, rel=1e-5)
        assert outcome.scores[f"top1_{part}"] == score.top1
    assert outcome.history["loss_validation"][-1] == pytest.approx(outcome.scores["loss_validation"], rel=1e-5)


def test_all_layers_frozen_trains_a_head_on_fixed_features():
    asked = request(f"freeze-{DEPTH}")
    outcome = freeze.run(asked)[0]
    before = before_training(asked)
    changed = {name for name, array in outcome.final.items() if array.tobytes() != before[name].tobytes()}
    assert changed == {"head.weight", "head.bias"}
    assert outcome.history["loss_train"][-1] < outcome.history["loss_train"][0]


def test_a_mode_that_learns_by_steps_wants_a_recipe_and_a_rate():
    for missing in ("recipe", "learning_rate"):
        with pytest.raises(ValueError, match="mode 'freeze' learns by gradient steps"):
            freeze.run(request("freeze-1", **{missing: None}))[0]


# --- probe ---------------------------------------------------------------------------------


def sklearn_probe(features: Weights, labels: Weights) -> tuple[float, dict[str, float], dict[str, float], np.ndarray]:
    """The probe from scikit-learn alone: C, top-1 and loss by part, predictions on test."""
    scaler = StandardScaler().fit(features["train"])
    x = {part: scaler.transform(values) for part, values in features.items()}
    best: Any = None
    for strength in (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0):
        model = LogisticRegression(C=strength, max_iter=1000).fit(x["train"], labels["train"])
        top1 = {part: float((model.predict(x[part]) == labels[part]).mean()) for part in x}
        loss = {part: float(log_loss(labels[part], model.predict_proba(x[part]), labels=model.classes_)) for part in x}
        if best is None or (top1["validation"], -loss["validation"]) > (best[1]["validation"], -best[2]["validation"]):
            best = (strength, top1, loss, model.predict(x["test"]))
    return best


def features_by_hand(asked: Request) -> Weights:
    """Pooled features of the start's last layer, or of the mode's, saved as arrays."""
    network = network_of(asked, before_training(asked))
    place = Place(f"{'pool' if asked.mode.layer == 1 else 'relu'}{asked.mode.layer or DEPTH}", 0)
    with torch.no_grad():
        outputs = {part: network.until(place, images) for part, images in asked.data.images.items()}
    return {part: images.mean((2, 3)).numpy() for part, images in outputs.items()}


PROBES = pytest.mark.parametrize("mode", ["probe", "probe+source-norm", "probe-1", "probe-2+source-norm"])


@NORMS
@PROBES
@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_is_scikit_learns_on_the_saved_features(norm: str, mode: str, classes: int):
    asked = request(mode, norm, data=data_of(classes=classes))
    outcome = probe.run(asked)[0]
    labels = {part: values.numpy() for part, values in asked.data.labels.items()}
    strength, top1, loss, predictions = sklearn_probe(features_by_hand(asked), labels)
    assert outcome.scores["strength"] == strength
    for part in ("train", "validation", "test"):
        assert outcome.scores[f"top1_{part}"] == top1[part]
        assert outcome.scores[f"loss_{part}"] == pytest.approx(loss[part], rel=1e-5)
    np.testing.assert_array_equal(outcome.predictions, predictions)
    assert outcome.predictions.dtype == np.uint8
    assert 1 / classes + 0.1 < top1["test"] < 1, "neither chance nor too easy to tell probes apart"


@NORMS
@PROBES
@pytest.mark.parametrize("classes", [2, 3])
def test_the_network_with_the_probe_as_its_head_is_the_probe(norm: str, mode: str, classes: int):
    asked = request(mode, norm, data=data_of(classes=classes))
    outcome = probe.run(asked)[0]
    before = before_training(asked)
    for name, array in outcome.final.items():
        if not name.startswith("head."):
            assert array.tobytes() == before[name].tobytes(), name
    network = network_of(asked, outcome.final)
    for part in ("train", "validation", "test"):
        score = training.evaluate(network, asked.data.images[part], asked.data.labels[part])
        assert outcome.scores[f"loss_{part}"] == pytest.approx(score.loss, rel=5e-3)  # a head in single precision
        assert outcome.scores[f"top1_{part}"] == score.top1
    np.testing.assert_array_equal(outcome.predictions, score.predictions)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_probes_classifier_on_plain_features_gives_scikit_learns_decisions(classes: int):
    generator = np.random.default_rng(0)
    labels = {part: np.arange(80) % classes for part in ("train", "validation", "test")}
    features = {
        part: generator.normal(truth[:, None] * [1.0, 0.1, 0.0], [3.0, 0.1, 20.0]) + 7 for part, truth in labels.items()
    }
    features = {part: np.c_[values, np.ones(80)] for part, values in features.items()}  # one never active
    fitted = probes.fit_probe(features, labels)["validation"]
    scaler = StandardScaler().fit(features["train"])
    model = LogisticRegression(C=fitted.strength, max_iter=1000).fit(
        scaler.transform(features["train"]), labels["train"]
    )
    decision = model.decision_function(scaler.transform(features["test"]))
    logits = features["test"] @ fitted.weight.T + fitted.bias
    assert logits.shape == (80, classes)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0] if classes == 2 else logits, decision, atol=1e-8)


def test_source_norm_probes_the_starts_own_statistics():
    kept, reestimated = (probe.run(request(mode))[0] for mode in ("probe+source-norm", "probe"))
    for name, array in start_of("batch").items():
        assert kept.final[name].tobytes() == array.tobytes()
    assert kept.scores["loss_test"] != reestimated.scores["loss_test"]


def test_a_probe_has_no_steps_and_no_chance():
    outcome = probe.run(request("probe"))[0]
    assert (outcome.history, outcome.kernels) == ({}, {})
    assert (outcome.scores["steps"], outcome.scores["diverged"], outcome.scores["converged"]) == (0, False, True)
    other = probe.run(request("probe", seed=1, start={**start_of("batch"), **drawn_head(request("probe"))}))[0]
    assert other.scores == outcome.scores, "neither the seed nor the source's head plays a part"


def test_a_probe_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes, "ITERATIONS", 1)
    assert not probe.run(request("probe"))[0].scores["converged"]


def test_a_probe_of_nothing_is_collapsed():
    data = data_of()
    data = dataclasses.replace(data, images={part: torch.zeros_like(images) for part, images in data.images.items()})
    scores = probe.run(request("probe", data=data))[0].scores
    assert scores["collapsed"]
    assert scores["top1_train"] == pytest.approx(1 / 3)


# --- SVM, and fine-tuning from a probe -----------------------------------------------------


@pytest.mark.parametrize(("mode", "run"), [("probe", probe), ("svm-3", svm)])
def test_as_few_validation_images_as_a_user_has_select_a_classifier_of_their_own(mode: str, run: Any):
    asked = request(mode, data=data_of(noise=1.5))
    both = run.run(asked)[0].scores
    swapped = {
        part: asked.data.images[FEW if part == "validation" else part] for part in ("train", "validation", "test")
    }
    labels = {part: asked.data.labels[FEW if part == "validation" else part] for part in swapped}
    images, labels = swapped | {FEW: swapped["validation"]}, labels | {FEW: labels["validation"]}
    poor = run.run(request(mode, data=TargetData(images, labels, asked.data.classes)))[0].scores
    assert both["strength_few"] == poor["strength"] != both["strength"]
    for score in ("top1", "loss"):
        assert both[f"{score}_test_few"] == pytest.approx(poor[f"{score}_test"], nan_ok=True)
        assert both[f"{score}_validation_few"] == pytest.approx(poor[f"{score}_validation"], nan_ok=True)


@NORMS
@pytest.mark.parametrize("mode", ["svm-1", "svm-2+source-norm", "svm-3"])
@pytest.mark.parametrize("classes", [2, 3])
def test_an_svm_is_scikit_learns_on_the_saved_features(norm: str, mode: str, classes: int):
    asked = request(mode, norm, data=data_of(classes=classes, noise=1.5))
    outcome, features = svm.run(asked)[0], features_by_hand(asked)
    labels = {part: values.numpy() for part, values in asked.data.labels.items()}
    scaler = StandardScaler().fit(features["train"])
    fitted = {}
    for strength in (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0):
        model = LinearSVC(C=strength, dual="auto", random_state=0)  # one against the rest, squared hinge: its defaults
        fitted[strength] = model.fit(scaler.transform(features["train"]), labels["train"])
    found = {
        c: model.score(scaler.transform(features["validation"]), labels["validation"]) for c, model in fitted.items()
    }
    best = max(found, key=lambda c: (found[c], -c))
    assert outcome.scores["strength"] == best
    np.testing.assert_array_equal(outcome.predictions, fitted[best].predict(scaler.transform(features["test"])))
    score = training.evaluate(network_of(asked, outcome.final), asked.data.images["test"], asked.data.labels["test"])
    np.testing.assert_array_equal(score.predictions, outcome.predictions)
    assert all(math.isnan(outcome.scores[f"loss_{part}"]) for part in ("train", "validation", "test"))


def test_each_layer_gives_features_of_its_own():
    finals = [svm.run(request(f"svm-{layer}"))[0].final for layer in range(1, DEPTH + 1)]
    assert [final["head.weight"].shape for final in finals] == [(3, 6), (3, 8), (3, 5)]
    assert all("layer3.weight" not in final for final in finals[:2])


@NORMS
def test_lpft_starts_from_the_probe_and_then_learns_everything(norm: str):
    probed, still = probe.run(request("probe", norm))[0], lpft.run(request("lpft", norm, learning_rate=1e-12))[0]
    assert still.scores["strength"] == still.scores["strength_few"] == probed.scores["strength_few"]
    np.testing.assert_allclose(still.final["layer1.weight"], probed.final["layer1.weight"], rtol=1e-5, atol=1e-6)
    asked = request("probe", norm)
    head = {name: array for name, array in still.final.items() if name.startswith("head.")}
    first = network_of(asked, before_training(asked) | head)
    found = training.evaluate(first, asked.data.images[FEW], asked.data.labels[FEW])
    assert probed.scores["loss_validation_few"] == pytest.approx(found.loss, rel=1e-3)
    moved = lpft.run(request("lpft", norm))[0]
    assert all((moved.final[name] != probed.final[name]).any() for name in ("head.weight", "layer1.weight"))
    assert moved.history["loss_train"][0] < finetune.run(request("finetune", norm))[0].history["loss_train"][0]


@pytest.mark.parametrize(
    ("mode", "run"),
    [
        ("finetune", finetune),
        ("freeze-1", freeze),
        ("probe", probe),
        ("probe-1", probe),
        ("svm-1", svm),
        ("lpft", lpft),
    ],
)
def test_every_mode_scores_the_same_things(mode: str, run: Any):
    outcome: Outcome = run.run(request(mode))[0]
    parts = ("train", "validation", "validation_few", "test", "test_few")
    scores = {f"{score}_{part}" for part in parts for score in ("top1", "loss")}
    told = {"diverged", "collapsed", "balanced_test", "steps", "converged", "strength", "strength_few"}
    assert set(outcome.scores) == scores | told
    assert outcome.scores["converged"] is True
    if mode in ("finetune", "freeze-1"):
        assert outcome.scores["top1_test_few"] == outcome.scores["top1_test"]
    assert math.isnan(outcome.scores["strength"]) == (mode in ("finetune", "freeze-1"))
