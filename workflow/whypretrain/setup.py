"""What the Snakefile asks for while it is parsed: the plan, or one message and the end."""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from whypretrain.blocks import check_blocks, record_blocks
from whypretrain.config import ConfigError, load, read_yaml
from whypretrain.plan import Plan, pinned_versions

STORE = "SNAKEMAKE_OUTPUT_CACHE"  # the environment's variable that says where what is shared is kept


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


def is_shared(cache: Sequence[str] | None, environment: Mapping[str, str]) -> bool:
    """Whether Snakemake was called with --cache; without a folder to keep things in, end with one message."""
    if cache is None:
        return False
    store = environment.get(STORE, "")
    if not (Path(store).is_absolute() and os.access(store, os.R_OK | os.W_OK | os.X_OK)):
        print(
            f"--cache: {STORE} is '{store}'; allowed: the absolute path of a folder that is there and that you may "
            f"write to, as in: mkdir -p /group/whypretrain && export {STORE}=/group/whypretrain",
            file=sys.stderr,
        )
        sys.exit(1)
    return True


def record(plan: Plan) -> None:
    """Record the blocks of seeds and learning rates that a run is about to use."""
    record_blocks(plan.config, Path(plan.paths["blocks"]))


def quoted(path: Path) -> str:
    """Quote a path for the shell, and its braces for Snakemake."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


def identifier(name: str) -> str:
    """Return a name as a rule may have it."""
    return re.sub(r"[^a-z0-9]", "_", name)
