"""What isn't public in Snakemake and in its executor for SLURM, and is needed all the same: touched here alone.

tests/test_internals.py holds each name against the versions that are installed.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from snakemake.iocontainers import InputFiles  # type: ignore[import-untyped]


def drop_refused_benchmarks(workflow: Any) -> None:
    """Take the benchmark from rules whose outputs may come from a store: Snakemake refuses both together."""
    for rule in workflow.rules:
        if rule.cache.output:
            rule._benchmark = None


def needs_of(rule: Any) -> Any:
    """Return the resources of a rule before any job of it is known: none of ours depends on what a job is about."""
    return rule.expand_resources({}, InputFiles(), 1, skip_evaluation={"tmpdir"})


def lift_rate_limit(workflow: Any) -> None:
    """Start local jobs as fast as they can be.

    Snakemake 9.27's rate limiter leaves one more timer behind with every finished job, each of which wakes the
    scheduler once a second: after some hundred short jobs that costs more than the jobs.
    """
    workflow.scheduler.job_rate_limiter = None


def limit_gpus(workflow: Any, limit: int) -> None:
    """Let so many jobs that ask for a GPU run at once, as if `--resources gpu=` had said so."""
    for limits in (workflow.scheduler.global_resources, workflow.scheduler.resources):
        limits["gpu"] = limit


def name_jobs(workflow: Any, name: str) -> None:
    """Begin the names of all SLURM jobs with a name, by which those of a former call are found."""
    executor = workflow.scheduler._executor
    executor.run_uuid = f"{name}_{executor.run_uuid}"


def change_status_query(workflow: Any, change: Callable[[Any], Any]) -> None:
    """Put a function around the one by which the executor asks for the states of its jobs."""
    plugin: ModuleType = sys.modules[type(workflow.scheduler._executor).__module__]
    plugin.query_job_status = change(plugin.query_job_status)  # type: ignore[attr-defined]
