"""Which GPU is a job's own: one share of one device, held by a lock for as long as the job's process lives.

Snakemake counts GPUs, but gives none to a job. So each job that may use one takes it here, before torch starts
CUDA: it locks a small file of the device and lets itself see that device alone. The kernel frees the lock with
the process, however that ends. Devices are known by NVML's UUID, since their numbers differ between processes:
a number in CUDA_VISIBLE_DEVICES is taken as nvidia-smi counts.
"""

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path

log = logging.getLogger("whypretrain")

VISIBLE = "CUDA_VISIBLE_DEVICES"
RUNS_PER_GPU = "WHYPRETRAIN_RUNS_PER_GPU"  # execution.runs_per_gpu, as jobs are told
LOCKS = Path("/tmp")  # of this machine, for all its users, and kept while a file is locked; TMPDIR may be one's own
PAUSE = 1.0  # seconds between two looks for a free share


# --- what there is -------------------------------------------------------------------------


def machine() -> tuple[str, ...]:
    """Return the UUIDs of the GPUs that the driver shows this process, in nvidia-smi's order; none without one."""
    import pynvml  # not while the Snakefile is parsed

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        # one of a cluster's that was given to another job; CUDA doesn't count it either
        with suppress(pynvml.NVMLError_NoPermission):
            found.append(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
    pynvml.nvmlShutdown()
    return tuple(found)


def visible(asked: str | None, devices: Sequence[str]) -> tuple[str, ...]:
    """Return those of the machine's devices that CUDA_VISIBLE_DEVICES lets a process see; all where it isn't set.

    It names them by number, by UUID or its beginning, or a part of one by `MIG-…`. As in CUDA, what stands behind
    a name that fits none is not seen, so an empty text and -1 are none.
    """
    if asked is None:
        return tuple(devices)
    found = []
    for word in asked.split(","):
        device = _device(word.strip(), devices)
        if device is None:
            break
        found.append(device)
    return tuple(dict.fromkeys(found))


def _device(word: str, devices: Sequence[str]) -> str | None:
    if word.startswith("MIG-"):
        return word if devices else None
    if word.isdecimal():
        return devices[int(word)] if int(word) < len(devices) else None
    matches = [device for device in devices if word and device.startswith(word)]
    return matches[0] if len(matches) == 1 else None


def usable() -> tuple[str, ...]:
    """Return the devices that jobs started from this process may use; none where torch is built without CUDA."""
    return () if _torch_version().endswith("+cpu") else visible(os.environ.get(VISIBLE), machine())


def _torch_version() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:  # jobs may bring their own, by conda
        return ""


def why_none() -> str:
    """Say why no device is usable here, and what to do."""
    asked, version = os.environ.get(VISIBLE), _torch_version()
    if version.endswith("+cpu"):
        reason = f"torch {version} is a build without CUDA; install the one with CUDA"
    elif not machine():
        reason = "NVIDIA's driver shows none; see whether nvidia-smi does"
    else:
        reason = f"{VISIBLE} is {asked!r} and names none that is there; set it to what nvidia-smi counts, or unset it"
    return f"config says device: cuda, but there is no GPU to use: {reason}. Or set device: auto, or cpu"


# --- one of them ---------------------------------------------------------------------------


@cache
def take_own(device: str) -> str | None:
    """Take a share of a GPU until the process ends and let CUDA see that GPU alone; wait for it where all are taken.

    `device` is config's. Returns the GPU's UUID; None, with CUDA told of none, where it is `cpu` or none is there.
    Called before anything that starts CUDA.
    """
    devices = () if device == "cpu" else usable()
    shares = int(os.environ.get(RUNS_PER_GPU, "1"))
    own = take(devices, shares, scope(os.environ)) if devices else None
    os.environ[VISIBLE] = own or ""
    return own


def scope(environment: Mapping[str, str]) -> str:
    """Return within what processes share out GPUs: an allocation of SLURM, which is nobody else's; or the machine."""
    return f"slurm-{job}" if (job := environment.get("SLURM_JOB_ID")) else "machine"


def take(devices: Sequence[str], shares: int, within: str, folder: Path = LOCKS) -> str:
    """Return a device with a free share, the one with most of them, whose lock this process now holds.

    Waits where every share is taken, and says so in the log. Where processes differ in `shares`, the largest holds.
    """
    began = time.monotonic()
    waiting = False
    while True:
        with _door(within, folder):
            found = _lock_one(devices, shares, within, folder)
        if found:
            waited = f", after {time.monotonic() - began:.0f} s" if waiting else ""
            log.info("device %s%s", found, waited)
            return found
        if not waiting:
            log.info(
                "waiting for a GPU: other jobs have all shares (%d each) of %s; see `lslocks | grep whypretrain`",
                shares,
                ", ".join(devices),
            )
            waiting = True
        time.sleep(PAUSE)


def _lock_one(devices: Sequence[str], shares: int, within: str, folder: Path) -> str | None:
    """Lock one share of the least busy device; nobody else looks for one meanwhile."""
    free: dict[str, list[int]] = {device: [] for device in devices}
    for device, files in free.items():
        for share in range(shares):
            file = _open(folder / _file_name(within, device, str(share)))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                files.append(file)
            except BlockingIOError:
                os.close(file)
    chosen = max(devices, key=lambda device: len(free[device]))
    kept = free[chosen][:1]  # never closed: the lock ends with the process
    for file in {file for files in free.values() for file in files} - set(kept):
        os.close(file)
    return chosen if kept else None


@contextmanager
def _door(within: str, folder: Path) -> Iterator[None]:
    """Let one process at a time look for a share."""
    file = _open(folder / _file_name(within, "door"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _file_name(*parts: str) -> str:
    return ".".join(["whypretrain", *(re.sub(r"[^A-Za-z0-9-]", "_", part) for part in parts), "lock"])


def _open(path: Path) -> int:
    """Open a lock file, which whoever comes first makes; a reader may lock it as well, so it can be any user's."""
    mask = os.umask(0o022)
    try:
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    finally:
        os.umask(mask)
