"""A network that somebody else trained: its tensors are taken, and nothing that stands beside them is ever run."""

import os
import re
import subprocess
import sys
from collections import OrderedDict, UserDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT, Project, fresh, plan_of, put, tiny, told_to
from nets import plain
from safetensors.torch import save_file
from torch import nn

from whypretrain.config import models as config
from whypretrain.figures.plotting.view import View
from whypretrain.files.storage import read_tensors
from whypretrain.jobs.failures import WIDTH
from whypretrain.networks import published
from whypretrain.networks.building import build
from whypretrain.networks.network import Network
from whypretrain.pages.study import source_lines

LETTERS = 26
TINY = plain(widths=(4, 6), kernels=(3, 3), pool_after=(1,))


def network(classes: int = LETTERS, seed: int = 3) -> Network:
    torch.manual_seed(seed)
    return build(TINY, classes)


def state(seed: int = 3) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in network(seed=seed).module.state_dict().items()}


class Payload:
    """What a malicious file holds: to unpickle it runs a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def refusal(path: Path) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        published.read_weights(path)
    return str(caught.value)


# --- the file ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
def test_named_tensors_are_read_from_either_kind_of_file(suffix: str, tmp_path: Path):
    path = tmp_path / f"theirs.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(state(), path)
    found, expected = published.read_weights(path), network().weights()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.float32


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(kind: torch.dtype, tmp_path: Path):
    torch.save({"layer1.weight": torch.full((2, 2), 0.5, dtype=kind)}, tmp_path / "a.pth")
    assert published.read_weights(tmp_path / "a.pth")["layer1.weight"].tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("place", ["beside", "alone", "as a key", "nested"])
def test_a_file_that_would_run_something_is_refused_and_runs_nothing(place: str, tmp_path: Path):
    payload = Payload(tmp_path / "PWNED")
    contents = {
        "beside": state() | {"x": payload},
        "alone": payload,
        "as a key": {payload: 1},
        "nested": [{"a": [payload]}],
    }
    torch.save(contents[place], tmp_path / "theirs.pth")
    message = refusal(tmp_path / "theirs.pth")
    assert f"{tmp_path}/theirs.pth isn't loaded" in message
    assert "would run code that stands in it" in message
    assert "give pretraining the file theirs.safetensors" in message
    assert not (tmp_path / "PWNED").exists()
    program = "import torch; torch.load('theirs.pth', weights_only=False)"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path)  # it would have
    assert (tmp_path / "PWNED").exists()


SAVED: dict[str, Callable[[], Any]] = {
    "beside an optimiser's state": lambda: {
        "epoch": 3,
        "optimizer": {"state": {0: {"step": torch.ones(1), "exp_avg": torch.ones(9)}}, "param_groups": [{"lr": 0.1}]},
        "state_dict": state(),
    },
    "in a model in a checkpoint": lambda: {"model": {"state_dict": state(), "name": "tiny"}, "loss": torch.ones(())},
    "as the tutorial has it": lambda: {"model_state_dict": state(), "optimizer_state_dict": {"state": {}}},
    "beside plain values": lambda: state() | {"epoch": 3, "classes": ["a", "b"], "note": None},
    "of DataParallel": lambda: {f"module.{name}": tensor for name, tensor in state().items()},
    "of torch.compile": lambda: {f"_orig_mod.{name}": tensor for name, tensor in state().items()},
    "of both, nested": lambda: {"model": {f"_orig_mod.module.{name}": tensor for name, tensor in state().items()}},
    "of one wrapped layer": lambda: {n.replace("layer2.", "layer2._orig_mod."): t for n, t in state().items()},
    "as parameters": lambda: {name: nn.Parameter(tensor.float()) for name, tensor in state().items()},
    "averaged": lambda: {"n_averaged": torch.tensor(7)} | {f"module.{n}": t for n, t in state().items()},
    "with indices": lambda: state() | {"index": torch.arange(4), "mask": torch.ones(2, dtype=torch.bool)},
    "sparse": lambda: {name: tensor.to_sparse() for name, tensor in state().items()},
}


@pytest.mark.parametrize("what", SAVED)
def test_what_training_programs_save_is_understood(what: str, tmp_path: Path):
    torch.save(SAVED[what](), tmp_path / "theirs.pth")
    is_theirs(published.read_weights(tmp_path / "theirs.pth"))


def is_theirs(found: dict[str, np.ndarray]) -> None:
    expected = network().weights()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.float32


def sequential() -> nn.Module:
    parts = OrderedDict(network().module.named_children())
    parts = OrderedDict((name, part) for name, part in parts.items() if name.startswith(("layer", "norm", "head")))
    head = parts.pop("head")
    return nn.Sequential(parts | {"pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "head": head})


REFUSED: dict[str, Callable[[], Any]] = {
    "a whole network": sequential,
    "a network in a checkpoint": lambda: {"epoch": 3, "net": sequential(), "best": np.float64(0.9)},
    "TorchScript": lambda: torch.jit.trace(
        sequential().eval(), torch.zeros(1, 1, 8, 8), check_trace=False, strict=False
    ),
    "a numpy scalar beside them": lambda: state() | {"top1": np.float64(0.9)},
    "a numpy scalar beside what holds them": lambda: {"state_dict": state(), "top1": np.float64(0.9)},
    "a dict of another class": lambda: UserDict(state()),
    "arrays": lambda: {name: tensor.numpy() for name, tensor in state().items()},
    "tied weights": lambda: UserDict(state() | {"layer1.weight": (both := state()["layer1.weight"]), "again": both}),
    "of an old torch": lambda: state() | {"top1": np.float64(0.9)},
    "in a place of another name": lambda: {"epoch": 3, "generator": state()},
}
OTHERWISE: dict[str, Callable[..., None]] = {
    "TorchScript": torch.jit.save,
    "of an old torch": partial(torch.save, _use_new_zipfile_serialization=False),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_read_after_the_recipe_of_the_message_was_run(what: str, tmp_path: Path):
    found, name = REFUSED[what](), '-c it\'s "best"; 50 % of $HOME {x}.pt'
    OTHERWISE.get(what, torch.save)(found, tmp_path / name)
    message = refusal(tmp_path / name)
    (recipe,) = (line for line in message.splitlines() if line.startswith("  python -c "))
    assert len(recipe) < WIDTH, "else the list of failures cuts it"
    # as where it was trained: the classes of a whole network can be imported there
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "workflow"),
    }
    subprocess.run(["bash", "-c", recipe], cwd=tmp_path, env=environment, check=True)
    converted = message.split("give pretraining the file ")[1]
    weights = published.read_weights(tmp_path / converted)
    weights.pop("again", None)
    is_theirs(weights)


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], {"epoch": 3}, {1: torch.zeros(3)}, {}, 1])
def test_what_has_no_names_is_refused_with_what_to_do(content: Any, tmp_path: Path):
    torch.save(content, tmp_path / "theirs.pth")
    message = refusal(tmp_path / "theirs.pth")
    assert "holds no weights by name, at its top or in state_dict, model_state_dict, model" in message
    assert "state_dict() gives" in message


def test_a_tensor_that_stands_there_twice_is_told(tmp_path: Path):
    torch.save(state() | {"module.head.bias": torch.ones(LETTERS)}, tmp_path / "theirs.pth")
    assert "holds head.bias twice, with the prefix of a wrapper and without" in refusal(tmp_path / "theirs.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_that_is_damaged_or_another_is_told(suffix: str, tmp_path: Path):
    path = tmp_path / f"theirs.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(state(), path)
    whole = path.read_bytes()
    others = (b"no weights at all", b"\0" * 1000, b"\x80\x04}\x94\x8c\x05epoch\x94K\x03s.")
    for content in (b"", whole[:100], whole[: len(whole) // 2], *others):
        path.write_bytes(content)
        assert f"{path} is damaged, or no" in refusal(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, 1j])
def test_numbers_that_are_none_are_told(value: complex, tmp_path: Path):
    kind = torch.complex64 if isinstance(value, complex) else torch.float64
    torch.save(state() | {"layer2.weight": torch.full((6, 4, 3, 3), value, dtype=kind)}, tmp_path / "theirs.pth")
    assert "the tensor layer2.weight holds what isn't a finite number" in refusal(tmp_path / "theirs.pth")


# --- the network ---------------------------------------------------------------------------


def test_with_a_head_or_without_they_fit_and_nothing_else_does():
    given, other = network(seed=5).weights(), network(10).weights()
    body = {name: array for name, array in given.items() if not name.startswith("head.")}
    aside = {"AuxLogits.fc.weight": np.zeros((3, 3), np.float32)}
    for weights in (given, body, other):  # a head of more or fewer classes is a head
        assert published.fitting(TINY, weights | aside).keys() == weights.keys()
    wrong = {
        "10 tensors 9 fit:\n  missing     layer2.weight": {n: a for n, a in body.items() if n != "layer2.weight"},
        "  unexpected  conv1.weight              1": body | {"conv1.weight": np.zeros(1, np.float32)},
        "  shape       layer2.weight             6x4x1x1, not 6x4x3x3": body
        | {"layer2.weight": np.zeros((6, 4, 1, 1))},
        "  shape       head.weight               7 inputs, not 6": given | {"head.weight": np.zeros((26, 7))},
        "  unexpected  and 5 more": {f"encoder.{name}": array for name, array in body.items()},
    }
    for told, weights in wrong.items():
        with pytest.raises(ValueError, match=re.escape(told)):
            published.fitting(TINY, weights)


# --- config --------------------------------------------------------------------------------


def study(file: str, **more: Any) -> dict[str, Any]:
    raw = put(put(tiny(), "seed_blocks", [[0, 1]]), "recipes.short.learning_rate_blocks", [[0.1]])
    return put(raw, "pretraining.brief", {"objective": "published", "weights": file, "checkpoints": [0, 1]} | more)


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no file": (put(study("a.pth"), "pretraining.brief.weights", []), "the objective published needs `weights`"),
    "a file of no use": (put(study("a.pth"), "pretraining.brief.objective", "labels"), "and no other has them"),
    "a pickle": (study("a.pkl"), "or a file .safetensors, .pth or .pt"),
    "a wildcard": (study("{dataset}.pth"), "without braces"),
    "two lines": (study("a\n.pth"), "without braces or line breaks"),
    "checkpoints": (study("a.pth", checkpoints=[0, 0.5, 1]), "allowed with 1 published weights: 0 and 1 more"),
    "a branch": (put(study("a.pth"), "studies.tiny.grid.0.epochs", ["1+anneal"]), "its weights are published ones"),
    "a start": (
        put(
            put(study("a.pth"), "sources.other", {"task": "letters", "pretraining": "brief"}),
            "sources.letters.start",
            "other",
        ),
        "sources.letters.start: its weights are published ones; leave the start out",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_in_config_is_told(what: str):
    raw, told = MISTAKES[what]
    with pytest.raises(config.ConfigError) as caught:
        plan_of(raw)
    assert told in str(caught.value)


def test_where_the_file_lies_is_no_part_of_what_a_source_is_and_no_other_source_knows_of_it():
    here, there = (plan_of(study(file)) for file in ("a.pth", "b/c.safetensors"))
    key = {"architecture": "tiny", "source": "letters"}
    assert told_to(here, "pretrain_source", **key) == told_to(there, "pretrain_source", **key)
    assert "weights" not in told_to(plan_of(tiny()), "pretrain_source", **key)["pretraining"]


def test_a_source_without_a_head_has_no_score_to_tell():
    key = {"architecture": "tiny", "source": "letters"}
    arms = pd.DataFrame([key])
    view = View("tiny", "Tiny", [], [], {"tiny": 2}, "short", "short", seed=0)
    rows = pd.DataFrame(
        [key | {"objective": "published", "annealed": False, "epoch": e, "top1_test": 0.5} for e in (0, 1)]
    )
    (line,) = source_lines(rows, arms, view)
    assert "50.0 % test top-1" in line
    assert source_lines(rows.assign(top1_test=float("nan")), arms, view) == []


# --- a real run ----------------------------------------------------------------------------

SOURCE = "results/sources/tiny/letters"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = fresh(tmp_path_factory.mktemp("foreign") / "project")
    made.write_config(study("their $(weights).pth"))
    torch.save(state(), made.path / "their $(weights).pth")
    made.snakemake("--cores", "2", "results/tables/sources.parquet", "results/tables/starts.parquet")
    return made


def test_the_last_checkpoint_is_the_file_with_every_seed_and_the_first_the_initialisation(project: Project):
    for seed in (0, 1):
        last = read_tensors(project.path / f"{SOURCE}/s{seed}/epoch-1.safetensors")
        assert {name: array.tolist() for name, array in last.items()} == {
            name: array.tolist() for name, array in network().weights().items()
        }
    first = [read_tensors(project.path / f"{SOURCE}/s{seed}/epoch-0.safetensors") for seed in (0, 1)]
    assert not np.array_equal(first[0]["layer1.weight"], first[1]["layer1.weight"])


def test_its_history_is_what_it_scores_on_the_task(project: Project):
    rows = pq.read_table(project.path / "results/tables/sources.parquet").to_pylist()
    assert [(row["epoch"], row["step"], row["annealed"]) for row in rows] == [(0, 0, False), (1, 0, False)] * 2
    assert {row["objective"] for row in rows} == {"published"}
    assert all(0 <= row["top1_test"] <= 1 and row["loss_test"] > 0 for row in rows)
    # a network of its own, loaded with the weights, scores the same
    from whypretrain.data.tasks import source_images
    from whypretrain.training.data import TargetData
    from whypretrain.training.loop import evaluate

    spec = told_to(plan_of(study("a.pth")), "pretrain_source", architecture="tiny", source="letters")
    parts = source_images(read_tensors(project.path / "results/datasets/glyphs/s0.safetensors"), spec["task"], 0)
    data = TargetData.on(torch.device("cpu"), parts, LETTERS, spec["normalisation"])
    own = network()
    own.load(network().weights())
    assert evaluate(own, data.images["test"], data.labels["test"]).top1 == pytest.approx(rows[1]["top1_test"])


def test_another_file_under_the_name_is_noticed_and_one_that_is_malicious_stops_in_one_message(project: Project):
    wanted = ("results/tables/sources.parquet",)
    assert project.planned(*wanted) == {}
    path = project.path / "their $(weights).pth"
    path.touch()
    assert project.planned(*wanted) == {}
    torch.save(state(seed=4), path)
    assert {"read_weights", "pretrain_source_brief_s0"} <= project.planned(*wanted).keys()
    torch.save(state() | {"x": Payload(project.path / "PWNED")}, path)
    text = project.snakemake("--cores", "1", *wanted, status=1)
    assert "error: pretraining.brief.weights: their $(weights).pth isn't loaded" in text
    assert "Traceback" not in text
    assert not (project.path / "PWNED").exists()
    torch.save({name: tensor for name, tensor in state().items() if "layer2" not in name}, path)
    text = project.snakemake("--cores", "1", *wanted, status=1)
    assert "seed 0: the file doesn't hold the weights of this architecture; of its" in text
    assert "|   missing     layer2.weight             6x4x3x3" in text
    assert "Traceback" not in text
