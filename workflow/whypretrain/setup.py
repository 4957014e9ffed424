"""What the Snakefile asks for while it is parsed: the plan, or one message and the end."""

import atexit
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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


def environment(plan: Plan, base: Path) -> str:
    """Return what stands before every shell command: nothing in it changes a result, or reruns a job."""
    variables = {"PYTHONPATH": quoted(base / "workflow"), MINUTES: repr(plan.config.execution.snapshot_minutes)}
    # `set -euo pipefail` is what Snakemake sets by itself where no prefix is given
    return "set -euo pipefail; " + "".join(f"export {name}={value}; " for name, value in variables.items())


def quoted(path: Path) -> str:
    """Quote a path for the shell, and its braces for Snakemake."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


def identifier(name: str) -> str:
    """Return a name as a rule may have it."""
    return re.sub(r"[^a-z0-9]", "_", name)
