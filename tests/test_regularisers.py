"""Regularisers: each gradient is that of its penalty, at strength 0 there is none, and what is drawn is drawn once."""

import copy
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, plan_of, put, tiny, trains
from nets import plain
from torch import Tensor
from torch.nn import functional

from whypretrain import registry
from whypretrain.config.models import ConfigError
from whypretrain.jobs.fingerprints import PACKAGE, closure, fingerprint, stage_fingerprint
from whypretrain.jobs.plan import Plan
from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import initialise, initialise_head
from whypretrain.networks.network import Network
from whypretrain.randomness import stream
from whypretrain.registry import constants
from whypretrain.training import loop as training
from whypretrain.training import regularising
from whypretrain.training.data import TargetData
from whypretrain.training.modes import finetune, freeze
from whypretrain.training.moding import parse
from whypretrain.training.regularisers import augmentation
from whypretrain.training.regularising import NONE, Regulariser
from whypretrain.training.runs import Outcome, Request

torch.set_num_threads(1)

NAMES = registry.names("regularisers")
STRENGTHS = {
    "augmentation": 0.2,
    "dropout": 0.4,
    "gradient-noise": 0.01,
    "input-noise": 0.3,
    "l1": 0.01,
    "l2": 0.05,
    "l2-sp": 0.5,
    "label-smoothing": 0.2,
}
OF_IMAGES = ("augmentation", "input-noise")
CLASSES = 3
NORMS = pytest.mark.parametrize("norm", ["batch", "none"])

Weights = dict[str, np.ndarray]


def described(norm: str = "batch") -> Card:
    return plain(widths=(6, 8), kernels=(5, 3), pool_after=(1,), norm=norm)


def start_of(norm: str = "batch") -> Weights:
    return initialise(described(norm), np.random.default_rng(0))


def data_of(n: int = 30) -> TargetData:
    """Noisy images whose class is where they are bright."""
    generator = np.random.default_rng(0)
    images, labels = {}, {}
    for part in ("train", "validation", "test"):
        truth = np.arange(n) % CLASSES
        pixels = generator.normal(0, 1, (n, 1, 9, 9))
        for image, label in zip(pixels, truth, strict=True):
            image[0, :, 3 * label : 3 * label + 3] += 0.5 * (1 + label)
        images[part] = torch.from_numpy(pixels.astype(np.float32)).contiguous(memory_format=torch.channels_last)
        labels[part] = torch.from_numpy(truth)
    return TargetData(images, labels, CLASSES)


def chosen(name: str, strength: float | None = None) -> dict[str, Any]:
    return {"name": name, "strength": STRENGTHS[name] if strength is None else strength}


def request(regulariser: dict[str, Any] | None, norm: str = "batch", mode: str = "finetune", **recipe: Any) -> Request:
    values = {
        "epochs": 0,
        "min_steps": 20,
        "batch_size": 16,
        "weight_decay": 0.01,
        "warmup_share": 0.1,
        "epoch_steps": 10,
        "schedule": "cosine",
        "decay_share": 0.0,
        "regulariser": regulariser,
    }
    device = torch.device("cpu")
    return Request(start_of(norm), described(norm), data_of(), "easy", values | recipe, 0.1, 0, device, parse(mode))


def network_of(norm: str = "batch") -> Network:
    network = build(described(norm), CLASSES)
    network.load(start_of(norm) | initialise_head(described(norm), CLASSES, np.random.default_rng(1)))
    return network


def moved(network: Network) -> Network:
    """A network that has learnt a little: no weight is what it was."""
    generator = torch.Generator().manual_seed(0)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return other


def built(name: str, network: Network, strength: float | None = None, seed: int = 0) -> Regulariser:
    return regularising.build(chosen(name, strength), network, [stream("regulariser", seed, "easy")])


def hooks(name: str, network: Network, strength: float | None = None) -> SimpleNamespace:
    """What such a regulariser does to the images (n, ...), features (n, d) and gradients of one network."""
    found = built(name, network, strength)
    (generator,) = found.generators
    return SimpleNamespace(
        images=lambda images: found.images(images, generator),
        features=lambda features: found.features(features[None], generator)[0],
        gradients=lambda network, number: found.gradients(network, number, found.generators),
    )


