"""What Snakemake's executor for SLURM leaves open, answered before the first job is submitted.

- A request that no node can ever grant is refused, and one that grows with the attempt stays below the largest node.
- Jobs of a former call that was killed still run and would write the same files: they are ended first.
- A job that was pre-empted, or lost its node, and isn't put back into the queue by SLURM, which Snakemake would wait
  for for ever, is put back by us; where SLURM refuses that, it counts as failed, and is retried.
- A job that a node couldn't start is held by SLURM for good: it is released.
- Without accounting `sacct` never answers, and Snakemake would wait for ever: `squeue` is asked.
"""

import asyncio
import contextlib
import hashlib
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whypretrain.running import internals

SLOWEST_POLL = 180  # seconds, at most, between two questions of Snakemake for the state of its jobs
TIME_TO_END = 900  # seconds that the jobs of a former call may take to end after they were told to
UNITS = {"mem_mb": "MB", "threads": "CPUs", "runtime": "minutes"}
# rules by the first word of their name, and the part of the config section `execution` that says what they need
KINDS = {"pretrain": "pretrain", "anneal": "pretrain", "train": "train", "measure": "measure"}
# states of a job that SLURM may hold, and the reasons that it gives when a node couldn't start it
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD")
NOT_STARTED = re.compile("launch.failed.requeued.held|JobHoldMaxRequeue")
Query = Callable[[str, Any], Awaitable[tuple[dict[str, str] | None, float | None]]]


class ClusterError(Exception):
    """What is wrong on the cluster, or with what is asked of it, in one message for the user."""


# --- programs of SLURM -----------------------------------------------------------------------


def ask(*command: str) -> str:
    """Return what a program of SLURM prints; raise `ClusterError` where it fails or doesn't answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise ClusterError(f"{command[0]} is not found: is this a machine from which jobs are submitted?") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(command)}: no answer in two minutes; try again later") from None
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip() or 'failed'}")
    return done.stdout


# --- what there is, and what is asked for ----------------------------------------------------


@dataclass(frozen=True)
class Node:
    """One kind of node of one partition: CPUs, memory in MB, GPUs by model, the partition's time limit in minutes."""

    partition: str
    default: bool
    threads: int
    mem_mb: int
    gpus: Mapping[str, int] = field(default_factory=dict)
    runtime: float = float("inf")

    def gpu(self, model: str | None) -> int:
        """Return its GPUs of a model, or of any."""
        return sum(number for name, number in self.gpus.items() if model in (None, name))

    def fits(self, request: "Request") -> bool:
        """Whether it has all of what a job asks for."""
        enough = (getattr(self, key) >= getattr(request, key) for key in UNITS)
        return self.gpu(request.gpu_model) >= request.gpu and all(enough)


@dataclass(frozen=True)
class Request:
    """What one job asks for, and where the user says so. `runtime` is in minutes."""

    where: str
    partitions: tuple[str, ...] = ()
    gpu: int = 0
    gpu_model: str | None = None
    mem_mb: int = 0
    threads: int = 1
    runtime: float = 0


def gpus_of(gres: str) -> dict[str, int]:
    """Return the number of GPUs by model from a node's generic resources; a model without a name is ''."""
    found: Counter[str] = Counter()
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        kind, *rest = entry.split(":")
        if kind == "gpu":
            number = int(rest.pop()) if rest and rest[-1].isdigit() else 1
            found[":".join(rest)] += number
    return found


