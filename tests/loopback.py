"""A real SLURM cluster on this machine: its own daemons as three nodes on loopback, with stand-in GPUs.

It shows what SLURM and Snakemake do with each other, not how fast. Needs root, Linux and Debian's packages
(`PROGRAMS`); where something is missing `missing()` says what.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

INSTALL = "apt-get update && apt-get install -y --no-install-recommends slurm-wlm slurm-client munge"
DAEMONS = ("munged", "slurmctld", "slurmd")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "sbatch", "scontrol", "scancel", "srun")
ETC = Path("/etc/slurm")
PREFIX, LOCK = "whypretrain-slurm-", "lock"
NODES = ("gpu1", "gpu2", "cpu1")
GPUS = (Path("/dev/fakegpu0"), Path("/dev/fakegpu1"))
MUNGE_PID = Path("/run/munge/whypretrain.pid")
# where Debian has the daemons, which isn't on every PATH
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

# No accounting, so `squeue` must remember finished jobs: MinJobAge. Memory is polled, as a container has no cgroup of
# its own. The partitions `requeue` and `cancel` are pre-empted by jobs of `urgent`; `brief` has a limit of a minute.
SLURM_CONF = """
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
SlurmctldPort=6817
StateSaveLocation={folder}/ctld
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType={proctrack}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.log
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,batch_sched_delay=0,bf_interval=5,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
KillWait=5
MinJobAge=3600
ReturnToService=2
JobRequeue=1
MpiDefault=none
SlurmdParameters=config_overrides
NodeName=gpu[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=8 Boards=1 SocketsPerBoard=1 \
CoresPerSocket=8 ThreadsPerCore=1 RealMemory=32000 Gres=gpu:h100:2 Weight=10 State=UNKNOWN
NodeName=cpu1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17003 CPUs=8 Boards=1 SocketsPerBoard=1 \
CoresPerSocket=8 ThreadsPerCore=1 RealMemory=32000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=60 DefaultTime=10 DefMemPerCPU=100 State=UP PriorityTier=1
PartitionName=requeue Nodes=gpu[1-2] MaxTime=60 DefaultTime=10 State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=cancel Nodes=gpu[1-2] MaxTime=60 DefaultTime=10 State=UP PriorityTier=1 PreemptMode=CANCEL
PartitionName=urgent Nodes=gpu[1-2] MaxTime=60 DefaultTime=10 State=UP PriorityTier=10 PreemptMode=OFF
"""
GRES_CONF = "AutoDetect=off\nNodeName=gpu[1-2] Name=gpu Type=h100 File=/dev/fakegpu[0-1]\n"
CGROUP_CONF = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"


def missing() -> str | None:
    """Return why no cluster can be started here, or None."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"SLURM is not installed ({', '.join(absent)}): {INSTALL}"
    if os.geteuid() != 0:
        return "the cluster's daemons need root"
    clear()
    if answers("sinfo", "-h"):
        return "a SLURM cluster answers here already: the tests start their own"
    return None


def answers(*command: str) -> bool:
    """Whether a program of SLURM gets an answer from a controller."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=os.environ | {"PATH": PATH})
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


def until(what: str, condition: Callable[[], object], seconds: float = 240) -> None:
    """Wait until a condition holds; fail after a generous time, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


@dataclass(frozen=True)
class Job:
    """A job as `squeue` and `scontrol` tell of it."""

    number: str
    state: str
    name: str
    comment: str

    @property
    def rule(self) -> str:
        """The rule of Snakemake that it runs, from the comment that the executor gives."""
        return re.sub(r"^rule_|_wildcards_.*$", "", self.comment)


class Loopback:
    """The cluster: started by `start`, ended by `stop`, both by the process ids of what was started."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.lock = (self.folder / LOCK).open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.links: list[Path] = []

    def start(self) -> None:
        """Start all daemons and return when all nodes are idle."""
        self._munge()
        self._devices()
        proctrack = "proctrack/cgroup" if Path("/sys/fs/cgroup/freezer").is_dir() else "proctrack/linuxproc"
        (self.folder / "ctld").mkdir()
        (self.folder / "slurm.conf").write_text(SLURM_CONF.format(folder=self.folder, proctrack=proctrack))
        (self.folder / "gres.conf").write_text(GRES_CONF)
        (self.folder / "cgroup.conf").write_text(CGROUP_CONF)
        ETC.mkdir(exist_ok=True)
        # a job's own srun finds no other place than this
        for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
            link = ETC / name
            if link.is_symlink() and not link.exists():
                link.unlink()
            assert not link.exists(), f"{link} is in the way: the tests' cluster needs its place"
            link.symlink_to(self.folder / name)
            self.links.append(link)
        self.run("slurmctld", "-c")
        for node in NODES:
            self.run("slurmd", "-N", node)
        until("idle nodes", lambda: self._states() == {"idle"} and len(self._nodes()) == len(NODES), 60)

    def _munge(self) -> None:
        if answers("munge", "-n"):
            return
        for name, mode in (("/run/munge", 0o755), ("/var/log/munge", 0o700), ("/var/lib/munge", 0o700)):
            folder = Path(name)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.chown(folder, "munge", "munge")
            folder.chmod(mode)
        self.run("setpriv", "--reuid=munge", "--regid=munge", "--init-groups", "munged", f"--pid-file={MUNGE_PID}")

    def _devices(self) -> None:
        for path in GPUS:
            if not path.exists():
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))

    def run(self, *command: str) -> str:
        """Run one of SLURM's programs, which must succeed, and return what it prints."""
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": PATH})
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def _nodes(self) -> list[str]:
        return sorted(set(self.run("sinfo", "-h", "-N", "-o", "%N %t").splitlines()))

    def _states(self) -> set[str]:
        return {line.split()[1] for line in self._nodes()}

    def jobs(self, state: str = "all") -> list[Job]:
        """Return all jobs, also those that have ended, or those of one state."""
        lines = self.run("squeue", "-h", "-t", state, "-o", "%i|%T|%j|%k").splitlines()
        return sorted((Job(*line.split("|", 3)) for line in lines), key=lambda job: int(job.number))

    def shown(self, number: str) -> str:
        """Return all that the controller knows of a job."""
        return self.run("scontrol", "-d", "show", "job", number)

    def start_again(self, number: str) -> None:
        """Spare a job that is back in the queue SLURM's two minutes there; three seconds do.

        A node takes a start in the very second in which it killed the job's last execution for a start of that one,
        says "already killed, do not launch", and the job fails.
        """
        waits = re.search(r"EligibleTime=(\d\S+)", self.shown(number))
        if waits and datetime.fromisoformat(waits[1]) > datetime.now() + timedelta(seconds=10):
            self.run("scontrol", "update", f"JobId={number}", "StartTime=now+3")

    def stop(self) -> None:
        """End all jobs, then the daemons, each by its process id and after a look at its name."""
        subprocess.run(["scancel", "--state=PENDING"], env=os.environ | {"PATH": PATH}, check=False)
        subprocess.run(["scancel", "--full", "--state=RUNNING"], env=os.environ | {"PATH": PATH}, check=False)
        try:
            until("jobs to end", lambda: self.run("squeue", "-h", "-o", "%i") == "", 60)
        finally:
            end_daemons(self.folder)
            end(MUNGE_PID)
            for path in (*self.links, *GPUS):
                path.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)