def same(a: Outcome, b: Outcome) -> bool:
    read_out = all(
        repr(x) == repr(y) for x, y in ((a.history, b.history), (a.kernels, b.kernels), (a.scores, b.scores))
    )
    return read_out and all(a.final[name].tobytes() == b.final[name].tobytes() for name in a.final)


def one_step(network: Network, regulariser: Regulariser, rate: float = 1.0) -> Iterator[training.Step]:
    data = data_of()
    return training.train(
        network,
        [data.images["train"]],
        [data.labels["train"]],
        rates=[lambda _: rate],
        steps=1,
        batch_size=30,
        weight_decay=0.0,
        orders=[np.random.default_rng(0)],
        regulariser=regulariser,
    )


def test_all_regularisers_are_tested():
    assert set(STRENGTHS) == set(NAMES)
    assert {name for name in NAMES if constants("regularisers", name).get("OF_IMAGES")} == set(OF_IMAGES)


# --- penalties -----------------------------------------------------------------------------


def penalty_l1(name: str, weight: Tensor, start: Tensor | None) -> Tensor:
    return STRENGTHS["l1"] * weight.abs().sum()


def penalty_l2(name: str, weight: Tensor, start: Tensor | None) -> Tensor:
    return STRENGTHS["l2"] / 2 * weight.square().sum()


def penalty_l2_sp(name: str, weight: Tensor, start: Tensor | None) -> Tensor:
    return torch.zeros(()) if start is None else STRENGTHS["l2-sp"] / 2 * (weight - start).square().sum()


PENALTIES = {"l1": penalty_l1, "l2": penalty_l2, "l2-sp": penalty_l2_sp}


@NORMS
@pytest.mark.parametrize("name", PENALTIES)
def test_the_gradient_is_that_of_the_penalised_loss(norm: str, name: str):
    origin, data = network_of(norm), data_of()
    network = moved(origin).train()
    twin = copy.deepcopy(network)
    functional.cross_entropy(network(data.images["train"]), data.labels["train"]).backward()
    hooks(name, origin).gradients(network, 1)
    starts = {
        key: None if key.startswith("head.") else values.detach() for key, values in origin.module.named_parameters()
    }
    loss = functional.cross_entropy(twin(data.images["train"]), data.labels["train"])
    for key, weight in twin.module.named_parameters():
        if key.endswith(".weight") and not key.startswith("norm"):  # neither biases nor norms
            loss = loss + PENALTIES[name](key, weight, starts[key])
    loss.backward()
    for (key, parameter), expected in zip(network.module.named_parameters(), twin.module.parameters(), strict=True):
        assert parameter.grad is not None
        assert not parameter.grad.requires_grad
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-5, atol=1e-7, msg=key)


@pytest.mark.parametrize(
    ("name", "pull"),
    [
        ("l1", lambda weight, start: 0.01 * weight.sign()),
        ("l2", lambda weight, start: 0.05 * weight),
        ("l2-sp", lambda weight, start: 0.5 * (weight - start)),
    ],
)
def test_a_penalty_pulls_at_convolutions_as_its_closed_form_says(name: str, pull: Callable[[Tensor, Tensor], Tensor]):
    origin = network_of()
    network = moved(origin)
    for parameter in network.module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    hooks(name, origin).gradients(network, 1)
    for key, parameter in network.module.named_parameters():
        assert parameter.grad is not None
        if key.startswith("layer"):
            expected = pull(parameter.detach(), origin.module.get_parameter(key).detach())
            torch.testing.assert_close(parameter.grad, expected)
        elif key != "head.weight":
            assert not parameter.grad.any(), key
    head = network.module.head.weight
    assert head.grad is not None
    assert head.grad.any() == (name != "l2-sp"), "the head has no start to be pulled to"


def test_l1_leaves_a_weight_of_zero_where_it_is():
    network = network_of()
    for parameter in network.module.parameters():
        parameter.grad = torch.zeros_like(parameter)
        parameter.data.zero_()
    hooks("l1", network).gradients(network, 1)
    assert not any(parameter.grad.any() for parameter in network.module.parameters() if parameter.grad is not None)


