"""Locks: no file is written by two jobs at once, and no results folder used by two calls of Snakemake.

A lock is the kernel's (`flock`), on a small file that says who holds it; it is gone with its process, however that
ends, so none is ever left behind. Where a file system has no such locks, there is none, and a warning says so.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger("whypretrain")

PATIENCE = 600.0  # seconds that another job of the same outputs is given to end
PAUSE = 0.1
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Held(Exception):
    """Somebody else holds the lock: `owner` is what the file says of them."""

    def __init__(self, path: Path, owner: dict[str, Any]) -> None:
        self.path = path
        self.owner = owner
        told = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}, since {owner.get('since', '?')}"
        job = f" (SLURM job {owner['slurm']})" if owner.get("slurm") else ""
        super().__init__(f"{told}{job}")


def _owner() -> dict[str, Any]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": platform.node(), "slurm": os.environ.get("SLURM_JOB_ID"), "since": since}


class Lock:
    """A lock on a file; `release` gives it back and removes the file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises Held where somebody else has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = _read(handle)
                os.close(handle)
                if error.errno in NO_LOCKS:
                    log.warning("%s: %s; nothing keeps two jobs from writing here at once", self.path, error.strerror)
                    return
                raise Held(self.path, owner) from None
            if _is(handle, self.path):
                break
            os.close(handle)  # its holder removed it meanwhile: this file has no name any more
        self._handle = handle
        with contextlib.suppress(OSError):  # on a full disk it is held all the same, and says nothing of its holder
            os.truncate(handle, 0)
            os.pwrite(handle, json.dumps(_owner()).encode(), 0)

    def release(self) -> None:
        """Give the lock back; nothing happens where it isn't held."""
        if self._handle is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


def _read(handle: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(handle, 10_000, 0))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _is(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def taken_over(path: str | Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of a job's outputs; a job that holds it is told to stop, and waited for.

    Such a job is left over from a call of Snakemake that was killed: it keeps what it has, and this one goes on.
    Raises Held where it doesn't end.
    """
    lock = Lock(path)
    deadline, told = time.monotonic() + patience, None
    while True:
        try:
            lock.acquire()
            break
        except Held as held:
            if time.monotonic() > deadline:
                raise
            if held.owner and held.owner != told:
                log.warning("these outputs are being made by %s, left over from an earlier call: stopping it", held)
                _stop(held.owner)
                told = held.owner
            time.sleep(PAUSE)
    try:
        yield
    finally:
        lock.release()


def _stop(owner: dict[str, Any]) -> None:
    """Tell a job to stop, if it can be reached from here."""
    if owner.get("host") == platform.node() and _is_stage(owner["pid"]):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(owner["pid"], signal.SIGTERM)
    elif owner.get("slurm") and owner["slurm"] != os.environ.get("SLURM_JOB_ID") and shutil.which("scancel"):
        subprocess.run(["scancel", str(owner["slurm"])], check=False, capture_output=True)


def _is_stage(pid: int) -> bool:
    """Whether a process is one of the pipeline's jobs: its number may be another's by now."""
    try:
        return b"whypretrain.stages." in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
