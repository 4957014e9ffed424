"""GPUs on one machine: each job gets one share of one device, and Snakemake starts no more jobs than there are shares.

There need be no GPU here: devices are names, and locks are files. Where all of Snakemake runs, a stand-in for NVML
in the copied project shows two GPUs.
"""

import atexit
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from conftest import ROOT, Project, fresh, plan_of, put, tiny

from whypretrain.jobs import hooks
from whypretrain.running import devices

pytestmark = pytest.mark.soak  # make test-cluster

A, B = "GPU-aaaaaaaa-0000-0000-0000-000000000001", "GPU-aaaaaaab-0000-0000-0000-000000000002"


# --- what CUDA_VISIBLE_DEVICES means -------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, (A, B)),
        ("0,1", (A, B)),
        ("1, 0", (B, A)),
        ("1", (B,)),
        ("1,1", (B,)),
        ("", ()),
        ("-1", ()),
        ("0,-1,1", (A,)),
        ("2", ()),
        ("0,7,1", (A,)),
        (B, (B,)),
        ("GPU-aaaaaaab", (B,)),
        ("GPU-aaaa", ()),  # fits both
        ("GPU-ffff,0", ()),
        (f"{B},0", (B, A)),
        ("MIG-5c1a", ("MIG-5c1a",)),
        ("NoDevFiles", ()),  # what SLURM sets where a job has none
    ],
)
def test_only_what_cuda_would_see_can_be_taken(asked: str | None, expected: tuple[str, ...]):
    assert devices.visible(asked, (A, B)) == expected


@pytest.mark.parametrize("asked", [None, "0", A, "MIG-5c1a"])
def test_a_machine_without_a_driver_has_no_device_whatever_is_asked(asked: str | None):
    assert devices.visible(asked, ()) == ()


def test_this_machine_is_asked_without_torch_and_has_no_device_hidden_by_its_own_setting():
    program = (
        "import sys, os; from whypretrain.running import devices;"
        "devices.machine(); os.environ['CUDA_VISIBLE_DEVICES'] = '';"
        "assert devices.usable() == (); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")}, check=True)


# --- processes that contend ----------------------------------------------------------------

HOLDER = """
import logging, sys, time
from pathlib import Path
from whypretrain.running import devices
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
devices.PAUSE = 0.05
names, shares, within, folder = sys.argv[1:]
print(devices.take(names.split(","), int(shares), within, Path(folder)), flush=True)
sys.stdin.read()
"""


class Holder:
    """A process that takes a share and keeps it until it is told to end, or killed."""

    def __init__(self, folder: Path, names: str = f"{A},{B}", shares: int = 1, within: str = "machine") -> None:
        self.log = folder / f"{id(self)}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HOLDER, names, str(shares), within, str(folder)],
                env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def device(self) -> str:
        """Wait until it has one, and return it."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def waits(self) -> bool:
        return "waiting for a GPU" in self.log.read_text()

    def end(self) -> None:
        self.process.communicate("")


Start = Callable[..., Holder]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start processes that take a share; all are ended in the end."""
    holders: list[Holder] = []

    def one(**settings: object) -> Holder:
        holders.append(Holder(tmp_path, **settings))  # type: ignore[arg-type]
        return holders[-1]

    yield one
    for holder in holders:
        holder.process.kill()
        holder.process.communicate()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_jobs_started_at_once_get_different_devices(start: Start):
    names = ",".join(f"GPU-{n}" for n in range(5))
    assert len({holder.device() for holder in [start(names=names) for _ in range(5)]}) == 5


@pytest.mark.parametrize("shares", [2, 3])
def test_shares_are_dealt_out_evenly(start: Start, shares: int):
    holders = [start(shares=shares) for _ in range(2 * shares)]
    assert Counter(holder.device() for holder in holders) == {A: shares, B: shares}


def test_the_least_busy_device_is_taken_first(start: Start):
    held = [start(shares=2) for _ in range(4)]
    on = [holder.device() for holder in held]
    for holder in (holder for holder, device in zip(held, on, strict=True) if device == B):
        holder.end()
    assert start(shares=2).device() == B
    assert start(shares=2).device() == B


def test_who_finds_none_waits_says_so_and_takes_what_is_given_back(start: Start):
    first, second = start(), start()
    taken = {first.device(), second.device()}
    assert taken == {A, B}
    third = start()
    until(third.waits)
    assert A in third.log.read_text()
    first.end()
    assert third.device() in taken
    assert re.search(r"device GPU-.* after \d+ s", third.log.read_text())
    assert second.process.poll() is None


def test_a_killed_job_gives_its_device_back(start: Start):
    first = start(names=A)
    assert first.device() == A
    second = start(names=A)
    until(second.waits)
    os.kill(first.process.pid, signal.SIGKILL)
    assert second.device() == A


def test_a_job_never_takes_a_device_that_it_may_not_see(start: Start):
    assert start(names=A).device() == A
    second = start(names=A)
    until(second.waits)
    assert start(names=f"{A},{B}").device() == B
    assert second.process.poll() is None