def test_l2_is_weight_decay():
    decayed = finetune.run(request(None, weight_decay=0.07))[0]
    for asked in (request(chosen("l2", 0.07), weight_decay=0.0), request(chosen("l2", 0.04), weight_decay=0.03)):
        outcome = finetune.run(asked)[0]
        for name, array in outcome.final.items():
            np.testing.assert_allclose(array, decayed.final[name], rtol=1e-3, atol=1e-5)
    plain = finetune.run(request(None, weight_decay=0.0))[0]
    assert np.abs(plain.final["layer2.weight"] - decayed.final["layer2.weight"]).max() > 1e-3


@NORMS
def test_l2_sp_keeps_layers_by_the_start_the_more_the_stronger_it_is(norm: str):
    def distance(regulariser: dict[str, Any] | None) -> float:
        asked = request(regulariser, norm)
        final = finetune.run(asked)[0].final
        names = [name for name in asked.start if name.startswith("layer") and name.endswith("weight")]
        return math.sqrt(sum(float(((final[name] - asked.start[name]) ** 2).sum()) for name in names))

    free, weak, strong = (distance(each) for each in (None, chosen("l2-sp", 0.3), chosen("l2-sp", 3.0)))
    assert strong < weak < free
    assert strong < 0.5 * free


def test_what_is_frozen_is_not_penalised():
    origin = network_of()
    network = moved(origin)
    network.freeze(1, network.traced(data_of().images["train"]))
    functional.cross_entropy(network(data_of().images["train"]), data_of().labels["train"]).backward()
    for name in ("l1", "l2", "l2-sp", "gradient-noise"):
        hooks(name, origin).gradients(network, 1)
    assert network.module.get_parameter("layer1.weight").grad is None
    for name in ("l1", "l2-sp", "gradient-noise", "dropout", "label-smoothing"):
        asked = request(chosen(name), mode="freeze-1")
        final = freeze.run(asked)[0].final
        assert final["layer1.weight"].tobytes() == asked.start["layer1.weight"].tobytes()


def test_gradients_are_clipped_with_the_penalty_inside():
    # from rest, a step of rate 1 moves all weights by 1 + momentum times the gradient (Nesterov), clipped to norm 1
    network = network_of("none")
    before = torch.cat([parameter.detach().flatten() for parameter in network.module.parameters()])
    list(one_step(network, built("l2", network, 100.0)))
    after = torch.cat([parameter.detach().flatten() for parameter in network.module.parameters()])
    assert float((after - before).norm()) == pytest.approx(1 + training.MOMENTUM, rel=1e-3)


# --- strength 0, and the same bits ---------------------------------------------------------


@NORMS
@pytest.mark.parametrize("name", NAMES)
def test_strength_0_is_no_regulariser_bit_by_bit_and_another_strength_is_one(norm: str, name: str):
    plain = finetune.run(request(None, norm))[0]
    assert same(finetune.run(request(chosen(name, 0.0), norm))[0], plain)
    assert not same(finetune.run(request(chosen(name), norm))[0], plain)


@pytest.mark.parametrize("name", NAMES)
def test_a_regularised_run_is_the_same_bits_twice_and_learns(name: str):
    first, again = (finetune.run(request(chosen(name), min_steps=60))[0] for _ in range(2))
    assert same(first, again)
    assert first.scores["top1_test"] > 0.5
    assert not first.scores["diverged"]


def test_evaluation_knows_no_regulariser():
    # the read-out before the first step: the same loss on the same images
    plain = finetune.run(request(None))[0].history
    for name in NAMES:
        found = finetune.run(request(chosen(name)))[0].history
        assert found["loss_train"][0] == plain["loss_train"][0]
        assert found["loss_validation"][0] == plain["loss_validation"][0]


def test_each_seed_and_target_draws_its_own():
    network = network_of()
    images = data_of().images["train"]
    drawn = [
        regularising.build(chosen("input-noise"), network, [stream("regulariser", *keys)]).on_images([images])[0]
        for keys in ((0, "easy"), (0, "easy"), (1, "easy"), (0, "hard"))
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[3])


def test_no_regulariser_changes_nothing():
    assert regularising.build(None, network_of(), [stream("regulariser", 0, "easy")]) is NONE


def test_an_unknown_regulariser_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"unknown regulariser 'l3'; allowed: augmentation, .*l2-sp"):
        regularising.build({"name": "l3", "strength": 1.0}, network_of(), [stream("regulariser", 0, "easy")])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["dropout", "input-noise", "augmentation"])
