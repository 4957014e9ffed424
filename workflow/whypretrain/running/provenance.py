"""What a run was trained on and what it cost: versions, machine, time, memory, energy.

Nothing that is measured here is read by what computes results.
"""

import os
import platform
import resource
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch

from whypretrain.running import devices

CPU_INFO = Path("/proc/cpuinfo")
POWERCAP = Path("/sys/class/powercap")
# A counter of a processor's energy starts again at some 260 kJ, and once only can be seen from its two readings.
# No processor draws this many watts for long, so a shorter run than it would take at them has wrapped once at most.
MOST_WATTS = 500.0

SUMS = ("seconds", "cpu_seconds", "gpu_joules", "processor_joules")  # over the parts of a run that was stopped

Counters = dict[Path, int]  # by zone, the microjoules that it counts
Answer = TypeVar("Answer")


class Watch:
    """What is measured while a run is trained: made when it begins, asked when it ends."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.gpu = os.environ.get(devices.VISIBLE, "") if device.type == "cuda" else ""
        if self.gpu:
            torch.cuda.reset_peak_memory_stats(device)
        self.energy = processor_energy()
        self.gpu_joules = _gpu_joules(self.gpu)
        self.started, self.clock, self.cpu_clock = datetime.now(UTC), time.perf_counter(), time.process_time()
        self.before: dict[str, Any] = {}

    def go_on(self, before: Mapping[str, Any]) -> None:
        """Add what was measured of the run before it was stopped, as `so_far` gave it; nothing where it begins."""
        self.before = dict(before)

    def so_far(self) -> dict[str, Any]:
        """Return what has been measured until now, the time before earlier stops with it."""
        told = self.told()
        return {name: told[name] for name in (*SUMS, "started")} | {"stops": told["stops"] + 1}

    def told(self, runs: int = 1) -> dict[str, Any]:
        """Return the run's provenance by column, of several together its share; None where the system doesn't tell."""
        seconds, cpu_seconds = time.perf_counter() - self.clock, time.process_time() - self.cpu_clock
        ended, joules = _gpu_joules(self.gpu), processor_joules(self.energy, processor_energy(), seconds)
        measured = {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            # Linux counts in KiB
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "peak_gpu_memory_mb": torch.cuda.max_memory_allocated(self.device) / 2**20 if self.gpu else None,
            "gpu_joules": None if ended is None or self.gpu_joules is None else ended - self.gpu_joules,
            "processor_joules": joules,
        }
        for name in SUMS if self.before else ():
            both = measured[name], self.before[name]
            measured[name] = None if None in both else sum(both)
        measured |= {name: value / runs for name in SUMS if (value := measured[name]) is not None}
        return {
            **versions(self.gpu),
            "device": hardware(self.device) if self.gpu else _processor(),
            "gpu": self.gpu,
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "host": platform.node(),
            "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
            "process": os.getpid(),
            "started": self.before.get("started", self.started.isoformat()),
            "stops": self.before.get("stops", 0),
            "ended": datetime.now(UTC).isoformat(),
            **{name: None if value is None else round(value, 3) for name, value in measured.items()},
        }


def hardware(device: torch.device) -> str:
    """Return the name of what a device computes on: the GPU, or the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def _processor() -> str:
    return processor_name(CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.exists() else "")


def versions(gpu: str) -> dict[str, str]:
    """Return the versions that a run depends on; those of CUDA, cuDNN and the driver are empty without a GPU."""
    return {
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
        "scikit_learn": metadata.version("scikit-learn"),
        "python": platform.python_version(),
        "cuda": str(torch.version.cuda or "") if gpu else "",
        "cudnn": str(torch.backends.cudnn.version() or "") if gpu else "",
        "driver": _nvml(lambda nvml: str(nvml.nvmlSystemGetDriverVersion())) or "" if gpu else "",
    }


def processor_name(cpu_info: str) -> str:
    """Return the processor's name from what /proc/cpuinfo holds, or what else the system calls it."""
    lines = (line.partition(":") for line in cpu_info.splitlines())
    names = (value.strip() for key, _, value in lines if key.strip() == "model name")
    return next(names, "") or platform.processor() or platform.machine()


# --- energy --------------------------------------------------------------------------------


def _nvml(question: Callable[[Any], Answer]) -> Answer | None:
    """Ask NVIDIA's driver; None where there is none, or it doesn't know."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return question(pynvml)
    except pynvml.NVMLError:
        return None


def _gpu_joules(uuid: str) -> float | None:
    """Return what a GPU has used since its driver was loaded, J."""
    if not uuid:
        return None
    return _nvml(lambda nvml: nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByUUID(uuid)) / 1000)


def processor_energy(folder: Path = POWERCAP) -> Counters:
    """Return what each processor's counter stands at (RAPL); none where there is none, or only root may read it."""
    try:
        # intel-rapl:0 is a package, on AMD too; intel-rapl:0:0 is a part of it
        zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        packages = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
        return {zone: int((zone / "energy_uj").read_text()) for zone in packages}
    except OSError:
        return {}


def processor_joules(before: Mapping[Path, int], after: Mapping[Path, int], seconds: float) -> float | None:
    """Return the joules between two readings, counters that started again included; None where that can't be told."""
    if not before or before.keys() != after.keys():
        return None
    most = {zone: int((zone / "max_energy_range_uj").read_text()) for zone in before}
    if seconds * MOST_WATTS > min(most.values()) / 1e6:
        return None
    used = {zone: after[zone] - start for zone, start in before.items()}
    return sum(joules if joules >= 0 else joules + most[zone] for zone, joules in used.items()) / 1e6