def clear() -> None:
    """End what is left of a cluster whose tests were killed, and free its place."""
    folder = (ETC / "slurm.conf").resolve().parent
    if not folder.name.startswith(PREFIX):
        return
    if (folder / LOCK).exists():
        with (folder / LOCK).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # their process lives
                return
    end_daemons(folder)
    shutil.rmtree(folder, ignore_errors=True)


def end_daemons(folder: Path) -> None:
    """End the nodes, then the controller: nodes end their jobs by telling it."""
    for file in (*sorted(folder.glob("slurmd-*.pid")), folder / "slurmctld.pid"):
        end(file)


def end(file: Path) -> None:
    """End the daemon of a file with its process id, if that is really SLURM's or munge's: kindly, then outright."""
    try:
        number = int(file.read_text())
    except (FileNotFoundError, ValueError):
        return
    for kind in (signal.SIGTERM, signal.SIGKILL):
        if running(number) not in DAEMONS:
            return
        os.kill(number, kind)
        with contextlib.suppress(AssertionError):
            until(f"the end of process {number}", partial(ended, number), 20)


def running(number: int) -> str | None:
    """Return the name of a process, None where it has ended, also where nobody has asked for its status yet."""
    try:
        name, state = re.fullmatch(r"\d+ \((.*)\) (\S).*", Path(f"/proc/{number}/stat").read_text(), re.DOTALL).groups()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else name


def ended(number: int) -> bool:
    """Whether a process is no more."""
    return running(number) is None
