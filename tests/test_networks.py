"""Networks of torchvision and timm: their cards, what is done to their weights, how they learn and are read.

Some are tried here; `make test-networks` tries all whose cards are shipped, and ten of timm.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import sklearn
import torch
from conftest import NOWHERE, ROOT, Project, fresh, plan_of, put, tiny
from nets import plain
from PIL import Image
from torch import nn

from whypretrain import registry
from whypretrain.config.models import ConfigError
from whypretrain.data.tasks import FEW
from whypretrain.files.storage import read_columns, read_tensors, write_tensors
from whypretrain.grid.spans import in_layers, span_layers
from whypretrain.networks import card as cards
from whypretrain.networks.architecture import Named, card_of
from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.couplings import check_kept, couplings
from whypretrain.networks.describing import describe
from whypretrain.networks.initialisation import head_of, initialise, initialise_head
from whypretrain.networks.network import Weights, activations, reestimate_statistics
from whypretrain.networks.published import class_names, fitting, read_published
from whypretrain.networks.tracing import Place, trace
from whypretrain.training.data import TargetData
from whypretrain.training.loop import standardise
from whypretrain.training.moding import parse
from whypretrain.training.runs import Request
from whypretrain.treatments.treating import apply_treatment

CLASSES = 2
FEW_OF_TORCHVISION = (
    "densenet121",
    "efficientnet_b0",
    "efficientnet_b1",
    "googlenet",
    "mnasnet0_5",
    "mnasnet1_0",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnet34",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "swin_t",
)
SLOW = ("swin_t",)  # a minute; with those of the cluster
FEW_OF_TIMM = ("tf_efficientnet_lite0", "resnetv2_50", "convnextv2_atto")
OF_TIMM = (
    *FEW_OF_TIMM,
    "nf_resnet50",
    "eca_resnet33ts",
    "mixer_b16_224",
    "vit_tiny_patch16_224",
    "mobilenetv4_conv_small",
    "resnet50d",
    "repvgg_a0",
)
# whose channels torch-pruning finds; of the others not (they are refused) or not looked at
PERMUTED = (
    *(
        "resnet18",
        "resnet50",
        "resnext50_32x4d",
        "regnet_x_400mf",
        "regnet_y_400mf",
        "densenet121",
        "googlenet",
        "vgg11",
    ),
    *(
        "alexnet",
        "squeezenet1_1",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "mnasnet0_5",
        "efficientnet_b0",
        "efficientnet_v2_s",
    ),
)


def named(names: tuple[str, ...], few: tuple[str, ...]) -> list[Any]:
    """All names as parameters; those that aren't among the few are run by `make test-networks` alone."""

    def marks(name: str) -> tuple[pytest.MarkDecorator, ...]:
        if name not in few:
            return (pytest.mark.networks,)
        return (pytest.mark.soak,) if name in SLOW else ()

    return [pytest.param(name, marks=marks(name.partition("/")[2])) for name in names]


ALL = named(cards.shipped(), FEW_OF_TORCHVISION)
NETWORKS = [*ALL, *named(tuple(f"timm/{name}" for name in OF_TIMM), FEW_OF_TIMM)]


@cache
def card(network: str, stem: str = "own") -> Card:
    architecture = Named(network=network, stem=stem)
    if network.startswith("torchvision/"):
        return card_of("net", architecture)
    return replace(describe(network), architecture={"name": "net", **architecture.model_dump()})


def size_of(own: Card) -> int:
    return own.size if own.fixed else max(own.least, 32)


def data_of(own: Card, n: int = 6) -> TargetData:
    generator = torch.Generator().manual_seed(0)
    images = {
        part: torch.randn(n, own.channels, size_of(own), size_of(own), generator=generator).contiguous(
            memory_format=torch.channels_last
        )
        for part in ("train", "validation", "test", FEW)
    }
    return TargetData(images, dict.fromkeys(images, torch.arange(n) % CLASSES), CLASSES)


RECIPE = {"epochs": 0, "min_steps": 2, "batch_size": 6, "weight_decay": 1e-4, "warmup_share": 0.0, "epoch_steps": 2}
RECIPE |= {"schedule": "cosine", "decay_share": 0.0, "regulariser": None}


def request(own: Card, start: Weights, mode: str) -> Request:
    learns = not mode.startswith(("probe", "svm"))
    recipe, rate = (RECIPE, 1e-3) if learns else (None, None)
    return Request(start, own, data_of(own), "easy", recipe, rate, 0, torch.device("cpu"), parse(mode))