def test_allocations_of_slurm_never_wait_for_each_other_and_jobs_in_one_do(start: Start):
    # the same device in two allocations is the cluster's doing: it shares it, or numbers each allocation's from 0
    one, other = (devices.scope({"SLURM_JOB_ID": job}) for job in ("7", "8"))
    assert devices.scope({}) not in (one, other)
    assert [start(names=A, within=within).device() for within in (one, other, devices.scope({}))] == [A, A, A]
    second = start(names=A, within=one)
    until(second.waits)


def test_many_jobs_in_turn_never_share_a_device(tmp_path: Path):
    program = HOLDER.replace("sys.stdin.read()", "print(time.monotonic()); time.sleep(0.05); print(time.monotonic())")
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", program, f"{A},{B}", "1", "machine", str(tmp_path)],
            env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(12)
    ]
    told = [job.communicate()[0].split() for job in jobs]
    assert len(told) == 12
    for (device, begin, end), (other, began, ended) in combinations(told, 2):
        assert device != other or float(end) <= float(began) or float(ended) <= float(begin)


def test_lock_files_are_no_one_user_s_and_links_are_not_followed(tmp_path: Path):
    mask = os.umask(0o077)
    try:
        assert devices.take([A], 1, "machine", tmp_path) == A
    finally:
        os.umask(mask)
    files = list(tmp_path.glob("whypretrain.*.lock"))
    assert len(files) == 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}
    (tmp_path / "elsewhere").touch()
    (tmp_path / "whypretrain.slurm-1.door.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        devices.take([A], 1, "slurm-1", tmp_path)


# --- what a job sees -----------------------------------------------------------------------

JOB = """
import os, sys
from whypretrain.training.torch_setup import set_up_torch
print(set_up_torch({"threads": 1, "device": sys.argv[1]}).type, repr(os.environ["CUDA_VISIBLE_DEVICES"]))
"""


def test_a_job_that_must_have_a_gpu_and_finds_none_says_what_to_do():
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow"), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", JOB, "cuda"], env=environment, capture_output=True, text=True)
    assert "StageError: config says device: cuda, but there is no GPU to use: " in done.stderr
    assert "Or set device: auto, or cpu" in done.stderr


def test_a_job_on_the_cpu_can_touch_no_gpu():
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow"), "CUDA_VISIBLE_DEVICES": "0,1"}
    done = subprocess.run([sys.executable, "-c", JOB, "cpu"], env=environment, capture_output=True, text=True)
    assert done.stdout == "cpu ''\n", done.stderr


NVML = """
class NVMLError(Exception):
    pass
NVMLError_NoPermission = NVMLError
def nvmlInit(): pass
nvmlShutdown = nvmlInit
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetUUID(handle): return UUIDS[handle]
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    def unknown(*arguments): raise NVMLError(name)
    return unknown
"""


def with_gpus(folder: Path) -> tuple[str, str]:
    """Let what has a folder on its path see two GPUs, nobody else's, and a torch that could use them."""
    uuids = (f"GPU-{uuid4()}", f"GPU-{uuid4()}")
    atexit.register(lambda: [path.unlink() for uuid in uuids for path in devices.LOCKS.glob(f"*{uuid}*")])
    (folder / "pynvml.py").write_text(f"UUIDS = {uuids}\n{NVML}")
    torch = folder / "torch-2.13.0.dist-info"
    torch.mkdir()
    (torch / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")
    return uuids


def test_a_job_lets_cuda_see_its_own_device_alone_and_takes_one_only(tmp_path: Path):
    uuids = with_gpus(tmp_path)
    program = (
        "import os; from whypretrain.running.devices import take_own\n"
        "print(take_own('auto'), take_own('auto'), os.environ['CUDA_VISIBLE_DEVICES'])"
    )
    path = f"{tmp_path}:{ROOT / 'workflow'}"
    for asked, shares in (("1", "1"), ("0", "1"), ("1,0", "1"), ("1", "4")):
        environment = os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": asked, devices.RUNS_PER_GPU: shares}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.stdout.split() == [uuids[int(asked[0])]] * 3, done.stderr


# --- how many jobs Snakemake starts --------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "shares", "asked", "most", "limit"),
    [
        (0, 1, None, 1, None),
        (0, 4, None, 1, None),
        (1, 1, None, 1, 1),
        (2, 1, None, 1, 2),
        (2, 3, None, 1, 6),
        (4, 1, 2, 1, 2),
        (4, 3, 2, 1, 6),
        (2, 1, 2, 1, 2),
        (2, 1, None, 0, None),  # no job needs one
        (1, 1, None, 2, 2),  # a job may ask for more than there is of a cluster; here it uses one
        (0, 2, 3, 1, 6),
        (2, 1, 5, 1, 2),
    ],
)
def test_no_more_jobs_than_there_are_shares_of_gpus(
    monkeypatch: pytest.MonkeyPatch, found: int, shares: int, asked: int | None, most: int, limit: int | None
):
    monkeypatch.setattr(devices, "usable", lambda: (A,) * found)
    raw = tiny() | {"execution": {"runs_per_gpu": shares}}
    assert hooks.share_gpus(plan_of(raw), asked, most) == limit
    assert hooks.share_gpus(plan_of(raw | {"device": "cpu"}), asked, most) is None


