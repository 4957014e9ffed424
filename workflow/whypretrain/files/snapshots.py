"""Snapshots: what a long job keeps beside its outputs, so that it goes on where it was stopped.

Snakemake deletes a job's outputs before it runs it again, so what is to survive is no output: a hidden folder beside
the first of them. It holds the origin of the job, the files of what is done (a run, a checkpoint), linked, and the
state of the training that is under way. It is written every so often, and at once when the job is told to stop
(SIGTERM, as before a time limit or a pre-emption; SIGINT). A snapshot of other code, config or inputs, or a damaged
one, is removed; so is that of a finished job. A resumed training ends in the bits of an undisturbed one.
"""

import hashlib
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from whypretrain.files.origins import Origin
from whypretrain.files.storage import DamagedFile, read_tensors, write_json, write_tensors

log = logging.getLogger("whypretrain")

MINUTES = "WHYPRETRAIN_SNAPSHOT_MINUTES"  # the environment's variable that says how often
STATE = "state.safetensors"
ITEM = "item.json"
VALUES = "values"  # the name of the array that holds a state's plain values


class Stopped(Exception):
    """The job was told to stop, and what it had is kept."""


@dataclass
class State:
    """Where a training is: arrays by name, and plain values (JSON) by name."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


class Progress:
    """What one training keeps of itself: nothing, unless it is part of a `Snapshot`."""

    def state(self) -> State | None:
        """Return the state that it was stopped in, or None where it begins."""
        return None

    def offer(self, state: Callable[[], State]) -> None:
        """Take the state between two steps, if it is time to. Raises Stopped where the job was told to stop."""


UNKEPT = Progress()


told: list[int] = []  # the signals by which this process was told to stop


def listen() -> None:
    """From now on this process, told to stop, does so between two steps of a training."""

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, note)


class Snapshot(Progress):
    """The snapshot of one job.

    `first` is the first of its outputs, `origin` that of the job as a whole. `seconds` is the time between two states;
    where it is None the environment says it, in minutes. A state is taken up on the same `hardware` alone: a training
    that is half on one processor and half on another has bits that no undisturbed one has.
    """

    def __init__(self, first: str | Path, origin: Origin, seconds: float | None = None, hardware: str = "") -> None:
        first = Path(first)
        self.folder = first.with_name(f".{first.name}.snapshot")
        self.origin = origin
        self.hardware = hardware
        self.seconds = 60 * float(os.environ.get(MINUTES, "5")) if seconds is None else seconds
        self._item = ""
        self._values: Callable[[], Mapping[str, Any]] = dict
        self._last = time.monotonic()
        self._refuse_others()

    def _refuse_others(self) -> None:
        """Remove what isn't this job's: made with other code, config values or inputs."""
        if not self.folder.exists():
            return
        try:
            if json.loads((self.folder / "origin.json").read_text(encoding="utf-8")) == self.origin.columns():
                return
            log.warning("%s: was made with other code, config or inputs; removed", self.folder)
        except (OSError, ValueError) as error:
            log.warning("%s: is damaged (%s); removed", self.folder, error)
        self.remove()

    def _begin(self) -> None:
        if not self.folder.exists():
            write_json(self.folder / "origin.json", self.origin.columns())

    # --- what is done ----------------------------------------------------------------------

    @contextmanager
    def making(self, item: str) -> Iterator[Path]:
        """Give a folder for the files of what is done, and keep it once they are there."""
        self._begin()
        part, whole = self.folder / f".{item}.part", self.folder / item
        for folder in (part, whole):
            shutil.rmtree(folder, ignore_errors=True)
        part.mkdir()
        try:
            yield part
            write_json(part / ITEM, {file.name: _digest(file) for file in part.iterdir()})
        except BaseException:  # half of it is of no use, and takes room
            shutil.rmtree(part, ignore_errors=True)
            raise
        part.replace(whole)

    def kept(self, item: str) -> Path | None:
        """Return the folder of what was done before, if it is kept whole."""
        folder = self.folder / item
        if not folder.exists():
            return None
        try:
            digests = json.loads((folder / ITEM).read_text(encoding="utf-8"))
            if all(_digest(folder / name) == digest for name, digest in digests.items()):
                return folder
            why = "its files don't match their digests"
        except (OSError, ValueError, AttributeError) as error:
            why = str(error)
        log.warning("%s: is damaged (%s); made again", folder, why)
        return None

    def keep(self, item: str, files: Iterable[str | Path]) -> None:
        """Keep the files of what is done."""
        with self.making(item) as folder:
            for number, file in enumerate(map(Path, files)):
                _link(file, folder / str(number))

    def restore(self, item: str, files: Iterable[str | Path]) -> bool:
        """Put back the files of what was done before, if they are kept whole; say whether they were."""
        wanted = {str(number): Path(file) for number, file in enumerate(files)}
        if (folder := self.kept(item)) is None or not all((folder / number).exists() for number in wanted):
            return False
        for number, file in wanted.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            _link(folder / number, file)
            os.utime(file)  # as new as if it had been made now: its inputs may have been made again meanwhile
        return True

    # --- what is under way -----------------------------------------------------------------

    def begin(self, item: str, values: Callable[[], Mapping[str, Any]] = dict) -> "Snapshot":
        """Say what is trained next; `values` gives what the caller wants to find again in `resumed`."""
        self._item, self._values = item, values
        self._check()
        return self

    def resumed(self) -> dict[str, Any]:
        """Return the caller's values from the state that what is under way was stopped in; none where it begins."""
        found = self._read()
        return found.values["caller"] if found else {}

    def state(self) -> State | None:
        """Return the state that what is under way was stopped in, or None where it begins."""
        found = self._read()
        if found:
            log.info("%s goes on from step %s", self._item, found.values.get("step", "?"))
        return found

    def forget(self) -> None:
        """Drop the state of what is under way: it begins anew."""
        (self.folder / STATE).unlink(missing_ok=True)

    def _read(self) -> State | None:
        path = self.folder / STATE
        if not path.exists():
            return None
        try:
            arrays = read_tensors(path)
            values = json.loads(arrays.pop(VALUES).tobytes())
        except (DamagedFile, OSError, ValueError, KeyError) as error:
            log.warning("%s: is damaged (%s); removed", path, str(error).split(". Rebuild")[0])
            self.forget()
            return None
        if values.get("item") != self._item:
            return None
        if values.get("hardware") != self.hardware:
            log.warning("%s: was on %s, not on %s; begins anew", path, values.get("hardware"), self.hardware)
            self.forget()
            return None
        return State(arrays, values)

    def offer(self, state: Callable[[], State]) -> None:
        """Write the state between two steps, if it is time to. Raises Stopped where the job was told to stop."""
        if not told and time.monotonic() - self._last < self.seconds:
            return
        self._write(state())
        self._check()

    def _write(self, state: State) -> None:
        self._begin()
        values = {**state.values, "item": self._item, "hardware": self.hardware, "caller": self._values()}
        text = np.frombuffer(json.dumps(values).encode(), np.uint8)  # an array, so that the checksum is of it as well
        write_tensors(self.folder / STATE, {**state.arrays, VALUES: text}, self.origin)
        self._last = time.monotonic()

    def _check(self) -> None:
        if told:
            raise Stopped(f"told to stop ({signal.Signals(told[0]).name})")

    def remove(self) -> None:
        """Remove the snapshot: the job is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system can't."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