def minutes_of(limit: str) -> float:
    """Return a time limit of SLURM, `days-hours:minutes:seconds`, in minutes."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)", limit.strip())
    if not found:
        return float("inf")  # infinite, or not said
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes + seconds / 60


def nodes_of(text: str) -> list[Node]:
    """Return the kinds of nodes from `sinfo -h -e -o '%P|%c|%m|%G|%l'`."""
    found = []
    for line in text.split():
        partition, *numbers, gres, limit = line.split("|")
        threads, mem_mb = (int(number.rstrip("+")) for number in numbers)
        place = partition.rstrip("*"), partition.endswith("*")
        found.append(Node(*place, threads, mem_mb, gpus_of(gres), minutes_of(limit)))
    return found


def candidates(request: Request, nodes: Iterable[Node]) -> list[Node]:
    """Return the nodes of the partitions that a job may run in: those it names, else the default one, else all."""
    known = list(nodes)
    if request.partitions:
        return [node for node in known if node.partition in request.partitions]
    return [node for node in known if node.default] or known


def refusal(request: Request, nodes: Iterable[Node]) -> str | None:
    """Return why no node will ever grant a request, naming the config key and what there is; None where one can."""
    known = list(nodes)
    there = candidates(request, known)
    if not there:
        names = ", ".join(sorted({node.partition for node in known}))
        return f"{request.where}.partition: no partition {', '.join(request.partitions)}; there are {names}"
    place = "partition " + ", ".join(sorted({node.partition for node in there}))
    if request.gpu:
        most = max(node.gpu(request.gpu_model) for node in there)
        known_models = {f"{name or 'gpu'}:{number}" for node in there for name, number in node.gpus.items()}
        models = ", ".join(sorted(known_models)) or "none"
        if request.gpu_model and not most:
            return f"{request.where}.gpu_model: no node of {place} has a {request.gpu_model}; there are {models}"
        if request.gpu > most:
            kind = f" {request.gpu_model}" if request.gpu_model else ""
            advice = "; set `device: cpu` to run without" if not most else ""
            return (
                f"{request.where}.gpu: {request.gpu} GPUs{kind} are asked for, no node of {place} has more than {most} "
                f"(GPUs by node: {models}){advice}"
            )
    for key, unit in UNITS.items():
        asked, granted = getattr(request, key), max(getattr(node, key) for node in there)
        if asked > granted:
            name = key if key == "threads" else f"{request.where}.{key}"
            what = f"no job of {place} may take" if key == "runtime" else f"no node of {place} has"
            return f"{name}: {asked:g} {unit} are asked for, {what} more than {granted:g}"
    if any(node.fits(request) for node in there):
        return None
    model = f" {request.gpu_model}" if request.gpu_model else ""
    asked = f"{request.gpu} GPUs{model}, {request.mem_mb} MB, {request.threads} CPUs and {request.runtime:g} minutes"
    return f"{request.where}: no single node of {place} has all of {asked}"


def most(request: Request, nodes: Iterable[Node]) -> dict[str, int]:
    """Return the most memory (MB) and time (minutes) that a job can ever get, for what grows with the attempt."""
    there = [node for node in candidates(request, nodes) if node.fits(request)]
    limits = {key: max(getattr(node, key) for node in there) for key in ("mem_mb", "runtime")}
    return {key: int(value) for key, value in limits.items() if value != float("inf")}


def request_of(job: Any) -> Request:
    """Return what one of Snakemake's jobs asks for."""
    kind = KINDS.get(job.rule.name.split("_")[0])
    wanted = job.resources
    return Request(
        where=f"execution.{kind}" if kind else f"resources of {job.rule.name}",
        partitions=tuple(filter(None, re.split(r"[,\s]+", str(wanted.get("slurm_partition") or "")))),
        gpu=int(wanted.get("gpu") or 0),
        gpu_model=wanted.get("gpu_model"),
        mem_mb=int(wanted.get("mem_mb") or 0),
        threads=int(job.threads),
        runtime=float(wanted.get("runtime") or 0),
    )


def check_requests(jobs: Iterable[Any], limits: Mapping[str, dict[str, int]]) -> None:
    """Refuse what no node can ever grant, and set the limits of what grows; one job of each rule stands for all."""
    nodes = nodes_of(ask("sinfo", "-h", "-e", "-o", "%P|%c|%m|%G|%l"))
    for job in {job.rule.name: job for job in jobs}.values():
        if any(job.resources.get(name) for name in ("gres", "slurm_cluster", "cluster", "clusters")):
            continue  # the user asks SLURM in its own words
        request = request_of(job)
        if message := refusal(request, nodes):
            raise ClusterError(f"this cluster can't run {job.rule.name}. {message}")
        if kind := KINDS.get(job.rule.name.split("_")[0]):
            limits[kind].update(most(request, nodes))


# --- the state of jobs -----------------------------------------------------------------------


def status_command(settings: Mapping[str, str], chosen: str | None, first_poll: int) -> str | None:
    """Return the program that tells the states of jobs: the one that was chosen, or `squeue` without accounting.

    Raises `ClusterError` where there is no accounting, and finished jobs are forgotten sooner than Snakemake asks.
    """
    if settings.get("AccountingStorageType", "").endswith(("slurmdbd", "ctld_relay")):
        return chosen
    age = int(re.sub(r"\D.*", "", settings.get("MinJobAge", "")) or 0)
    needed = max(SLOWEST_POLL + 60, 3 * first_poll)
    if age < needed:
        raise ClusterError(
            f"this cluster has no accounting and forgets a finished job after {age} s (MinJobAge), Snakemake needs "
            f"{needed} s. Submit profiles/slurm/allocation.sbatch, or ask for a larger MinJobAge"
        )
    return "squeue"