def test_what_is_drawn_does_not_depend_on_the_device(name: str):
    images = data_of().images["train"]
    found = []
    for device in ("cpu", "cuda"):
        regulariser = hooks(name, network_of().to(device))
        hook, given = (
            (regulariser.images, images) if name in OF_IMAGES else (regulariser.features, images.flatten(1)[:, :8])
        )
        found.append(hook(given.to(device)).cpu())
    torch.testing.assert_close(found[0], found[1])


# --- what each of them draws ---------------------------------------------------------------


def test_dropout_drops_its_share_and_keeps_the_mean():
    drop = hooks("dropout", network_of(), 0.3).features
    features = torch.ones(400, 250)
    dropped = drop(features)
    n = dropped.numel()
    assert float((dropped == 0).double().mean()) == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / n))
    assert float(dropped.double().mean()) == pytest.approx(1, abs=5 * math.sqrt(0.3 / 0.7 / n))
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7))}
    assert not torch.equal(drop(features), dropped), "each batch has its own"


def test_dropped_features_pass_no_gradient_and_kept_ones_a_larger_one():
    features = torch.ones(4, 50, requires_grad=True)
    dropped = hooks("dropout", network_of(), 0.5).features(features)
    dropped.sum().backward()
    assert features.grad is not None
    torch.testing.assert_close(features.grad, dropped.detach())


def test_input_noise_has_its_standard_deviation_and_no_mean():
    images = torch.full((200, 1, 20, 20), 3.0)
    noise = hooks("input-noise", network_of(), 0.25).images(images) - images
    n = noise.numel()
    assert float(noise.double().mean()) == pytest.approx(0, abs=5 * 0.25 / math.sqrt(n))
    assert float(noise.double().std()) == pytest.approx(0.25, rel=5 / math.sqrt(2 * n))
    assert torch.equal(images, torch.full((200, 1, 20, 20), 3.0)), "the images themselves stay"


@pytest.mark.parametrize("number", [1, 2, 50])
def test_gradient_noise_has_the_variance_of_its_step(number: int):
    network = network_of()
    add_noise = hooks("gradient-noise", network, 0.3).gradients
    draws = []
    for _ in range(60):
        for parameter in network.module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        add_noise(network, number)
        assert all(parameter.grad.any() for parameter in network.module.parameters() if parameter.grad is not None)
        draws += [parameter.grad.flatten() for parameter in network.module.parameters() if parameter.grad is not None]
    noise = torch.cat(draws).double()
    variance = 0.3 / (1 + (number - 1)) ** 0.55
    assert float(noise.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / len(noise)))
    assert float(noise.mean()) == pytest.approx(0, abs=5 * math.sqrt(variance / len(noise)))
    assert len(noise.unique()) > 0.9 * len(noise), "each parameter and step has its own"


def test_label_smoothing_takes_the_gradient_of_the_smoothed_labels_and_reports_the_plain_loss():
    network, twin, data = network_of(), network_of(), data_of()
    images, labels = data.images["train"], data.labels["train"]
    logits = twin.train()(images)
    # the gradient of cross-entropy is softmax minus target
    target = 0.8 * functional.one_hot(labels, CLASSES) + 0.2 / CLASSES
    logits.backward((logits.softmax(1) - target).detach() / len(labels))
    (step,) = one_step(network, built("label-smoothing", network), rate=0.0)
    for (name, parameter), expected in zip(network.module.named_parameters(), twin.module.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-6, msg=name)
    assert float(step.loss) == pytest.approx(float(functional.cross_entropy(logits, labels).detach()), rel=1e-5)


@pytest.mark.parametrize("name", ["dropout", "input-noise", "augmentation"])
def test_a_step_reports_the_batch_as_it_was_trained_on(name: str):
    network, twin, data = network_of(), network_of(), data_of()
    (step,) = one_step(network, built(name, network), rate=0.0)
    twin.train()
    order = next(training.batches(30, 30, np.random.default_rng(0)))
    images, truth = data.images["train"][order], data.labels["train"][order]
    other = hooks(name, twin)
    with torch.no_grad():
        logits = twin.head(other.features(twin.features(other.images(images))))
    assert float(step.loss) == float(functional.cross_entropy(logits, truth))
    assert int(step.correct) == int((logits.argmax(1) == truth).sum())
    assert float(step.loss) != float(functional.cross_entropy(twin(images).detach(), truth))


