"""The audit: what results say of themselves, held against config and code, without Snakemake's own records."""

import json
import os
import re
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from whypretrain import expected
from whypretrain.expected import Expected, staleness
from whypretrain.origins import Origin, Unreadable, content_digest, read_origin
from whypretrain.plan import Plan
from whypretrain.storage import DamagedFile, read_tensors

METADATA = Path(".snakemake/metadata")  # what Snakemake recorded of each file that it made, by its path
UNKNOWN = ".whypretrain-{}.json"  # there: the results that it has no record of
OURS = ("README.md", "blocks.json", "config.yaml", "report.html", "failures.txt", ".lock")  # in the results folder
FOLDERS = ("logs", "benchmarks", "partial", "images")
LEFT_OVER = re.compile(r"^\..*\.(part|lock|snapshot)$")


@dataclass(frozen=True)
class Finding:
    """What is wrong with a file, or with a folder: `stale`, `damaged`, `left over`, `unused` or `foreign`."""

    path: str
    what: str
    why: str

    @property
    def removable(self) -> bool:
        """Whether it can go without a loss: the next run makes it again if it is needed."""
        return self.what in ("stale", "damaged", "left over")


@dataclass(frozen=True)
class Audit:
    """All findings, sorted by path, and how many results are as they should be or not there yet."""

    findings: tuple[Finding, ...]
    fresh: int
    missing: int


def audit(plan: Plan) -> Audit:
    """Read every result of a config whole, and look at what else lies in its results folder."""
    content = cache(content_digest)
    findings, names, fresh, missing = [], set(), 0, 0
    for result in expected.every(plan):
        names.add(result.path)
        if not Path(result.path).exists():
            missing += 1
        elif found := _problem(result, content):
            findings.append(found)
        else:
            fresh += 1
    findings += _others(plan, names)
    return Audit(tuple(sorted(findings, key=lambda finding: finding.path)), fresh, missing)


def _problem(result: Expected, content: "expected.Content") -> Finding | None:
    try:
        origin = read_origin(result.path)
        if result.path.endswith(".safetensors"):
            read_tensors(result.path)
    except Unreadable as error:
        return Finding(result.path, "damaged", str(error))
    except DamagedFile as error:
        return Finding(result.path, "damaged", error.reason)
    return _stale(result, origin, content)


def _stale(result: Expected, origin: Origin, content: "expected.Content") -> Finding | None:
    try:
        why = staleness(result, origin, content)
    except Unreadable:
        return None  # that of the input says it
    return Finding(result.path, "stale", why) if why else None


def _others(plan: Plan, names: set[str]) -> Iterator[Finding]:
    """Yield what lies in the results folder and is no result of this config."""
    results = Path(plan.config.results)
    patterns = [_expression(pattern) for pattern in plan.paths.patterns.values()]
    for folder, folders, files in os.walk(results):
        here = Path(folder)
        for name in [*folders, *files]:
            if LEFT_OVER.match(name):
                yield Finding(str(here / name), "left over", "of a job that was stopped or killed")
        folders[:] = [name for name in folders if not LEFT_OVER.match(name)]
        if here == results:
            folders[:] = [name for name in folders if name not in FOLDERS]
            files = [name for name in files if name not in OURS]
        for name in files:
            path = str(here / name)
            if path in names or LEFT_OVER.match(name) or name == ".snakemake_timestamp":
                continue
            if any(pattern.fullmatch(path) for pattern in patterns):
                yield Finding(path, "unused", "no study of this config has it")
            else:
                yield Finding(path, "foreign", "nothing here makes such a file")


def _expression(pattern: str) -> re.Pattern[str]:
    """Return a path's pattern as a regular expression; the same wildcard may stand twice."""
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(pattern)))


def remove(finding: Finding) -> None:
    """Remove what was found."""
    path = Path(finding.path)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# --- before planning -----------------------------------------------------------------------


def unknown_and_stale(plan: Plan, metadata: Path = METADATA) -> list[Finding]:
    """Return the stale results among those that Snakemake has no record of, and so would take for fresh.

    Which these are is found out once, and noted among Snakemake's records, so that it is found out again when they are
    lost; results that were made since then have one.
    """
    if not Path(plan.config.results).exists():
        return []
    noted = metadata / UNKNOWN.format(re.sub(r"\W", "-", plan.config.results))
    try:
        unknown = set(json.loads(noted.read_text(encoding="utf-8"))["unknown"])
    except (OSError, ValueError, KeyError, TypeError):
        unknown = set(_results(plan))
    unknown = {path for path in unknown if not recorded(path, metadata)}
    metadata.mkdir(parents=True, exist_ok=True)
    noted.write_text(json.dumps({"unknown": sorted(unknown)}), encoding="utf-8")
    content, findings = cache(content_digest), []
    for result in expected.every(plan) if unknown else ():
        if result.path in unknown and Path(result.path).exists():
            try:
                found = _stale(result, read_origin(result.path), content)
            except Unreadable as error:
                found = Finding(result.path, "damaged", str(error))
            findings += [found] if found else []
    return findings


def _results(plan: Plan) -> Iterator[str]:
    """Yield all files in the results folder that are named as a result is."""
    patterns = [_expression(pattern) for pattern in plan.paths.patterns.values()]
    for folder, folders, files in os.walk(plan.config.results):
        folders[:] = [name for name in folders if name not in FOLDERS and not LEFT_OVER.match(name)]
        for path in (str(Path(folder) / name) for name in files if name not in OURS):
            if any(pattern.fullmatch(path) for pattern in patterns):
                yield path


def recorded(path: str, metadata: Path = METADATA) -> bool:
    """Whether Snakemake has a record of a file; long names are cut into folders, as its file backend does."""
    name = urlsafe_b64encode(path.encode()).decode()
    parts = [name[place : place + 254] for place in range(0, len(name), 254)]
    return metadata.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1]).exists()


def half_made_and_stale(plan: Plan) -> list[Finding]:
    """Return checkpoints that are stale in more than the list of checkpoints, of sources that lack one.

    A rule that has one more output than before has no record to compare: Snakemake would take what is there for fresh.
    """
    findings = []
    for path, wildcards, annealed in plan.histories():
        epochs = [] if annealed else plan.checkpoints(plan.config.sources[wildcards.source].pretraining)
        files = [plan.paths.file("checkpoint", **vars(wildcards), epoch=epoch) for epoch in epochs]
        there = [file for file in files if Path(file).exists()]
        if there and len(there) < len(files):
            wanted, found = expected.source(plan, path, wildcards, annealed=False), read_origin(there[0])
            if (found.code, _recipe(found.spec)) != (wanted.code, _recipe(wanted.spec)):
                why = "it was made with other config values or code, and a checkpoint was added"
                findings += [Finding(file, "stale", why) for file in there]
    return findings


def _recipe(spec: str) -> dict[str, object]:
    told = json.loads(spec)
    del told["pretraining"]["checkpoints"]
    return dict(told)
