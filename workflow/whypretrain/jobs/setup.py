"""What the Snakefile asks for while it is parsed: the plan, or one message and the end."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from whypretrain.command import installed
from whypretrain.config.models import Config, ConfigError, load
from whypretrain.config.reading import read_all
from whypretrain.files.origins import Unreadable, canonical, read_origin
from whypretrain.files.snapshots import MINUTES
from whypretrain.grid.coordinates import Paths
from whypretrain.jobs.auditing import half_made_and_stale, recorded, unknown_and_stale
from whypretrain.jobs.blocks import check_blocks
from whypretrain.jobs.fingerprints import stage_fingerprint
from whypretrain.jobs.plan import Plan, pinned_versions
from whypretrain.networks.architecture import is_shipped
from whypretrain.running import devices

TOLD = 10  # so many files stand in a message; of more it says how many
# the environment's variables that name the folder whose images were looked at just now, and where what is shared is
LOOKED_AT, STORE = "WHYPRETRAIN_LOOKED_AT", "SNAKEMAKE_OUTPUT_CACHE"


def make_plan(raw: Mapping[str, Any], files: Iterable[str | Path], base: Path, *, conda: bool = False) -> Plan:
    """Return the plan of a config; a mistake in it ends the program with one message and status 1.

    With `conda` jobs run in environments of their own, which have the pinned versions.
    """
    try:
        # it refuses a key that stands twice, which Snakemake lets pass, and keeps the includes of all files
        told = read_all([Path(file) for file in files])
        config = load({**raw, **({"include": told["include"]} if "include" in told else {})}, base)
        _check_folder(config.results)
        check_blocks(config, Path(config.results) / "blocks.json")
        pins = pinned_versions(base / "envs" / "requirements.txt")
        describe_networks(config, installed_versions(pins), base)
        plan = Plan(config, pins if conda else installed_versions(pins))
        _check_files(plan)
        return plan
    except ConfigError as error:
        sys.exit(f"Mistake in config: {error}")


def installed_versions(pins: Mapping[str, str]) -> dict[str, str]:
    """Return the version of each package that is installed here, without the tag of its build (`+cpu`).

    Of what isn't installed it is the pinned one.
    """
    return {package: installed(package) or pin for package, pin in pins.items()}


def describe_networks(config: Config, versions: Mapping[str, str], base: Path) -> None:
    """Describe the networks whose cards aren't shipped, each once: the file of its card stays with the results.

    Raises ConfigError where one can't be described.
    """
    code = stage_fingerprint("describe_network")
    for name, architecture in config.architectures.items():
        if is_shipped(architecture):
            continue
        path = Path(Paths(config.results).file("network", architecture=name))
        told = {package: versions[package] for package in ("torch", "torchvision", "timm")}
        spec = canonical({"network": architecture.network, "versions": told})
        with contextlib.suppress(OSError, Unreadable):
            found = read_origin(path)
            if (found.spec, found.code) == (spec, code):
                continue
        command = [sys.executable, "-m", "whypretrain.stages.describe_network"]
        command += ["--spec", spec, "--code", code, "--out", "described", str(path)]
        environment = {**os.environ, "PYTHONPATH": str(base / "workflow")}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        if ended.returncode:
            why = ended.stderr.strip().splitlines()[-1:] or ["it can't be described"]
            raise ConfigError(f"architectures.{name}.network: {why[0].removeprefix('error: ')}")


def _check_folder(results: str) -> None:
    """Refuse a results folder that is, or lies below, a file or a link that leads nowhere."""
    for place in (Path(results), *Path(results).parents):
        if not place.is_dir() and (place.exists() or place.is_symlink()):
            what = "a file" if place.exists() else "a link to what isn't there"
            raise ConfigError(
                f"results: is '{results}', but {place} is {what}; allowed: a folder, or a name that is free"
            )


def _check_files(plan: Plan) -> None:
    """Look at the user's own files before anything is trained; once they are a result, its job looks after them.

    Images are decoded, and it is said what is to be known of them.
    """
    for name in plan.pretrainings() if not plan.config.partial else ():
        for epoch, file in plan.published(name).items():
            made = Path(plan.paths.file("published", pretraining=name, epoch=epoch)).exists()
            readable = made or (os.access(file, os.R_OK) and Path(file).is_file())
            if file in plan.config.pretraining[name].files and not readable:
                raise ConfigError(
                    f"pretraining.{name}.weights: is '{file}', which is no file that can be read in {Path.cwd()}"
                )
    for name, dataset in plan.config.datasets.items():
        module = plan.grid.dataset_module(name)
        if not hasattr(module, "check"):
            continue
        images = Path(dataset.parameters["path"])
        if Path(plan.config.results).resolve().is_relative_to(images.resolve()):
            raise ConfigError(
                f"results: is '{plan.config.results}', in the folder of images {images} of datasets.{name}, where each "
                "folder is a class; choose another"
            )
        made = Path(plan.paths.file("dataset", dataset=name)).exists()
        if made or dataset.parameters["path"] == os.environ.get(LOOKED_AT):
            continue
        report = module.check(dataset.parameters["path"])
        if report.message:
            raise ConfigError(f"datasets.{name}.parameters.path: {report.message}")
        for note in report.notes:
            print(f"datasets.{name}: {note}", file=sys.stderr)


def refuse_stale(plan: Plan, files: Sequence[str | Path], changes: Mapping[str, Any], *, conda: bool = False) -> None:
    """End the program with one message where Snakemake would take a stale result for fresh: it has no record of it.

    `files` are the config files of the call, and `changes` what its `--config` says.
    """
    if plan.config.partial:
        if not plan.there():
            sys.exit(
                f"Nothing to show yet: of {len(plan.arms)} arms none has a run in {plan.paths.results}. "
                "Make some first, without `partial` in config."
            )
        _, table = plan.partial_tables()
        if Path(table).exists() and not recorded(table):
            sys.exit(f"Snakemake has lost its records of {plan.paths.shown}. Delete it, then run again.")
        return
    findings = [*unknown_and_stale(plan), *half_made_and_stale(plan)]
    if not findings:
        return
    told = [f"{len(findings)} results are stale, and Snakemake has no record that would tell it so:"]
    told += [f"  {finding.path}: {finding.why}" for finding in findings[:TOLD]]
    told += [f"  and {len(findings) - TOLD} more"] if len(findings) > TOLD else []
    words = ["python", "workflow/audit.py", *(["--conda"] if conda else [])]
    words += ["--configfile", *map(str, files)] if files else []
    words += ["--config", *(f"{key}={json.dumps(value)}" for key, value in changes.items())] if changes else []
    sys.exit("\n".join([*told, f"Remove them: {shlex.join([*words, '--remove'])}. Then run again."]))


def is_shared(cache: Sequence[str] | None, environment: Mapping[str, str]) -> bool:
    """Whether Snakemake was called with --cache; without a folder to keep things in, end with one message."""
    if cache is None:
        return False
    store = environment.get(STORE, "")
    if not (Path(store).is_absolute() and os.access(store, os.R_OK | os.W_OK | os.X_OK)):
        sys.exit(
            f"--cache: {STORE} is '{store}'; allowed: the absolute path of a folder that is there and that you may "
            f"write to, as in: mkdir -p /group/whypretrain && export {STORE}=/group/whypretrain"
        )
    return True


def prefix(plan: Plan, base: Path) -> str:
    """Return what every job's command begins with: what it is told through its environment, and strict shell options.

    What stands here changes no result; Snakemake doesn't compare it. Ends the program with one message where the
    path of the project holds what can't stand in it.
    """
    if found := sorted(set(str(base)) & set(":{}")):
        sys.exit(
            f"{base}: the path of the project has {' and '.join(found)} in it, which Snakemake and Python take for "
            "more than a name. Nothing was started; move or rename the folder, then run again."
        )
    execution = plan.config.execution
    told = {
        "PYTHONPATH": base / "workflow",
        "MPLBACKEND": "agg",  # a notebook's would be asked for by name and not be found
        devices.RUNS_PER_GPU: execution.runs_per_gpu,
        MINUTES: repr(execution.snapshot_minutes),
    }
    exports = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in told.items())
    # `set -euo pipefail` is what Snakemake sets by itself where no prefix is given
    return f"set -euo pipefail; export {exports}; "
