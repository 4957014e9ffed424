"""The command line of a stage: named inputs and outputs, a spec and a code."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

from whypretrain import memory
from whypretrain.storage import DamagedFile

log = logging.getLogger("whypretrain")


class StageError(Exception):
    """What a stage tells the user instead of a traceback."""


class Job:
    """What one job was told: `spec` (its values), `spec_text` and `code` (as stored), and its files."""

    def __init__(self, spec_text: str, code: str, files: dict[str, list[str]]) -> None:
        self.spec_text = spec_text
        self.spec: dict[str, Any] = json.loads(spec_text)
        self.code = code
        self._files = files

    def file(self, name: str) -> str:
        """Return the one path of an input or output."""
        (path,) = self._files[name]
        return path

    def files(self, name: str) -> list[str]:
        """Return all paths of an input or output; none where it was not given."""
        return self._files.get(name) or []


def check_versions(versions: Mapping[str, str]) -> None:
    """Raise StageError where another version of a package is installed than the spec was made for."""
    for package, pinned in versions.items():
        try:
            installed = metadata.version(package).split("+")[0]
        except metadata.PackageNotFoundError:
            installed = "none"
        if installed != pinned:
            raise StageError(
                f"{package}: {installed} is installed, but envs/requirements.txt pins {pinned}; "
                "run: pip install -r envs/requirements.txt"
            )


def run_stage(main: Callable[[Job], None], files: Sequence[str]) -> None:
    """Parse the command line, run a stage, and turn expected errors into one message and exit status 1.

    `files` names the inputs and outputs; each is an option that takes one or more paths.
    """
    parser = argparse.ArgumentParser(description=sys.modules[main.__module__].__doc__)
    parser.add_argument("--spec", required=True, help="all values that this job uses, as JSON")
    parser.add_argument("--code", required=True, help="fingerprint of the code that this job runs")
    for name in files:
        parser.add_argument(f"--{name}", nargs="*", default=[], metavar="PATH")
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    job = Job(arguments.pop("spec"), arguments.pop("code"), arguments)
    try:
        check_versions(job.spec.get("versions", {}))
        main(job)
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