def settings_of(text: str) -> dict[str, str]:
    """Return the settings of a cluster from `scontrol show config`."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def lasting(query: Query) -> Query:
    """Return a query of states in which no job waits for SLURM to resume it when SLURM won't."""

    async def asked(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        states, seconds = await query(command, logger)
        if states is None:
            return states, seconds
        # accounting says `CANCELLED by 1000`
        found = {number: (state.split() or [""])[0] for number, state in states.items()}
        for number, state in found.items():
            if state in ("PREEMPTED", "NODE_FAIL"):
                found[number] = await asyncio.to_thread(resume, number, state)
        if any(state in WAITING for state in found.values()):
            await asyncio.to_thread(release, found)
        return found, seconds

    return asked


def release(jobs: Collection[str]) -> None:
    """Release those of these jobs that SLURM holds because a node couldn't start them; no one else would."""
    with contextlib.suppress(ClusterError):
        for line in ask("squeue", "-h", "--me", "-t", "PENDING", "-o", "%i|%r").splitlines():
            number, reason = line.split("|", 1)
            if number in jobs and NOT_STARTED.search(reason):
                ask("scontrol", "release", number)
                print(f"SLURM job {number} couldn't be started by its node and was held: released.", file=sys.stderr)


def resume(number: str, state: str) -> str:
    """Put a job that has ended through no fault of its own back into the queue; return the state to go on with."""
    told = state.lower().replace("_", " ")
    # accounting lags behind: SLURM itself may have put it back, and a job that runs must not be put back again
    with contextlib.suppress(ClusterError):
        now = ask("squeue", "-h", "-t", "all", "-j", number, "-o", "%T").strip()
        if now and now != state:
            return now
    try:
        ask("scontrol", "requeue", number)
    except ClusterError as error:
        print(f"SLURM job {number} ended ({told}) and can't be resumed, so it has failed: {error}", file=sys.stderr)
        return "FAILED"
    print(f"SLURM job {number} ended ({told}): it is back in the queue.", file=sys.stderr)
    return "PENDING"


# --- jobs of a former call -------------------------------------------------------------------


def mark(results: Path) -> str:
    """Return what the names of all jobs begin with that write into a results folder."""
    return f"whypretrain-{hashlib.sha256(str(results.resolve()).encode()).hexdigest()[:12]}"


def former_jobs(name: str) -> dict[str, str]:
    """Return the users of unfinished jobs of former calls, by job id."""
    lines = (line.split("|", 2) for line in ask("squeue", "-h", "-o", "%i|%u|%j").splitlines())
    return {number: user for number, user, job in lines if job.startswith(f"{name}_")}


def end_former_jobs(name: str, results: Path, user: str) -> None:
    """End what still runs of a former call that was killed; what they have trained is kept in their snapshots.

    Raises `ClusterError` where they are another user's, or don't end.
    """
    found = former_jobs(name)
    if strangers := sorted(set(found.values()) - {user}):
        raise ClusterError(
            f"SLURM jobs of {', '.join(strangers)} still write into {results}: {_numbers(found)}. "
            "Ask for `scancel`, or wait until they have ended"
        )
    if not found:
        return
    print(f"Ending {len(found)} SLURM jobs of a former call: {_numbers(found)}.", file=sys.stderr)
    ask("scancel", *found)
    deadline = time.monotonic() + TIME_TO_END
    while found := former_jobs(name):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"SLURM jobs of a former call don't end: {_numbers(found)}. See `squeue`, then try again"
            )
        time.sleep(1)


def _numbers(jobs: Collection[str]) -> str:
    shown = sorted(jobs)
    return " ".join(shown[:10]) + (" …" if len(shown) > 10 else "")


def check_folder(folder: Path) -> None:
    """Raise ClusterError for a path that jobs wouldn't find: Snakemake quotes it for their shell as Python does."""
    path = str(folder)
    if repr(path).startswith('"') and set(path) & set("$`"):
        raise ClusterError(f"{path} has an apostrophe and a $ or ` in it, and jobs wouldn't find it; move the project")


# --- all of it -------------------------------------------------------------------------------


def prepare(workflow: Any, jobs: Iterable[Any], results: Path, limits: Mapping[str, dict[str, int]], user: str) -> None:
    """Do all of this for a call of Snakemake that is about to run its first job; `jobs` are all that it may run."""
    jobs = [job for job in jobs if not job.is_local]
    if not jobs:
        return
    check_folder(Path.cwd())
    check_requests(jobs, limits)
    chosen = workflow.executor_settings
    chosen.pass_command_as_script = True  # on a command line a shell would obey a `$` in the folder's path
    settings = settings_of(ask("scontrol", "show", "config"))
    chosen.status_command = status_command(settings, chosen.status_command, chosen.init_seconds_before_status_checks)
    name = mark(results)
    end_former_jobs(name, results, user)
    internals.name_jobs(workflow, name)
    internals.change_status_query(workflow, lasting)
