"""The command line of a stage: named inputs and outputs, a spec and a code."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from whypretrain.files.origins import Origin, Unreadable, canonical, content_digest, digest_of, lasting
from whypretrain.files.snapshots import Snapshot, Stopped, listen
from whypretrain.files.storage import DamagedFile, remove_parts
from whypretrain.running import memory
from whypretrain.running.locking import Held, taken_over

log = logging.getLogger("whypretrain")

SHARED = ("card", "published")  # inputs that all seeds have, however many there are


class StageError(Exception):
    """What a stage tells the user instead of a traceback."""


class Job:
    """What one job was told: `spec` (its values), `spec_text` and `code` (as stored), and its files by name."""

    def __init__(
        self, spec_text: str, code: str, inputs: Mapping[str, list[str]], outputs: Mapping[str, list[str]]
    ) -> None:
        self.spec_text = spec_text
        self.spec: dict[str, Any] = json.loads(spec_text)
        self.code = code
        self.inputs, self.outputs = inputs, outputs
        self._files = {**inputs, **outputs}
        self.content = cache(_content)  # each input is read once

    def file(self, name: str) -> str:
        """Return the one path of an input or output."""
        (path,) = self._files[name]
        return path

    def files(self, name: str) -> list[str]:
        """Return all paths of an input or output; none where it was not given."""
        return self._files.get(name) or []

    def own(self, name: str, seed: int) -> list[str]:
        """Return the files of an input that a seed's results are made from: its own, or what all seeds share."""
        paths, seeds = self.files(name), self.spec["seeds"]
        each, rest = divmod(len(paths), len(seeds))
        if name in SHARED or rest:
            return paths
        place = seeds.index(seed)
        return paths[place * each : (place + 1) * each]

    def of_seed(self, name: str, seed: int) -> str:
        """Return the one file of an input that is a seed's own, or that all seeds share."""
        (path,) = self.own(name, seed)
        return path

    def origin(self, seed: int | None = None) -> Origin:
        """Return the origin of a result made from all inputs, or from those of one seed, which its spec has alone.

        Raises DamagedFile where an input can't be read.
        """
        if seed is None:
            return self.origin_of(path for paths in self.inputs.values() for path in paths)
        own = (path for name in self.inputs for path in self.own(name, seed))
        return Origin(canonical({**self.spec, "seeds": [seed]}), self.code, digest_of(map(self.content, lasting(own))))

    def origin_of(self, paths: Iterable[str]) -> Origin:
        """Return the origin of a result made from some files that the job found out itself."""
        return Origin(canonical(self.spec), self.code, digest_of(map(self.content, lasting(paths))))

    def snapshot(self, hardware: str, outputs: str) -> Snapshot:
        """Return what the job keeps beside the first of some outputs until it is done."""
        return Snapshot(self.files(outputs)[0], self.origin(), hardware=hardware)


def _content(path: str) -> str:
    """Return the digest of what a file holds. Raises DamagedFile where it isn't what its name says."""
    try:
        return content_digest(path)
    except Unreadable as error:
        raise DamagedFile(path, error) from error


def installed(package: str) -> str | None:
    """Return the version of a package that is installed, without the tag of its build; None of one that isn't."""
    try:
        return metadata.version(package).split("+")[0]
    except metadata.PackageNotFoundError:
        return None


def check_versions(versions: Mapping[str, str]) -> None:
    """Raise StageError where another version of a package is installed than the spec was made for."""
    for package, wanted in versions.items():
        if (found := installed(package)) != wanted:
            raise StageError(
                f"{package}: {found or 'none'} is installed where this job runs, but the results are to be made with "
                f"{wanted}, as there is where snakemake runs; give both one environment: "
                "pip install -r envs/requirements.txt"
            )


def run_stage(main: Callable[[Job], None], *, keeps: bool = False) -> None:
    """Parse the command line, run a stage, and turn expected errors into one message and exit status 1.

    Inputs and outputs have names, which the form of the job gives them (`jobs`); each has one or more paths, or none.
    While the stage runs it holds the lock of its first output. One that `keeps` a snapshot stops, when told to, where
    it can go on.
    """
    parser = argparse.ArgumentParser(description=sys.modules[main.__module__].__doc__)
    parser.add_argument("--spec", required=True, help="all values that this job uses, as JSON")
    parser.add_argument("--code", required=True, help="fingerprint of the code that this job runs")
    for way in ("in", "out"):
        parser.add_argument(f"--{way}", nargs="+", action="append", default=[], metavar=("NAME", "PATH"))
    arguments = vars(parser.parse_args())
    files = [{name: paths for name, *paths in arguments[way]} for way in ("in", "out")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    job = Job(arguments["spec"], arguments["code"], *files)
    try:
        check_versions(job.spec.get("versions", {}))
        outputs = [path for paths in job.outputs.values() for path in paths]
        first = Path(outputs[0])
        if keeps:
            listen()
        with taken_over(first.with_name(f".{first.name}.lock")):
            for path in outputs:
                remove_parts(path)
            main(job)
    except Stopped as stopped:
        sys.exit(f"error: {stopped}. What it had is kept; run snakemake again, it goes on from there.")
    except Held as held:
        sys.exit(f"error: {held.path.parent} is still being written by {held}. Wait for it or stop it, then run again.")
    except (StageError, DamagedFile) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(
            f"error: {where}{os.strerror(error.errno)}. Nothing partial was kept; "
            "mend it and run snakemake again, it goes on from here."
        )
    except (MemoryError, RuntimeError) as error:  # torch's are RuntimeErrors
        if (message := memory.message_of(error, job.spec)) is None:
            raise
        sys.exit(f"error: {message}")
