"""How jobs are run, which changes no result: what they ask of a cluster, how GPUs are shared, when they are kept.

Nothing of this stands in a spec, so none of it makes a result stale.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from whypretrain.config.strict import Positive, Strict

Growing = Callable[[Any, int], int]


class Needs(Strict):
    """What one job of a kind asks of a cluster; memory and time are multiplied by the number of the attempt."""

    gpu: int = Field(
        1, ge=0, description="GPUs; none is asked for with `device: cpu`. A job uses one of those it gets."
    )
    gpu_model: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.]+$",  # those that Snakemake's executor takes
        description="As the cluster calls it, `h100`; any where left out.",
    )
    mem_mb: int = Field(4000, ge=1, description="Memory in MB.")
    runtime: int = Field(60, ge=1, description="Minutes.")
    partition: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]+(,[A-Za-z0-9_.-]+)*$",
        description="Of the cluster, a preemptible one as well: jobs that are pre-empted go on later. Left out, the "
        "profile's, else the cluster's own.",
    )


class Execution(Strict):
    """How jobs are run; none of it changes a result."""

    snapshot_minutes: Positive = Field(
        5,
        description="A training that takes longer is kept this often, beside its outputs, so that a job that is killed "
        "goes on from there. A job that is told to stop (SIGTERM) is kept at once.",
    )
    runs_per_gpu: int = Field(
        1,
        ge=1,
        description="So many jobs at once share each GPU where Snakemake runs them itself; on SLURM each has its own.",
    )
    pretrain: Needs = Field(default_factory=lambda: Needs.model_validate({"runtime": 240}))
    train: Needs = Field(default_factory=lambda: Needs.model_validate({}))
    measure: Needs = Field(default_factory=lambda: Needs.model_validate({}))


def resources(needs: Needs, device: str, limits: Mapping[str, int]) -> dict[str, int | str | Growing]:
    """Return the resources of a rule. A job that failed asks for more the next time, up to a cluster's limits."""

    def growing(key: str) -> Growing:
        amount: int = getattr(needs, key)
        return lambda wildcards, attempt: min(amount * attempt, limits.get(key, amount * attempt))

    gpu = 0 if device == "cpu" else needs.gpu
    found: dict[str, int | str | Growing] = {key: growing(key) for key in ("mem_mb", "runtime")}
    found |= {"gpu": gpu, "nodes": 1}  # else SLURM may take a job's GPUs from two nodes
    if gpu and needs.gpu_model:
        found["gpu_model"] = needs.gpu_model
    if needs.partition:
        found["slurm_partition"] = needs.partition
    return found