# --- augmentation --------------------------------------------------------------------------


def test_a_shift_is_numpys_of_the_image_with_its_edge_going_on():
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    found = augmentation.shift(images, torch.tensor([1, -2]), torch.tensor([-1, 3]))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="edge")
    np.testing.assert_array_equal(found[0], padded[0, :, 3 - 1 : 7 - 1, 3 + 1 : 8 + 1])
    np.testing.assert_array_equal(found[1], padded[1, :, 3 + 2 : 7 + 2, 3 - 3 : 8 - 3])


@pytest.mark.parametrize(
    ("strength", "side", "most"), [(0, 9, 0), (0.01, 16, 1), (0.125, 16, 2), (0.1, 30, 3), (0.5, 9, 5)]
)
def test_the_largest_shift_is_the_share_of_the_side_in_whole_pixels(strength: float, side: int, most: int):
    assert augmentation.reach(strength, side) == most


@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_moves_pixels_only_and_keeps_shape_and_range(channels: int):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((300, channels, 10, 14), generator=generator).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    found = hooks("augmentation", network_of(), 0.2).images(images)
    assert torch.equal(images, before)
    assert (found.shape, found.dtype, found.stride()) == (images.shape, images.dtype, images.stride())
    shifts = set()
    for image, shifted in zip(images, found, strict=True):
        assert set(shifted.flatten().tolist()) <= set(image.flatten().tolist())
        row, column = (int(place[0]) for place in torch.where(image[0] == shifted[0, 4, 6]))
        down, right = 4 - row, 6 - column
        shifts.add((down, right))
        # all channels alike, and the part that stays in view is as it was
        inner = shifted[:, max(0, down) : 10 + min(0, down), max(0, right) : 14 + min(0, right)]
        assert torch.equal(inner, image[:, max(0, -down) : 10 - max(0, down), max(0, -right) : 14 - max(0, right)])
    assert {down for down, _ in shifts} == set(range(-2, 3))
    assert {right for _, right in shifts} == set(range(-3, 4))
    assert len(shifts) > 25, "each image has its own, along each axis"


# --- config --------------------------------------------------------------------------------


def with_recipe(regulariser: Any) -> dict[str, Any]:
    """The tiny study with a regularised recipe beside its own, used by the first block of the grid."""
    recipe = tiny()["recipes"]["short"] | {"regulariser": regulariser}
    return put(put(tiny(), "recipes.held", recipe), "studies.tiny.grid.0.recipes", ["short", "held"])


@pytest.mark.parametrize(
    ("regulariser", "expected"),
    [
        (
            {"name": "L2-SP", "strength": 1},
            ["recipes.held.regulariser.name: 'L2-SP' is unknown; allowed: augmentation, dropout", *NAMES],
        ),
        ({"name": "weight-decay", "strength": 1}, ["recipes.held.regulariser.name", "'weight-decay'", "l2-sp"]),
        (
            {"name": "dropout", "strength": 1},
            ["recipes.held.regulariser.strength: is 1.0", "share of features", "allowed: 0 or more, below 1.0"],
        ),
        ({"name": "dropout", "strength": 50}, ["recipes.held.regulariser.strength: is 50.0", "below 1.0"]),
        ({"name": "label-smoothing", "strength": 1.0}, ["recipes.held.regulariser.strength: is 1.0", "below 1.0"]),
        (
            {"name": "augmentation", "strength": 0.51},
            ["recipes.held.regulariser.strength: is 0.51", "share of the side", "allowed: 0 or more, up to 0.5"],
        ),
        ({"name": "l2", "strength": -1}, ["recipes.held.regulariser.strength", "-1", "greater than or equal to 0"]),
        ({"name": "l2", "strength": math.inf}, ["recipes.held.regulariser.strength", "inf", "finite"]),
        ({"name": "l2", "strength": "much"}, ["recipes.held.regulariser.strength", "'much'", "number"]),
        ({"name": "l2"}, ["recipes.held.regulariser.strength: is missing"]),
        ({"name": "l2", "strengths": [1]}, ["recipes.held.regulariser.strengths: no such key", "'strength'"]),
        ("l2", ["recipes.held.regulariser", "'l2'", "dictionary"]),
    ],
)
def test_a_mistake_is_one_message_that_names_the_key_and_what_is_allowed(regulariser: Any, expected: list[str]):
    with pytest.raises(ConfigError) as caught:
        plan_of(with_recipe(regulariser))
    for text in expected:
        assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("strength", [0, 0.5])
