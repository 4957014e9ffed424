"""The audit: what results say of themselves, held against config and code, without Snakemake's own records."""

import contextlib
import json
import os
import re
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from whypretrain.files.origins import Unreadable, content_digest, read_origin
from whypretrain.files.storage import DamagedFile, read_tensors
from whypretrain.jobs.form import Content, Result
from whypretrain.jobs.plan import Plan
from whypretrain.running.locking import Held, Lock

METADATA = Path(".snakemake/metadata")  # what Snakemake recorded of each file that it made, by its path
UNKNOWN = ".whypretrain-{}.json"  # there: the results that it has no record of
OURS = ("README.md", "blocks.json", "config.yaml", "report.html", "failures.txt", ".lock")  # in the results folder
FOLDERS = ("logs", "benchmarks", "partial", "images")
LEFT_OVER = re.compile(r"^\..*\.(part|lock|snapshot)$")
KEPT = "kept"


@dataclass(frozen=True)
class Finding:
    """What is wrong with a file, or with a folder: `stale`, `damaged`, `left over`, `unused` or `foreign`.

    `kept` is nothing wrong: what a stopped job goes on from.
    """

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
    findings, names, missing = [], set(), 0
    for result in plan.results():
        names.add(result.path)
        try:
            findings.append(_problem(result, content, whole=True))
        except FileNotFoundError:
            missing += 1
    wrong = [*filter(None, findings), *_others(plan, names)]
    return Audit(tuple(sorted(wrong, key=lambda finding: finding.path)), findings.count(None), missing)


def _problem(result: Result, content: Content, *, whole: bool = False) -> Finding | None:
    """Return what is wrong with a result, of which all is read if `whole`.

    Raises FileNotFoundError where it isn't there; unless `whole`, OSError where it can't be read.
    """
    try:
        origin = read_origin(result.path)
        if whole and result.path.endswith(".safetensors"):
            read_tensors(result.path)
    except Unreadable as error:
        return Finding(result.path, "damaged", str(error))
    except DamagedFile as error:
        return Finding(result.path, "damaged", error.reason)
    except OSError as error:
        if not whole or isinstance(error, FileNotFoundError):
            raise
        return Finding(result.path, "damaged", str(error.strerror))
    try:
        why = result.staleness(origin, content)
    except Unreadable:
        return None  # that of the input says it
    return Finding(result.path, "stale", why) if why else None