def modes_of(own: Card) -> Iterator[str]:
    middle = max(1, own.depth // 2)
    yield from ("finetune", f"freeze-{middle}", "probe", "probe-1", f"svm-{middle}", "lpft")


# --- every network --------------------------------------------------------------------------


@pytest.mark.parametrize("network", ALL)
def test_a_shipped_card_is_what_the_network_shows(network: str) -> None:
    assert describe(network) == card(network)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_is_treated_written_and_trained(network: str, tmp_path: Path) -> None:
    own = card(network)
    start = initialise(own, np.random.default_rng(0))
    assert set(start) == set(own.tensors())
    write_tensors(tmp_path / "start.safetensors", start, NOWHERE)
    start = read_tensors(tmp_path / "start.safetensors")
    layers = span_layers("top-2", own)
    treated = apply_treatment(start, "shuffle-kernels", layers, 0, own)
    moved = {weight.name for number in layers for weight in own.layer(number).weights}
    assert {name for name in start if treated[name] is not start[name]} == moved
    for name in moved:
        assert np.array_equal(np.sort(treated[name], axis=None), np.sort(start[name], axis=None))
        kernels = [np.unique(each[name].reshape(-1, *each[name].shape[2:]), axis=0) for each in (start, treated)]
        np.testing.assert_array_equal(*kernels)
    for mode in modes_of(own):
        asked = request(own, treated, mode)
        outcome = registry.load("modes", asked.mode.name).run(asked)[0]
        assert set(outcome.final) - set(head_of(own, outcome.final)) == set(own.tensors(asked.mode.layer))
        if asked.mode.frozen:
            frozen = [name for name in own.tensors(asked.mode.frozen) if "running" not in name]
            assert all(np.array_equal(outcome.final[name], treated[name]) for name in frozen)
        if mode == "finetune" and not outcome.scores["diverged"]:
            last = own.layers[-1].weight.name
            assert not np.array_equal(outcome.final[last], treated[last])


@pytest.mark.parametrize("network", NETWORKS)
@torch.no_grad()
def test_features_are_what_the_head_takes(network: str) -> None:
    own = card(network)
    built = build(own, CLASSES)
    head = initialise_head(own, CLASSES, np.random.default_rng(1))
    built.load(initialise(own, np.random.default_rng(0)) | head)
    images = data_of(own).images["test"]
    reestimate_statistics(built, images)
    taken: list[torch.Tensor] = []
    hook = built.head.register_forward_pre_hook(lambda module, inputs: taken.append(inputs[0]))  # type: ignore[union-attr]
    logits = built(images)
    hook.remove()
    expected = taken[0].mean((2, 3)) if taken[0].ndim == 4 else taken[0]
    features = built.features(images)
    torch.testing.assert_close(features, expected)
    if not own.head_convolves:
        weight, bias = (torch.from_numpy(head[f"{own.head}.{name}"]) for name in ("weight", "bias"))
        torch.testing.assert_close(features @ weight.T + bias, logits, rtol=1e-3, atol=1e-4)


def shaken(own: Card) -> Weights:
    """Weights whose one-dimensional tensors are all random, so that a wrong permutation shows."""
    generator = np.random.default_rng(0)
    weights = initialise(own, generator) | initialise_head(own, CLASSES, generator)
    return {
        name: generator.uniform(0.5, 1.5, array.shape).astype(np.float32) if array.ndim == 1 else array
        for name, array in weights.items()
    }


@pytest.mark.parametrize(
    "network", named(tuple(f"torchvision/{name}" for name in PERMUTED), ("resnet18", "squeezenet1_1"))
)
def test_permuting_channels_keeps_the_logits(network: str) -> None:
    own = card(network)
    weights = shaken(own)
    permuted = apply_treatment(weights, "permute-channels", span_layers("all", own), 0, own)  # raises where they move
    changed = {name for name in weights if not np.array_equal(weights[name], permuted[name])}
    assert len(changed) > len(weights) / 2


def test_logits_that_move_are_seen() -> None:
    own = card("torchvision/resnet18")
    weights = shaken(own)
    name = "layer1.0.conv1.weight"
    with pytest.raises(ValueError, match="moves its logits"):
        check_kept(own, weights, weights | {name: weights[name][::-1].copy()}, 64)


def test_what_cant_be_permuted_is_refused_in_one_sentence() -> None:
    own = card("torchvision/shufflenet_v2_x0_5")
    with pytest.raises(ValueError, match=r"go together can't be found \(\w+\)$"):
        couplings(own, 64)


# --- what a card says -------------------------------------------------------------------------


def test_layers_come_in_forward_order_with_shortcuts_gates_and_norms() -> None:
    resnet = card("torchvision/resnet18")
    assert (resnet.depth, resnet.head, resnet.features, resnet.stem_stride) == (17, "fc", 512, 4)
    shortcuts = [weight.name for layer in resnet.layers for weight in layer.weights if weight.role == cards.SHORTCUT]
    assert shortcuts == [f"layer{stage}.0.downsample.0.weight" for stage in (2, 3, 4)]
    branch = next(layer for layer in resnet.layers if layer.weight.name == "layer2.0.conv2.weight")
    assert [weight.role for weight in branch.weights] == [cards.TRUNK, cards.SHORTCUT]
    assert branch.weights[1].norms == ("layer2.0.downsample.1",)
    mobile = card("torchvision/mobilenet_v3_small")
    gated = mobile.layer(2)
    assert gated.weight.groups == gated.weight.shape[0]
    assert [weight.role for weight in gated.weights] == [cards.TRUNK, cards.GATE, cards.GATE]


def test_a_plain_convnets_card_is_what_the_network_shows() -> None:
    for norm in ("batch", "none"):
        own = plain(widths=(4, 8, 8), kernels=(5, 3, 1), pool_after=(1, 2), norm=norm)
        assert trace(build(own, 3).eval().module, torch.zeros(1, 1, 16, 16)).layers == own.layers


def test_spans_count_convolutions_and_above_counts_layers() -> None:
    alexnet = card("torchvision/alexnet")  # five convolutions and two linear layers before its head
    assert span_layers("all", alexnet) == (1, 2, 3, 4, 5)
    assert span_layers("top-2", alexnet) == (4, 5)
    assert span_layers("above-4", alexnet) == (5, 6, 7)
    vit = card("torchvision/vit_b_16")  # one convolution, the patches'
    assert span_layers("top-1", vit) == (vit.depth,)


def test_numbers_may_count_the_blocks_of_a_residual_network() -> None:
    own = card("torchvision/resnet18")
    assert own.ends == (1, 3, 5, 7, 9, 11, 13, 15, 17)
    told = {
        "freeze-2": "freeze-3",
        "svm-9+source-norm": "svm-17+source-norm",
        "above-1": "above-1",
        "above-3": "above-5",
    }
    told |= {"top-1": "top-2", "bottom-2": "bottom-3", "only-1": "bottom-1", "freeze-0": "freeze-0", "all": "all"}
    assert {text: in_layers(text, own) for text in told} == told
    for text, message in {"freeze-10": "blocks 1 to 9", "only-2": "no span names these alone"}.items():
        with pytest.raises(ValueError, match=message):
            in_layers(text, own)


def test_a_small_stem_keeps_the_size_of_small_images() -> None:
    own, small = card("torchvision/resnet18"), card("torchvision/resnet18", "small")
    assert small.layers[0].weight.shape == (64, 3, 3, 3)
    assert (own.least, small.least) == (32, 8)
    built = build(small, CLASSES).eval()
    shapes = built.traced(torch.zeros(1, 3, 32, 32)).shapes
    assert shapes[Place("layer1", 0)][2:] == (32, 32)
    with pytest.raises(ValueError, match="no stem that makes images smaller"):
        cards.with_small_stem(plain(widths=(4,), kernels=(3,)))


def test_activations_are_the_same_however_many_are_held_at_once() -> None:
    own = card("torchvision/resnet18")
    built = build(own, CLASSES).eval()
    images = data_of(own).images["test"]
    places = [built.traced(images).activations[number] for number in (1, 2, 9, 17)]
    together, one_by_one = (list(activations(built, images, places, held=held)) for held in (2**28, 1))
    for a, b in zip(together, one_by_one, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_network_can_be_entered_where_one_tensor_crosses_and_only_there() -> None:
    built = build(card("torchvision/resnet18"), CLASSES).eval()
    images = data_of(built.card).images["test"]
    entered = [number for number in range(1, 18) if built.entry(number, images)]
    assert entered == [1, 3, 5, 7, 9, 11, 13, 15, 17]
    entry = built.entry(5, images)
    assert entry is not None
    with torch.no_grad():
        inputs, whole = built.until(entry.place, images), built(images)
        with built.entered(entry):
            torch.testing.assert_close(built(inputs), whole, rtol=0, atol=0)
        torch.testing.assert_close(built(images), whole, rtol=0, atol=0)


# --- what can't be -----------------------------------------------------------------------------


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x.flatten(1)) + self.b(x.flatten(1))


def test_a_network_without_one_head_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one classifier"):
        trace(TwoHeads(), torch.zeros(1, 1, 2, 2))
    with pytest.raises(ValueError, match="no single output"):
        trace(nn.Conv2d(1, 2, 1), torch.zeros(1, 1, 2, 2))


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a name that is none": (
        {"network": "torchvision/resnet81"},
        "architectures.tiny: torchvision has no classification",
    ),
    "another library": ({"network": "keras/resnet50"}, "architectures.tiny.network"),
    "a detection network": ({"network": "torchvision/fasterrcnn_resnet50_fpn"}, "no classification network"),
    "images that are too small": ({"network": "torchvision/resnet18"}, "of 8; allowed: from 32 up"),
    "images of another size": ({"network": "torchvision/vit_b_16"}, "of 8; allowed: from 224 up"),
    "a small stem of none": ({"network": "torchvision/vit_b_16", "stem": "tiny"}, "architectures.tiny.stem"),
    "a key of a convnet": ({"network": "torchvision/resnet18", "widths": [4]}, "widths"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_in_an_architecture_is_told(what: str) -> None:
    architecture, told = MISTAKES[what]
    with pytest.raises(ConfigError) as caught:
        plan_of(put(tiny(), "architectures.tiny", architecture))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_none_is_told_with_those_that_are_near() -> None:
    with pytest.raises(ConfigError, match=r"did you mean .*torchvision/resnet18"):
        plan_of(put(tiny(), "architectures.tiny", {"network": "torchvision/resnet81"}))
    with pytest.raises(ValueError, match="timm has no classification network 'resnet81'; did you mean"):
        describe("timm/resnet81")


def test_colour_images_for_a_grey_network_are_refused_and_grey_ones_are_repeated() -> None:
    raw = put(tiny(), "datasets.digits", {"module": "textures", "parameters": {"colour": True}})
    with pytest.raises(ConfigError, match="takes images of 1 channels, and those of 'digits' have 3"):
        plan_of(raw)
    grey = np.full((2, 1, 4, 4), 128, np.uint8)
    found = standardise(grey, {"mean": [0.5, 0.4, 0.3], "standard_deviation": [0.1, 0.1, 0.1]}, torch.device("cpu"), 3)
    assert found.shape == (2, 3, 4, 4)
    assert found[0, :, 0, 0].tolist() == pytest.approx([(128 / 255 - mean) / 0.1 for mean in (0.5, 0.4, 0.3)], abs=1e-5)


# --- published weights ---------------------------------------------------------------------------

PHOTOS = {
    Path(skimage.__file__).parent / "data" / "chelsea.png": "Egyptian cat",
    Path(skimage.__file__).parent / "data" / "coffee.png": "espresso",
    Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg": "daisy",
}


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
@torch.no_grad()
def test_efficientnet_lite0_of_the_wheel_names_what_is_in_a_photo(photo: Path) -> None:
    own = card("timm/tf_efficientnet_lite0")
    built = build(own, 1000).eval()
    built.load(fitting(own, read_published("efficientnet-lite0")))
    picture = Image.open(photo).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    squared = picture.crop((left, top, left + side, top + side)).resize((own.size, own.size), Image.Resampling.BICUBIC)
    constants = {"mean": list(own.mean), "standard_deviation": list(own.standard_deviation)}
    images = standardise(np.asarray(squared).transpose(2, 0, 1)[None], constants, torch.device("cpu"))
    assert class_names("efficientnet-lite0")[int(built(images).argmax())] == PHOTOS[photo]


def test_the_classes_of_published_weights_are_named_where_they_are_known() -> None:
    named = {"ResNet50_Weights.IMAGENET1K_V2": 1000, "timm/resnet18.a1_in1k": 1000}
    named |= {"timm/vit_base_patch16_224.augreg_in21k": 0, "timm/resnet18.best": 0, "mine.safetensors": 0}
    assert {name: len(class_names(name)) for name in named} == named
    assert class_names("timm/resnet18.a1_in1k")[:2] == ("tench", "goldfish")


def test_published_weights_that_arent_there_are_told_with_where_to_put_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda *_, **__: (_ for _ in ()).throw(OSError("no network"))
    )
    with pytest.raises(ValueError, match="no network") as caught:
        read_published("ResNet18_Weights.IMAGENET1K_V1")
    assert str(tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in str(caught.value)
    with pytest.raises(ValueError, match=r"torchvision has no weights 'ResNet18_Weights\.BEST'"):
        read_published("ResNet18_Weights.BEST")
    with pytest.raises(ValueError, match=r"timm has no weights 'resnet18\.best' to download"):
        read_published("timm/resnet18.best")


def colours(folder: Path) -> dict[str, Any]:
    """A small study of a network of torchvision and of published weights, on images in colour."""
    raw = put(tiny(), "architectures", {"net": {"network": "torchvision/resnet18", "stem": "small"}})
    raw["architectures"]["lite"] = {"network": "timm/tf_efficientnet_lite0"}
    raw["datasets"] = {"colours": {"module": "textures", "parameters": {"images_per_class": 40, "colour": True}}}
    raw["tasks"] = {
        "some": {"dataset": "colours", "classes": ["checks", "rings"]},
        "others": {"dataset": "colours", "classes": ["clouds", "blobs-fine"]},
    }
    raw["pretraining"]["brief"] = {"checkpoints": [0, 1]}
    raw["pretraining"]["imagenet"] = {"objective": "published", "weights": "efficientnet-lite0"}
    raw["sources"] = {"own": {"task": "some", "pretraining": "brief"}, "imagenet": {"pretraining": "imagenet"}}
    raw["recipes"]["short"] = {"learning_rate_blocks": [[0.01]], "min_steps": 2, "epoch_steps": 1}
    part = {
        "treatments": ["intact", "shuffle-kernels"],
        "spans": ["top-2"],
        "targets": ["others.3"],
        "recipes": ["short"],
    }
    net = part | {"architectures": ["net"], "sources": ["own"], "modes": ["freeze-3"]}
    net |= {"measures": ["start", "similarity", "spectra"]}
    lite = part | {
        "architectures": ["lite"],
        "sources": ["imagenet"],
        "modes": ["probe", "svm-20", "freeze-40"],
    }
    study = raw["studies"]["tiny"] | {"claims": [], "settings": {}, "figures": ["learning-curves"], "size": 32}
    raw["studies"] = {"tiny": study | {"grid": [net, lite]}}
    return raw | {"claims": {}, "pilot_blocks": [], "seed_blocks": [[0]]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = fresh(tmp_path_factory.mktemp("networks") / "project")
    made.write_config(colours(made.path))
    made.snakemake("--cores", "2")
    return made


@pytest.mark.networks
def test_a_study_of_real_networks_runs_from_pixels_to_tables(project: Project) -> None:
    rows = read_columns(project.path / "results/tables/runs.parquet")[0].to_pylist()
    assert {row["architecture"] for row in rows} == {"net", "lite"}
    assert not any(row["diverged"] for row in rows)
    probe = next(row for row in rows if (row["mode"], row["treatment"]) == ("probe", "intact"))
    assert probe["top1_test"] > 0.7
    layers = read_columns(project.path / "results/tables/similarity.parquet")[0].to_pylist()
    assert {row["layer"] for row in layers} == set(range(1, 18))
    assert project.planned() == {}


@pytest.mark.networks
def test_a_card_that_isnt_shipped_is_made_once_and_says_what_it_was_made_with(project: Project) -> None:
    path = project.path / "results/networks/lite.json"
    found = json.loads(path.read_text())
    assert cards.read(found["card"]).depth == 49
    before = path.stat().st_mtime_ns
    project.snakemake("-n", "--cores", "2")
    assert path.stat().st_mtime_ns == before
    assert "fresh" in project.run("python", "workflow/audit.py", "--configfile", "tests/config/tiny.yaml", status=0)


def test_the_shipped_table_is_read_without_torch() -> None:
    import subprocess
    import sys

    program = "import sys; from whypretrain.networks.card import of_shipped; of_shipped('torchvision/resnet50'); "
    program += "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT / "workflow", check=True)
