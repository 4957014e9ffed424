"""What the Snakefile asks for while it is parsed: the plan, or one message and the end."""

import atexit
import hashlib
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whypretrain import registry
from whypretrain.blocks import check_blocks, record_blocks
from whypretrain.config import ConfigError, load, read_yaml
from whypretrain.failures import Ended, Failure, report
from whypretrain.fingerprints import fingerprint
from whypretrain.plan import Plan, pinned_versions

REGISTRIES = ("datasets", "objectives", "treatments", "modes", "regularisers", "measures")


def make_plan(raw: Mapping[str, Any], files: Iterable[str | Path], base: Path) -> Plan:
    """Return the plan of a config; a mistake in it ends the program with one message and status 1."""
    try:
        for file in files:
            read_yaml(Path(file))  # refuses a key written twice, which Snakemake would let pass
        config = load(dict(raw), base)
        check_blocks(config, Path(config.results) / "blocks.json")
        plan = Plan(config, pinned_versions(base / "envs" / "requirements.txt"))
        _check_images(plan)
        return plan
    except ConfigError as error:
        print(f"Mistake in config: {error}", file=sys.stderr)
        sys.exit(1)


def _check_images(plan: Plan) -> None:
    """Decode the user's own images before anything is trained; once they are a dataset, its job looks after them."""
    for name, dataset in plan.config.datasets.items():
        module = plan.grid.dataset_module(name)
        if not hasattr(module, "check") or Path(plan.paths.file("dataset", dataset=name)).exists():
            continue
        if message := module.check(dataset.parameters["path"]).message:
            raise ConfigError(f"datasets.{name}.parameters.path: {message}")


def there(plan: Plan) -> str:
    """Return a digest of which results are there, by name, size and time: what a partial plan is made from.

    Where no run is among them this ends the program with one message and status 1.
    """
    found = [file for file in map(Path, plan.files_read()) if file.exists()]
    if not any(file.name == "scores.parquet" for file in found):
        print(
            f"Nothing to show yet: of {len(list(plan.runs()))} runs none is there in {plan.paths.results}. "
            "Make some first, without `partial` in config.",
            file=sys.stderr,
        )
        sys.exit(1)
    told = (f"{file} {(status := file.stat()).st_size} {status.st_mtime_ns}" for file in found)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def code_of_results(plan: Plan) -> str:
    """Return a digest of all code that results are made by, and of the user's own images: of what may be stale."""
    stages = (f"whypretrain.stages.{path.stem}" for path in (registry.PACKAGE / "stages").glob("[a-z]*.py"))
    entries = (registry.module_name(kind, name) for kind in REGISTRIES for name in registry.names(kind))
    images = (plan.specs.dataset(SimpleNamespace(dataset=name)) for name in plan.specs.datasets())
    told = [fingerprint(tuple(sorted({*stages, *entries}))), *images]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def record(plan: Plan) -> None:
    """Record the blocks of seeds and learning rates that a run is about to use; forget what failed before it."""
    if not plan.config.partial:  # which uses none
        record_blocks(plan.config, Path(plan.paths["blocks"]))
    Path(plan.paths["failures"]).unlink(missing_ok=True)


def tell_failures(plan: Plan, workflow: Any) -> None:
    """Print at the very end which jobs failed, and write it to a file; `workflow` is Snakemake's."""
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
    runs = [plan.run_file("scores", *run) for run in plan.runs()]
    return Ended(
        failures=tuple(
            Failure(job.rule.name, tuple(map(str, job.output)), next(map(str, job.log), ""), len(behind[job]))
            for job in failed
        ),
        blocked=len(blocked),
        unreached=len(unfinished - blocked - set(failed)),
        complete=sum(run not in lost and Path(run).exists() for run in runs),
        runs=len(runs),
    )


def quoted(path: Path) -> str:
    """Quote a path for the shell, and its braces for Snakemake."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


def identifier(name: str) -> str:
    """Return a name as a rule may have it."""
    return re.sub(r"[^a-z0-9]", "_", name)