def _folders(plan: Plan) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder of results, what jobs have left over in it, and its other files."""
    results = Path(plan.config.results)
    for folder, folders, files in os.walk(results, followlinks=True):
        left = [name for name in [*folders, *files] if LEFT_OVER.match(name)]
        known = (*left, *FOLDERS, *OURS) if Path(folder) == results else left
        folders[:] = [name for name in folders if name not in known]
        yield Path(folder), left, [name for name in files if name not in known]


def _others(plan: Plan, names: set[str]) -> Iterator[Finding]:
    """Yield what lies in the results folder and is no result of this config."""
    for folder, left, files in _folders(plan):
        # of a job that runs now, or is ending
        for name in left if not any(_is_held(folder / name) for name in left) else ():
            if name.endswith(".snapshot"):
                yield Finding(str(folder / name), KEPT, "what a stopped job goes on from")
            else:
                yield Finding(str(folder / name), "left over", "of a job that was stopped or killed")
        for path in (str(folder / name) for name in files if name != ".snakemake_timestamp"):
            if path not in names and plan.paths.match(path):
                yield Finding(path, "unused", "no study of this config has it")
            elif path not in names:
                yield Finding(path, "foreign", "nothing here makes such a file")


def _is_held(path: Path) -> bool:
    if not path.name.endswith(".lock"):
        return False
    lock = Lock(path)
    try:
        lock.acquire()
    except (Held, OSError):
        return True
    lock.release()
    return False


def remove(finding: Finding) -> None:
    """Remove what was found."""
    path = Path(finding.path)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# --- before planning -----------------------------------------------------------------------


def unknown_and_stale(plan: Plan, metadata: Path = METADATA) -> list[Finding]:
    """Return the stale results among those that Snakemake has no record of, and so would take for fresh.

    Which these are is found out once, and noted among Snakemake's records, so that it is found out again when they are
    lost, or where folders of results are others than before; results that were made since then have one.
    """
    results = Path(plan.config.results)
    if not results.exists():
        return []
    noted, places = _noted(results, metadata), _places(results)
    try:
        found = json.loads(noted.read_text(encoding="utf-8"))
        unknown = set(found["unknown"]) if found["places"] == places else _results(plan)
    except (OSError, ValueError, KeyError, TypeError):
        unknown = _results(plan)
    unknown = {path for path in unknown if not recorded(path, metadata)}
    with contextlib.suppress(OSError):  # where it can't be written it is found out again
        metadata.mkdir(parents=True, exist_ok=True)
        noted.write_text(json.dumps({"unknown": sorted(unknown), "places": places}), encoding="utf-8")
    content, findings = cache(content_digest), []
    for result in plan.results() if unknown else ():
        if result.path in unknown and Path(result.path).exists():
            with contextlib.suppress(OSError):  # it is being made again, or the job that reads it will say
                findings.append(_problem(result, content))
    return [finding for finding in findings if finding]


def forget_stale(plan: Plan, metadata: Path = METADATA) -> None:
    """Take from Snakemake its records of stale results: `--touch` has made them say that these are fresh."""
    content = cache(content_digest)
    for result in plan.results():
        with contextlib.suppress(OSError):
            if (found := _problem(result, content)) and found.what == "stale":
                _record(result.path, metadata).unlink()
    _noted(Path(plan.config.results), metadata).unlink(missing_ok=True)


def _noted(results: Path, metadata: Path) -> Path:
    return metadata / UNKNOWN.format(quote(str(results), safe=""))


def _places(results: Path) -> dict[str, int]:
    """Return what the file system calls the results folder and each folder in it: copied ones are others."""
    folders = (path for path in [results, *results.iterdir()] if path.is_dir() and path.name not in FOLDERS)
    return {str(folder): folder.stat().st_ino for folder in sorted(folders)}


def _results(plan: Plan) -> set[str]:
    """Return all files in the results folder that are named as a result is."""
    paths = (str(folder / name) for folder, _, files in _folders(plan) for name in files)
    return {path for path in paths if plan.paths.match(path)}


def recorded(path: str, metadata: Path = METADATA) -> bool:
    """Whether Snakemake has a record of a file."""
    return _record(path, metadata).exists()


def _record(path: str, metadata: Path) -> Path:
    """Return where Snakemake's record of a file is; long names are cut into folders, as its file backend does."""
    name = urlsafe_b64encode(path.encode()).decode()
    parts = [name[place : place + 254] for place in range(0, len(name), 254)]
    return metadata.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])


def half_made_and_stale(plan: Plan) -> list[Finding]:
    """Return checkpoints that are stale in more than the list of checkpoints, of sources that lack one.

    A rule that has one more output than before has no record to compare: Snakemake would take what is there for fresh.
    """
    findings = []
    for form, at in plan.jobs("pretrain_source"):
        for made, outputs in form.made(at):
            files = [path for name, paths in outputs.items() if not name.endswith("_history") for path in paths]
            there = [file for file in files if Path(file).exists()]
            for file in there if len(there) < len(files) else ():
                try:
                    found = read_origin(file)
                    if (found.code, _recipe(found.spec)) != (made.code, _recipe(made.spec)):
                        why = "it was made with other config values or code, and a checkpoint was added"
                        findings.append(Finding(file, "stale", why))
                except Unreadable as error:
                    findings.append(Finding(file, "damaged", str(error)))
    return findings


def _recipe(spec: str) -> object:
    """Return a source's spec without its list of checkpoints; nothing of another form of spec."""
    try:
        told = json.loads(spec)
        del told["pretraining"]["checkpoints"]
    except (ValueError, KeyError, TypeError):
        return None
    return told
