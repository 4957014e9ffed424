"""What every stage that uses torch begins with."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from whypretrain.command import StageError
from whypretrain.running import devices


def set_up_torch(spec: Mapping[str, Any]) -> torch.device:
    """Set torch's threads as the spec says and return the device, a GPU of this process's own; `auto` is one if any is.

    Raises StageError where the spec asks for a GPU and there is none.
    """
    gpu = devices.take_own(spec["device"])
    torch.set_num_threads(spec["threads"])
    if spec["device"] == "cuda" and gpu is None:
        raise StageError(devices.why_none())
    if spec["device"] == "cuda" and not torch.cuda.is_available():
        raise StageError(f"config says device: cuda, but torch can't use {gpu}: is its driver too old? See nvidia-smi")
    found = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(found if spec["device"] == "auto" else spec["device"])
    if device.type == "cuda":  # on a CPU all that is used here is deterministic, and the call costs a second
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only so
        torch.use_deterministic_algorithms(True)
    return device
