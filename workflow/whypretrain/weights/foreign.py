"""Weights that somebody else trained, from a file that may hold anything: tensors are read, nothing in it is run."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from whypretrain.learning.models import Network, Weights, load_weights, weights_of

TO_CONVERT = (
    "import torch; from safetensors.torch import save_file; "
    "save_file({name: tensor.contiguous() for name, tensor in torch.load('%s', weights_only=False).items()}, '%s')"
)
SHOWN = 3  # tensors that differ


def read_weights(path: str | Path) -> Weights:
    """Read named tensors from a safetensors file, or from what torch.save wrote of them, as float32.

    Raises ValueError, with what to do, where the file is damaged or holds anything else.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from None
    except Exception as error:  # torch raises a dozen types, and that of a refusal is pickle's
        if type(error).__name__ != "UnpicklingError":
            raise ValueError(f"{path} is damaged, or nothing that torch.save wrote: {str(error)[:200]}") from None
        raise ValueError(_refusal(path, "objects of Python, which to load would run code that stands in it")) from None
    if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
        raise ValueError(_refusal(path, "something else"))
    counted = {name: tensor for name, tensor in found.items() if not name.endswith("num_batches_tracked")}
    for name, tensor in counted.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ValueError(f"{path}: the tensor {name} holds what isn't a finite number; all weights are")
    return {name: tensor.float().contiguous().numpy() for name, tensor in counted.items()}


def _refusal(path: Path, what: str) -> str:
    recipe = TO_CONVERT % (path.name, f"{path.stem}.safetensors")
    return (
        f"{path} isn't loaded: beside tensors, or instead of named ones, it holds {what}. If you trust who made it, "
        "convert it on a machine where that may run, with .state_dict() after load(…) if it is a whole model:\n"
        f'  python -c "{recipe}"\n'
        f"and give pretraining the file {path.stem}.safetensors"
    )


def check_fit(network: Network, weights: Weights) -> None:
    """Raise ValueError, naming the first tensors that differ, unless weights are a network's, with its head or without.

    Loads them: a head that they lack stays as it is.
    """
    own = weights_of(network)
    with_head = any(name.startswith("head.") for name in weights)
    wanted = {name: array.shape for name, array in own.items() if with_head or not name.startswith("head.")}
    given = {name: array.shape for name, array in weights.items()}
    differing = [name for name in {**wanted, **given} if wanted.get(name) != given.get(name)]
    if differing:
        told = "; ".join(f"{n} is {given.get(n, 'none')}, not {wanted.get(n, 'none')}" for n in differing[:SHOWN])
        more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise ValueError(f"the file doesn't hold the weights of this architecture: {told}{more}")
    load_weights(network, own | weights)
