"""Weights that somebody else trained, from a file that may hold anything: tensors are read, nothing in it is run."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import Weights, head_of, without_head

NESTED = ("state_dict", "model_state_dict", "model")  # where programs keep weights beside an optimiser's state
SAVED = (b"PK\3\4", b"\xfc\x9cF\xf9 j\xa8P\x19")  # one of them begins all that torch.save writes, now and in the past
# the largest dict of named tensors that is anywhere in a file, or what a network in it has
TO_CONVERT = (
    "import sys, numpy, torch; from collections.abc import Mapping; from safetensors.torch import save_file; "
    'named = lambda x: named(x.state_dict()) if hasattr(x, "state_dict") else max([{n: torch.as_tensor(t).detach()'
    ".contiguous().clone() for n, t in x.items() if isinstance(t, (torch.Tensor, numpy.ndarray))}, "
    "*map(named, x.values())], key=len) if isinstance(x, Mapping) else {}; "
    'save_file(named(torch.load(sys.argv[1], map_location="cpu", weights_only=False)), sys.argv[2])'
)
SHOWN = 5  # tensors of a kind that don't fit


def read_weights(path: str | Path) -> Weights:
    """Read named tensors from a safetensors file, or from what torch.save wrote of them, as float32.

    They may stand in `state_dict` or `model`, beside other things, and have what DataParallel (`module.`) and
    torch.compile (`_orig_mod.`) put into names, which is taken off. Whole numbers are left out: they count something.
    Raises ValueError, with what to do, where the file is damaged or holds anything else.
    """
    path = Path(path)
    found = _loaded(path)
    while isinstance(found, dict) and any(isinstance(found.get(key), dict) for key in NESTED):
        found = next(found[key] for key in NESTED if isinstance(found.get(key), dict))
    named = found.items() if isinstance(found, dict) else ()
    tensors = {n: t for n, t in named if isinstance(n, str) and isinstance(t, torch.Tensor) and not _counts(n, t)}
    if not tensors:
        places = f"no weights by name, at its top or in {', '.join(NESTED)}"
        if any(isinstance(each, dict) for _, each in named):
            raise ValueError(_refusal(path, places))
        raise ValueError(f"{path} holds {places}; save what the network's state_dict() gives")
    weights: Weights = {}
    for name, tensor in tensors.items():
        bare = name.replace("_orig_mod.", "")
        while bare.startswith("module."):
            bare = bare.removeprefix("module.")
        if bare in weights:
            raise ValueError(f"{path} holds {bare} twice, with the prefix of a wrapper and without; take one out")
        weights[bare] = _numbers(path, name, tensor)
    return weights


def _loaded(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from None
    except Exception as error:  # torch raises a dozen types, and that of a refusal is pickle's
        if "TorchScript" in str(error):
            raise ValueError(_refusal(path, "a network of TorchScript")) from None
        with path.open("rb") as file:
            begins = file.read(32)
        if type(error).__name__ == "UnpicklingError" and any(mark in begins for mark in SAVED):
            objects = "objects of Python, which to load would run code that stands in it"
            raise ValueError(_refusal(path, objects)) from None
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"{path} is damaged, or nothing that torch.save wrote: {reason}") from None


def _counts(name: str, tensor: torch.Tensor) -> bool:
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized)
    return whole or name.endswith("num_batches_tracked")  # which who converts all tensors converts too


def _numbers(path: Path, name: str, tensor: torch.Tensor) -> np.ndarray:
    try:
        array = np.array(np.nan) if tensor.is_complex() else tensor.detach().to_dense().float().contiguous().numpy()
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{path}: the tensor {name} can't be read: {str(error)[:200]}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: the tensor {name} holds what isn't a finite number; all weights are")
    return array


def _refusal(path: Path, what: str) -> str:
    converted = f"{path.stem}.safetensors"
    return (
        f"{path} isn't loaded: beside named tensors, or instead of them, it holds {what}. If you trust who made it, "
        "convert it, in its folder, on a machine where that may run and that has the code of the network:\n"
        f"  {shlex.join(['python', '-c', TO_CONVERT, path.name, converted])}\n"
        f"and give pretraining the file {converted}"
    )


def fitting(card: Card, weights: Weights) -> Weights:
    """Return weights as a network's, with its head or without; heads of other classes than before are kept.

    Raises ValueError, with a table of what doesn't fit, where they are those of another architecture. What an
    architecture has beside the way from its input to its head, as auxiliary classifiers, is left out.
    """
    shapes = {weight.name: weight.shape for layer in card.layers for weight in layer.weights}
    head = head_of(card, weights)
    wanted = {name: "x".join(map(str, shapes[name])) if name in shapes else "" for name in card.tensors()}
    given = {name: _shape(array) for name, array in weights.items() if name not in head}
    differing = {
        "missing": {name: shape for name, shape in wanted.items() if name not in given},
        "unexpected": {n: shape for n, shape in given.items() if n not in wanted and not n.lower().startswith("aux")},
        "shape": {
            n: f"{given[n]}, not {shape}" for n, shape in wanted.items() if shape and given.get(n, shape) != shape
        },
    }
    features = [array.shape[1] for name, array in head.items() if array.ndim > 1]
    if features and features != [card.features]:
        differing["shape"][f"{card.head}.weight"] = f"{features[0]} inputs, not {card.features}"
    if any(differing.values()):
        fit = sum(given.get(name) == (shape or given.get(name, "")) for name, shape in wanted.items())
        told = [f"the file doesn't hold the weights of this architecture; of its {len(wanted)} tensors {fit} fit:"]
        for kind, rows in differing.items():
            told += [f"  {kind:10}  {name:24}  {shape}" for name, shape in [*rows.items()][:SHOWN]]
            told += [f"  {kind:10}  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
        raise ValueError("\n".join(told))
    return without_head(card, weights) | head


def _shape(array: np.ndarray) -> str:
    return "x".join(map(str, array.shape)) or "one number"
