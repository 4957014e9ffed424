"""A job that runs out of memory says so in one message, with what to change."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import fresh, plan_of, put, tiny, told_to

from whypretrain.running import devices
from whypretrain.running.memory import message_of

# as torch 2.13 words it
CUDA = (
    "CUDA out of memory. Tried to allocate 40.00 GiB. GPU 0 has a total capacity of 139.72 GiB of which 1.06 GiB is "
    "free. Including non-PyTorch memory, this process has 138.65 GiB memory in use. Of the allocated memory 120.00 GiB "
    "is allocated by PyTorch, and 18.00 GiB is reserved by PyTorch but unallocated."
)
ARM = {
    "architecture": "tiny",
    "source": "letters",
    "epoch": "1+anneal",
    "treatment": "intact",
    "span": "all",
    "target": "digits.2",
    "mode": "finetune",
    "recipe": "short",
    "learning_rate": "0.01",
    "seed": "0",
}


def spec_of(kind: str, raw: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the spec of a job as the pipeline makes it."""
    stages = {"train": "train_run", "pretrain": "pretrain_source", "measure": "measure_start"}
    found = told_to(plan_of(raw or tiny()), stages.get(kind, "initialise_network"), (0, 1), **ARM)
    return found | ({"learning_rates": [0.01, 0.1]} if kind == "train" else {})


def test_a_full_gpu_is_named_with_what_was_asked_and_what_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(devices.VISIBLE, "GPU-a")
    monkeypatch.setenv(devices.RUNS_PER_GPU, "3")
    told = message_of(torch.OutOfMemoryError(CUDA), spec_of("train"))
    assert told is not None
    assert "on the GPU GPU-a: 40.00 GiB more were asked for, 1.06 GiB of its 139.72 GiB are free" in told
    assert "architecture tiny, target digits.2, mode finetune, learning rates 0.01 0.1, seeds 0 1" in told
    assert "execution.runs_per_gpu below 3" in told
    assert "execution.train.gpu_model" in told
    assert "batch_size of the recipe, now 64" in told
    assert "device: cpu" in told
    monkeypatch.setenv(devices.RUNS_PER_GPU, "1")
    assert "runs_per_gpu" not in str(message_of(torch.OutOfMemoryError(CUDA), spec_of("train")))


@pytest.mark.parametrize("words", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"])
def test_what_cuda_s_libraries_say_is_known_as_well(words: str):
    assert "on the GPU" in str(message_of(RuntimeError(words), spec_of("measure")))


@pytest.mark.parametrize(
    ("allocate", "amount"),
    [
        (lambda: torch.empty(10**14), "381,469,727 MiB"),
        (lambda: np.empty(10**15), "7.11 PiB"),
        (lambda: [0] * 10**17, None),
    ],
)
def test_what_the_libraries_really_raise_is_known(allocate: Any, amount: str | None):
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocate()
    told = str(message_of(caught.value, spec_of("measure")))
    assert told.startswith("out of memory on this machine" + (f", not its GPU: {amount} more" if amount else ""))
    assert "execution.measure.mem_mb" in told


@pytest.mark.parametrize("kind", ["pretrain", "initialise"])
def test_what_helps_is_of_the_job(kind: str):
    told = str(message_of(MemoryError(), spec_of(kind)))
    assert ("batch_size of the source's entry of pretraining, now 64" in told) == (kind == "pretrain")
    assert ("mem_mb" in told) == (kind == "pretrain")


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory")])
def test_other_errors_are_left_alone(error: Exception):
    assert message_of(error, spec_of("train")) is None


# In a copy of the project, every job's Python gets no more address space than this, where torch alone takes two thirds.
LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30,) * 2)
"""


def test_a_job_that_needs_too_much_memory_ends_in_one_message(tmp_path: Path):
    project = fresh(tmp_path / "project")
    (project.path / "workflow/sitecustomize.py").write_text(LIMIT)
    raw = put(tiny(), "architectures.tiny.widths", [60000, 4])  # a batch of images makes 4 GB of them
    raw["studies"]["tiny"] |= {"claims": [], "settings": {}, "figures": []}
    raw["studies"]["tiny"]["grid"] = raw["studies"]["tiny"]["grid"][1:]
    project.write_config(raw)
    text = project.snakemake("--cores", "1", "results/tables/runs.parquet", status=1)
    (log,) = (project.path / "results/logs/train_run").glob("*.log")
    last = log.read_text().splitlines()[-1]
    assert last.startswith("error: out of memory on this machine, not its GPU: "), text
    assert "MiB more were asked for. The job: architecture tiny, target digits.2, mode finetune" in last
    assert "batch_size of the recipe, now 64" in last
    assert "Traceback" not in log.read_text()
    assert last in text, "it is shown where the failure is"
