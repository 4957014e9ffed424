"""What the Snakefile asks for while it is parsed: the plan, or one message and the end."""

import getpass
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from whypretrain import slurm
from whypretrain.blocks import check_blocks, record_blocks
from whypretrain.config import ConfigError, load, read_yaml
from whypretrain.plan import Plan, pinned_versions


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


def record(plan: Plan) -> None:
    """Record the blocks of seeds and learning rates that a run is about to use."""
    record_blocks(plan.config, Path(plan.paths["blocks"]))


def prepare_cluster(workflow: Any, plan: Plan) -> None:
    """See to what Snakemake's executor for SLURM leaves open; what can't run ends the program with one message."""
    try:
        slurm.prepare(workflow, Path(plan.paths.results), plan.limits, getpass.getuser())
    except slurm.ClusterError as error:
        print(f"SLURM: {error}.", file=sys.stderr)
        sys.exit(1)


def quoted(path: Path) -> str:
    """Quote a path for the shell, and its braces for Snakemake."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


def identifier(name: str) -> str:
    """Return a name as a rule may have it."""
    return re.sub(r"[^a-z0-9]", "_", name)
