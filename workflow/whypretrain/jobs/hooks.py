"""What the Snakefile's hooks do: when a call begins to run jobs, and when some of them have failed."""

import atexit
import getpass
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whypretrain.jobs.auditing import forget_stale
from whypretrain.jobs.blocks import record_blocks
from whypretrain.jobs.failures import Ended, Failure, report
from whypretrain.jobs.plan import Plan
from whypretrain.running import devices, internals, slurm
from whypretrain.running.locking import Held, Lock


def begin(plan: Plan, workflow: Any) -> None:
    """Do all that comes before the first job; what forbids to start ends the program with one message.

    `workflow` is Snakemake's. Which executor runs the jobs is known from here on, not while the Snakefile is parsed.
    """
    _take_folder(plan)
    if workflow.touch and not plan.config.partial:
        atexit.register(forget_stale, plan)  # once they are touched; the next call names them
    if workflow.executor_plugin.name == "slurm":
        try:
            slurm.prepare(workflow, jobs_to_run(workflow), Path(plan.paths.results), plan.limits, getpass.getuser())
        except slurm.ClusterError as error:
            sys.exit(f"SLURM: {error}.")
    if workflow.local_exec:
        internals.lift_rate_limit(workflow)
        needs = (job.resources.get("gpu", 0) for job in jobs_to_run(workflow))
        limit = share_gpus(plan, workflow.global_resources.get("gpu").value, max(needs, default=0))
        if limit is not None:
            internals.limit_gpus(workflow, limit)


def _take_folder(plan: Plan) -> None:
    """Take the results folder for this call, record its blocks of seeds and rates, and forget what failed before."""
    folder = Path(plan.paths["report"]).parent  # what is partial has one of its own
    lock = Lock(folder / ".lock")
    try:
        lock.acquire()
        atexit.register(lock.release)
        if not plan.config.partial:  # which uses none
            record_blocks(plan.config, Path(plan.paths["blocks"]))
        Path(plan.paths["failures"]).unlink(missing_ok=True)
    except Held as held:
        sys.exit(
            f"{folder} is in use by another snakemake: {held}. Nothing was started; wait for it to end, or stop it."
        )
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}. Nothing was started; mend it and run again.")


def jobs_to_run(workflow: Any) -> list[Any]:
    """Return the jobs to be run, and where learning rates are yet to be selected, one of each rule that may follow."""
    jobs = [*workflow.dag.needrun_jobs()]
    if workflow.dag.checkpoint_jobs:
        there = {job.rule for job in jobs}
        for rule in (rule for rule in workflow.rules if rule not in there):
            needs = internals.needs_of(rule)
            local = workflow.is_local(rule)
            jobs.append(SimpleNamespace(rule=rule, resources=needs, threads=needs["_cores"], is_local=local))
    return jobs


def share_gpus(plan: Plan, asked: int | None, most: int) -> int | None:
    """Return how many jobs may have a GPU at once where Snakemake runs them on this machine; None for any number.

    `asked` is `--resources gpu=…` and `most` the most that any job to be run needs. Says on standard error what can't
    be as it was asked for; ends the program with status 1 where `device: cuda` is asked for and there is no GPU.
    """
    if plan.config.device == "cpu" or not (most or asked == 0):
        return None
    found = len(devices.usable())
    if found and asked == 0:
        sys.exit("Mistake: --resources gpu=0 hides no GPU from the jobs; say --config device=cpu")
    if not found and plan.config.device == "cuda":
        sys.exit(f"Mistake in config: {devices.why_none()}")
    if asked is not None and asked > found:
        told = f"{found} can be used" if found else "there is none to use, so jobs run on the CPU"
        print(f"Note: --resources gpu={asked}, but {told} here.", file=sys.stderr)
    count = min(asked, found) if found and asked is not None else asked or found
    return max(count * plan.config.execution.runs_per_gpu, most) if count else None


def tell_failures(plan: Plan, workflow: Any) -> None:
    """Print at the very end which jobs failed, and write it to a file; `workflow` is Snakemake's."""
    plan.selections.wait = None  # what isn't selected by now won't be
    text, everything = report(_ended(plan, workflow), plan.paths, sys.argv[1:], by_make="MAKELEVEL" in os.environ)
    # Snakemake has yet to say that it failed
    atexit.register(print, f"\n{text}", file=sys.stderr, flush=True)
    path = Path(plan.paths["failures"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(everything, encoding="utf-8")
    except OSError as error:  # a full disk is often what failed
        print(f"{path} can't be written: {error.strerror}", file=sys.stderr)


def _ended(plan: Plan, workflow: Any) -> Ended:
    dag = workflow.dag
    unfinished = {job for job in dag.needrun_jobs() if job.output}
    failed = sorted(
        (job for each in workflow.scheduler.failed for job in (each.jobs if each.is_group() else [each])),
        key=lambda job: (job.rule.name, *job.output),
    )
    behind = {job: {other for other in dag.bfs(dag.depending, job) if other in unfinished} - {job} for job in failed}
    blocked = set().union(*behind.values()).difference(failed)
    lost = {str(file) for job in unfinished for file in job.output}
    runs = complete = 0
    for form, at, _ in plan.batches():
        # a batch that would follow from what is lost isn't known to be lost before its rate is selected: its starts are
        scores, starts = form.one("scores", at).path, form.each("start")(at, form.block.seeds)
        size = len(form.rates_of(at)) * len(form.block.seeds)
        runs += size
        complete += size if not lost & {scores, *starts} and Path(scores).exists() else 0
    return Ended(
        failures=tuple(
            Failure(job.rule.name, tuple(map(str, job.output)), next(map(str, job.log), ""), len(behind[job]))
            for job in failed
        ),
        blocked=len(blocked),
        unreached=len(unfinished - blocked - set(failed)),
        complete=complete,
        runs=runs,
    )