def test_the_ends_of_what_is_allowed_are_allowed(strength: float):
    for name in NAMES:
        plan_of(with_recipe({"name": name, "strength": strength}))


@pytest.mark.parametrize("name", NAMES)
def test_images_that_change_are_refused_where_frozen_layers_are_run_once(name: str):
    raw = with_recipe({"name": name, "strength": 0.1})
    raw = put(put(raw, "studies.tiny.grid.0.modes", ["finetune", "freeze-N"]), "studies.tiny.grid.0.layers", [0])
    plan_of(raw)  # freeze-0 is fine-tuning
    raw = put(raw, "studies.tiny.grid.0.layers", [1])
    if name not in OF_IMAGES:
        plan_of(raw)
        return
    with pytest.raises(
        ConfigError, match=rf"studies\.tiny\.grid\.0\.recipes: 'held' .*\({name}\).*'freeze-1'.*allowed"
    ):
        plan_of(raw)


def regularised_specs(plan: Plan) -> dict[str, Any]:
    found = {}
    for arm in plan.arms:
        spec = trains(plan, arm).spec(SimpleNamespace(**arm.columns(), learning_rate="0.1"), (0,))
        found[arm.recipe] = spec["recipe"]["regulariser"]
    return found


def test_the_spec_of_a_run_says_its_regulariser():
    found = regularised_specs(plan_of(with_recipe({"name": "l2-sp", "strength": 0.1})))
    assert found == {"short": None, "held": {"name": "l2-sp", "strength": 0.1}}


# --- code ----------------------------------------------------------------------------------

TRAINING = ("whypretrain.stages.train_run", "whypretrain.training.modes.finetune")


@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_a_run_holds_the_regulariser_of_its_recipe_alone(name: str):
    plan = plan_of(with_recipe({"name": name, "strength": 0.1}))
    module = registry.module_name("regularisers", name)
    codes = {arm.recipe: trains(plan, arm).code(arm) for arm in plan.arms}
    assert codes["held"] == stage_fingerprint("train_run", [TRAINING[1], module])
    assert codes["short"] == stage_fingerprint("train_run", [TRAINING[1]])
    assert not [each for each in closure(TRAINING) if each.startswith("whypretrain.training.regularisers.")]
    reached = {each for each in closure((*TRAINING, module)) if each.startswith("whypretrain.training.regularisers.")}
    assert reached == {module}


def test_a_change_to_one_regulariser_retrains_its_runs_only(tmp_path: Path):
    changed = tmp_path / "whypretrain"
    shutil.copytree(PACKAGE, changed, ignore=shutil.ignore_patterns("__pycache__"))
    file = changed / "training" / "regularisers" / "l1.py"
    text = file.read_text()
    file.write_text(text.replace("weight.sign()", "weight.tanh()"))
    assert file.read_text() != text
    for name in NAMES:
        modules = (*TRAINING, registry.module_name("regularisers", name))
        assert (fingerprint(modules, changed) == fingerprint(modules)) == (name != "l1")
    assert fingerprint(TRAINING, changed) == fingerprint(TRAINING)


def test_planning_regularised_runs_imports_no_torch():
    program = f"""
import sys
sys.path[:0] = [{str(ROOT / "workflow")!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
from whypretrain.config import models as config
from whypretrain.jobs.plan import Plan, pinned_versions
plan = Plan(config.load({with_recipe({"name": "augmentation", "strength": 0.1})!r}, Path({str(ROOT)!r})),
            pinned_versions(Path({str(ROOT / "envs" / "requirements.txt")!r})))
assert [form.code(arm) for arm in plan.arms for form in plan.forms_of("train_run") if form.recipe == arm.recipe]
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_head_weights_are_no_part_of_the_start():
    # so a source's own head, or a probe's, pulls at nothing
    asked = request(chosen("l2-sp"))
    with_head = asked.start | initialise_head(described(), 9, np.random.default_rng(5))
    other = finetune.run(Request(**{**vars(asked), "start": with_head}))[0]
    assert same(finetune.run(asked)[0], other)
