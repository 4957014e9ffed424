"""What a job that ran out of memory tells the user instead of a traceback."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from whypretrain.running.devices import RUNS_PER_GPU, VISIBLE

# what CUDA's libraries say where torch itself hadn't asked; torch's own error has a type
ON_GPU = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
# of torch on the CPU, of NumPy and of Arrow
ASKED = re.compile(r"(?:ried to allocate|Unable to allocate|malloc of size) (\d[\d.]*)(?: (bytes|[KMGTPE]iB))?")
# of torch on a GPU
CAPACITY = re.compile(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free")


def message_of(error: BaseException, spec: Mapping[str, Any]) -> str | None:
    """Return what ran out of memory, how much it asked for and what to change; None of any other error.

    `spec` is the job's.
    """
    on_gpu = _on_gpu(error)
    if not on_gpu and not isinstance(error, MemoryError) and "DefaultCPUAllocator" not in str(error):
        return None
    asked = ASKED.search(str(error))
    there = CAPACITY.search(str(error))
    sentences = [
        f"out of memory on {f'the GPU {os.environ.get(VISIBLE)}' if on_gpu else 'this machine, not its GPU'}"
        + (f": {_amount(asked)} more were asked for" if asked else "")
        + (f", {there[2]} of its {there[1]} are free" if there else ""),
        f"The job: {_job(spec)}",
        f"What helps, any of: {'; '.join(_ways(spec, on_gpu))}",
    ]
    return ". ".join(sentences)


def _on_gpu(error: BaseException) -> bool:
    """Say whether it is torch's error of that name, which needn't be imported to know, or one of CUDA's libraries."""
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return named or any(words in str(error) for words in ON_GPU)


def _amount(asked: re.Match[str]) -> str:
    number, unit = asked.groups()
    return f"{number} {unit}" if unit not in (None, "bytes") else f"{int(number) / 2**20:,.0f} MiB"


def _job(spec: Mapping[str, Any]) -> str:
    """Name a job by what its spec holds of names, learning rates and seeds."""
    named = {
        "architecture": spec.get("architecture", {}).get("name"),
        "source": spec.get("source"),
        "target": spec.get("target", {}).get("target"),
        "dataset": spec.get("dataset"),
        **{key: spec.get(key) for key in ("mode", "measure", "pair", "learning_rates", "seeds")},
    }
    told = (f"{key.replace('_', ' ')} {_listed(value)}" for key, value in named.items() if value not in (None, [None]))
    return ", ".join(told)


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _ways(spec: Mapping[str, Any], on_gpu: bool) -> Iterator[str]:
    kind = "pretrain" if "pretraining" in spec else "train" if "recipe" in spec else "measure"
    shares = int(os.environ.get(RUNS_PER_GPU, "1"))
    if on_gpu and shares > 1:
        yield f"fewer jobs on a GPU: execution.runs_per_gpu below {shares}"
    if on_gpu:
        yield f"a GPU with more memory: on SLURM execution.{kind}.gpu_model"
    elif "device" in spec:
        yield f"more memory: on SLURM execution.{kind}.mem_mb; else fewer jobs at once, by --cores"
    else:
        yield "fewer jobs at once, by --cores; a machine with more memory"
    settings = spec.get("pretraining") or spec.get("recipe")
    if settings:
        of = "the source's entry of pretraining" if kind == "pretrain" else "the recipe"
        yield f"a smaller batch_size of {of}, now {settings['batch_size']} (it changes results)"
    if on_gpu:
        yield "device: cpu"