def test_more_gpus_than_there_are_is_said_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(devices, "usable", lambda: (A, B))
    assert hooks.share_gpus(plan_of(tiny()), 5, 1) == 2
    assert "--resources gpu=5, but 2 can be used here" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="say --config device=cpu"):
        hooks.share_gpus(plan_of(tiny()), 0, 0)


def test_device_cuda_without_a_gpu_is_refused_before_anything_runs(tmp_path: Path):
    project = fresh(tmp_path / "project")
    project.write_config(tiny() | {"device": "cuda"})
    text = project.snakemake("--cores", "2", status=1)
    assert text.count("Mistake in config: config says device: cuda, but there is no GPU to use") == 1
    assert "device: auto, or cpu" in text
    assert "Traceback" not in text
    assert not list((project.path / "results").glob("datasets/*"))
    # where nothing would use one, as here, all is well: what has been computed elsewhere can be drawn here
    project.snakemake("--cores", "2", "results/datasets/digits.safetensors")


RUNS = "results/tables/runs.parquet"


def manyarmed() -> dict[str, Any]:
    return put(tiny(), "studies.tiny.grid.0.treatments", ["intact", "shuffle-kernels", "shuffle-taps", "gaussian"])


def devices_of(project: Project) -> list[str]:
    """Return the device that each training job had; none of them has waited for it."""
    logs = [path.read_text() for path in (project.path / "results/logs/train_run").rglob("*.log")]
    assert not any("waiting for a GPU" in text for text in logs), "Snakemake starts no job before it can have one"
    found = [re.findall(r" device (GPU-\S+)$", text, re.MULTILINE) for text in logs]
    wrong = [text for text, each in zip(logs, found, strict=True) if len(each) != 1]
    assert not wrong, "each job has one device\n" + "\n".join(wrong)
    return [each[0] for each in found]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, set[str]]:
    """A study of more arms than there are GPUs, run on many cores where two GPUs seem to be there."""
    project = fresh(tmp_path_factory.mktemp("shared") / "project")
    uuids = with_gpus(project.path / "workflow")
    project.write_config(manyarmed())
    project.snakemake("--cores", "8", RUNS)
    return project, set(uuids)


def test_the_jobs_of_a_study_divide_its_gpus_and_none_waits(shared: tuple[Project, set[str]]):
    project, uuids = shared
    assert set(devices_of(project)) == uuids


def test_how_gpus_are_shared_makes_nothing_stale(shared: tuple[Project, set[str]]):
    project, _ = shared
    project.write_config(manyarmed() | {"execution": {"runs_per_gpu": 3}})
    assert project.planned(RUNS) == {}
    project.write_config(manyarmed())


def test_with_one_gpu_asked_for_one_job_runs_at_a_time(shared: tuple[Project, set[str]]):
    project, _ = shared
    rules = ("train_run_short_r0_p0", "train_run_short_s0")
    project.snakemake("--cores", "8", RUNS, "--forcerun", *rules, "--resources", "gpu=1")
    assert len(set(devices_of(project))) == 1, "each finds the same one free"


def test_jobs_that_only_a_selection_brings_divide_the_gpus_as_well(shared: tuple[Project, set[str]]):
    project, uuids = shared
    logs = [*(project.path / "results/logs/train_run").rglob("*.s0.log")]
    others = [project.path / "results/selections/tiny.json", project.path / RUNS]
    for file in [*logs, *others, *(project.path / "results/runs").rglob("lr-*/scores.parquet")]:
        file.unlink()
    assert not project.planned(RUNS).keys() & {"train_run_short_r0_p0", "train_run_short_s0"}
    project.snakemake("--cores", "8", RUNS)
    assert len([*(project.path / "results/logs/train_run").rglob("*.s0.log")]) == len(logs)
    assert set(devices_of(project)) == uuids


def test_on_the_cpu_no_device_is_taken_whatever_cuda_visible_devices_says(tmp_path: Path):
    project = fresh(tmp_path / "project")
    with_gpus(project.path / "workflow")
    project.write_config(put(tiny(), "recipes.short.min_steps", 2) | {"device": "cpu"})
    done = subprocess.run(
        project.command("--cores", "2", "results/tables/runs.parquet"),
        cwd=project.path,
        env=project.environment() | {"CUDA_VISIBLE_DEVICES": "0,1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    logs = [path.read_text() for path in (project.path / "results/logs").rglob("*.log")]
    assert logs
    assert not any("GPU-" in text for text in logs)
