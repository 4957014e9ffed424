"""What the Snakefile asks for while it is parsed: the plan, or one message and the end."""

import atexit
import getpass
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from whypretrain import devices, slurm
from whypretrain.auditing import half_made_and_stale, unknown_and_stale
from whypretrain.blocks import check_blocks, record_blocks
from whypretrain.config import ConfigError, load, read_yaml
from whypretrain.locking import Held, Lock
from whypretrain.plan import Plan, pinned_versions
from whypretrain.snapshots import MINUTES

TOLD = 10  # so many files stand in a message; of more it says how many


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


def refuse_stale(plan: Plan, files: Iterable[str | Path]) -> None:
    """End the program with one message where Snakemake would take a stale result for fresh: it has no record of it."""
    findings = [*unknown_and_stale(plan), *half_made_and_stale(plan)]
    if not findings:
        return
    print(f"{len(findings)} results are stale, and Snakemake has no record that would tell it so:", file=sys.stderr)
    for finding in findings[:TOLD]:
        print(f"  {finding.path}: {finding.why}", file=sys.stderr)
    if len(findings) > TOLD:
        print(f"  and {len(findings) - TOLD} more", file=sys.stderr)
    named = "".join(f" --configfile {shlex.quote(str(file))}" for file in list(files)[:1])
    print(f"Remove them: python workflow/audit.py{named} --remove. Then run again.", file=sys.stderr)
    sys.exit(1)


def begin(plan: Plan) -> None:
    """Take the results folder for this call, and record the blocks of seeds and rates that it uses.

    Where another call has the folder, the program ends with one message.
    """
    lock = Lock(Path(plan.config.results) / ".lock")
    try:
        lock.acquire()
    except Held as held:
        print(
            f"{plan.config.results} is in use by another snakemake: {held}. "
            "Nothing was started; wait for it to end, or stop it.",
            file=sys.stderr,
        )
        sys.exit(1)
    atexit.register(lock.release)
    record_blocks(plan.config, Path(plan.paths["blocks"]))


def prefix(plan: Plan, base: Path) -> str:
    """Return what every job's command begins with: what it is told through its environment, and strict shell options.

    What stands here changes no result; Snakemake doesn't compare it.
    """
    execution = plan.config.execution
    told = {
        "PYTHONPATH": base / "workflow",
        devices.RUNS_PER_GPU: execution.runs_per_gpu,
        MINUTES: repr(execution.snapshot_minutes),
    }
    exports = " ".join(f"{name}={quoted(value)}" for name, value in told.items())
    # `set -euo pipefail` is what Snakemake sets by itself where no prefix is given
    return f"set -euo pipefail; export {exports}; "


def share_gpus(plan: Plan, asked: int | None, most: int) -> int | None:
    """Return how many jobs may have a GPU at once where Snakemake runs them on this machine; None for any number.

    `asked` is `--resources gpu=…` and `most` the most that any job to be run needs. Says on standard error what can't
    be as it was asked for; ends the program with status 1 where `device: cuda` is asked for and there is no GPU.
    """
    if plan.config.device == "cpu" or not (most or asked == 0):
        return None
    found = len(devices.usable())
    shares = plan.config.execution.runs_per_gpu
    if found and asked == 0:
        sys.exit("Mistake: --resources gpu=0 hides no GPU from the jobs; say --config device=cpu")
    if not found and plan.config.device == "cuda":
        sys.exit(f"Mistake in config: {devices.why_none()}")
    if asked is not None and asked > found:
        told = f"{found} can be used" if found else "there is none to use, so jobs run on the CPU"
        print(f"Note: --resources gpu={asked}, but {told} here.", file=sys.stderr)
    count = min(asked, found) if found and asked is not None else asked or found
    return max(count * shares, most) if count else None


def prepare_cluster(workflow: Any, plan: Plan) -> None:
    """See to what Snakemake's executor for SLURM leaves open; what can't run ends the program with one message."""
    try:
        slurm.prepare(workflow, Path(plan.paths.results), plan.limits, getpass.getuser())
    except slurm.ClusterError as error:
        print(f"SLURM: {error}.", file=sys.stderr)
        sys.exit(1)


def quoted(value: object) -> str:
    """Quote a value for the shell, and its braces for Snakemake."""
    return shlex.quote(str(value)).replace("{", "{{").replace("}", "}}")


def identifier(name: str) -> str:
    """Return a name as a rule may have it."""
    return re.sub(r"[^a-z0-9]", "_", name)
