"""Real runs on a SLURM cluster of its own daemons on this machine, with all that fails there.

A job that is lost, waits for ever or writes a file that another writes is found out on Monday.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import loopback
import pytest
from conftest import TINY, Project, fresh, put, tiny
from loopback import Job, Loopback, until

from whypretrain.running import slurm
from whypretrain.running.slurm import ClusterError

pytestmark = pytest.mark.soak  # make test-cluster

RUN = "results/runs/tiny/none/epoch-0/intact.all/digits.2/finetune/short"
MISSING = f"{RUN}/lr-0.1.s0/scores.parquet"  # at the rate that pilots select
RUNS = "results/tables/runs.parquet"
SUBMITTED = {  # SLURM jobs of the tiny study, by rule
    "pretrain_source_brief_s0": 1,
    "pretrain_source_brief_p0": 1,
    "anneal_source_s0": 1,
    "anneal_source_p0": 1,
    "measure_start_s0": 3,
    "train_run_short_r0_p0": 3,
    "train_run_short_s0": 3,
}
NEEDS = {"mem_mb": 1000, "runtime": 10}


# --- the cluster ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Loopback]:
    """SLURM's own daemons as three nodes on this machine."""
    if reason := loopback.missing():
        if os.environ.get("WHYPRETRAIN_REQUIRE_SLURM"):
            pytest.fail(reason)
        pytest.skip(reason)
    started = Loopback()
    try:
        started.start()
        yield started
    finally:
        started.stop()


class OnCluster(Project):
    """A project whose Snakemake submits to the cluster."""

    def command(self, *arguments: str) -> list[str]:
        options = (
            "--profile",
            "profiles/slurm",
            "--slurm-init-seconds-before-status-checks",
            "1",
            "--latency-wait",
            "10",
        )
        return super().command(*options, *arguments)

    def environment(self) -> dict[str, str]:
        """Return the caller's environment: here SLURM's programs are those that are installed."""
        return super().environment() | {"PATH": f"{Path(sys.executable).parent}:{loopback.PATH}"}

    def head(self, *arguments: str) -> "Head":
        """Start Snakemake and don't wait for it."""
        return Head(self, *arguments)

    def jobs(self, cluster: Loopback, state: str = "all") -> list[Job]:
        """Return the SLURM jobs that write into this project's results."""
        mark = slurm.mark(self.path / "results")
        return [job for job in cluster.jobs(state) if job.name.startswith(mark)]


class Head:
    """A Snakemake that runs while the test looks at what it does."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self.project, self.earlier = project, len(project.printed())
        self.process = project.start(*arguments)

    def printed(self) -> str:
        """Return what it has printed; the last head of a project only."""
        return self.project.printed()[self.earlier :]

    def until(self, what: str, condition: Any, seconds: float = 400) -> Any:
        """Wait until a condition gives something, which is returned; fail with the log where Snakemake ends before."""
        found: list[Any] = []

        def held() -> bool:
            found[:] = [condition()]
            assert found[0] or self.process.poll() is None, f"ended before {what}:\n{self.printed()}"
            return bool(found[0])

        try:
            until(what, held, seconds)
        except BaseException:
            self.kill()
            raise
        return found[0]

    def end(self, status: int = 0, seconds: float = 600) -> str:
        """Wait for the end, hold the exit status against `status`, return all that was printed."""
        try:
            self.process.wait(seconds)
        finally:
            self.kill()
        text = self.printed()
        assert self.process.returncode == status, text
        return text

    def kill(self) -> None:
        """Kill it outright; its SLURM jobs go on."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def needing(raw: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a config whose jobs fit the cluster."""
    return put(raw, "execution", {kind: NEEDS | more.get(kind, {}) for kind in ("pretrain", "train", "measure")})


def files(project: Project, folder: str = "results/tables") -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in (project.path / folder).rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith("provenance")}


def differing(project: Project, expected: Project, folder: str = "results/tables") -> set[str]:
    mine, theirs = files(project, folder), files(expected, folder)
    assert theirs, folder
    return {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}


def times(cluster: Loopback, number: str) -> tuple[str, str]:
    """Return when a job's last execution began and ended."""
    found = re.search(r"StartTime=(\S+) EndTime=(\S+)", cluster.shown(number))
    assert found
    return found[1], found[2]


# --- all goes well ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def submitted(cluster: Loopback, tmp_path_factory: pytest.TempPathFactory) -> tuple[OnCluster, str]:
    """The tiny study with one submission per job, and what Snakemake printed."""
    project = OnCluster(fresh(tmp_path_factory.mktemp("submitted") / "project").path)
    project.write_config(needing(tiny()))
    return project, project.snakemake()


def test_one_submission_per_job_gives_the_tables_that_this_machine_gives(
    submitted: tuple[OnCluster, str], finished: Project
):
    assert differing(submitted[0], finished) == set()


def test_each_heavy_job_is_submitted_once_and_no_light_one_ever(submitted: tuple[OnCluster, str], cluster: Loopback):
    found = [job.rule for job in submitted[0].jobs(cluster)]
    assert {rule: found.count(rule) for rule in found} == SUBMITTED


def test_each_job_has_the_gpu_memory_and_time_that_config_says(submitted: tuple[OnCluster, str], cluster: Loopback):
    for job in submitted[0].jobs(cluster):
        text = cluster.shown(job.number)
        for expected in ("JOB_GRES=gpu:h100:1", "MinMemoryNode=1000M", "TimeLimit=00:10:00", "NumNodes=1", "Requeue=1"):
            assert expected in text, f"{job.rule}: {text}"


def test_what_the_cluster_made_is_not_made_again_here(submitted: tuple[OnCluster, str]):
    assert Project(submitted[0].path).planned() == {}


Relief = Callable[[], object]
Strike = Callable[[Job], Relief]

# --- all goes wrong ----------------------------------------------------------------------------


class Weekend:
    """What befalls the jobs of the tiny study while Snakemake runs."""

    def __init__(self, cluster: Loopback, project: OnCluster) -> None:
        self.cluster, self.project = cluster, project
        self.met: dict[str, Job] = {}
        self.former: set[str] = set()

    def befall(self, head: Head, strikes: dict[str, tuple[str, Strike]]) -> None:
        """Let each strike befall a running job of its rule, once, and wait until none of these jobs runs any more."""
        waiting, reliefs = dict(strikes), dict[str, Relief]()

        def over() -> bool:
            running = [job for job in self.project.jobs(self.cluster, "RUNNING") if job.number not in self.former]
            for job in running:
                what = next((what for what, (rule, _) in waiting.items() if job.rule.startswith(rule)), None)
                if what and job not in self.met.values():
                    self.met[what] = job
                    reliefs[job.number] = waiting.pop(what)[1](job)
            for number in [*reliefs]:
                if number in {job.number for job in running}:
                    halt(number)
                else:
                    reliefs.pop(number)()
            self.hurry()
            return not waiting and not reliefs

        head.until("all that befalls", over, 600)

    def left_alone(self, head: Head) -> None:
        """Kill Snakemake while a job of its runs that would never end by itself."""

        def running() -> bool:
            self.hurry()
            for job in self.project.jobs(self.cluster, "RUNNING"):
                if halt(job.number):
                    self.met["left alone"] = job
            return "left alone" in self.met

        head.until("a job to be left alone", running)
        head.kill()
        self.former = {job.number for job in self.project.jobs(self.cluster)}

    def hurry(self) -> None:
        """Let jobs that SLURM has put back into the queue start at once, not after its two minutes."""
        for job in self.project.jobs(self.cluster, "PENDING"):
            if self.cluster.run("squeue", "-h", "-j", job.number, "-o", "%r").strip() == "BeginTime":
                self.cluster.start_again(job.number)

    def node(self, job: Job) -> str:
        return self.cluster.run("squeue", "-h", "-j", job.number, "-o", "%N").strip()

    def cancel(self, job: Job) -> Relief:
        self.cluster.run("scancel", job.number)
        return lambda: None

    def preempt(self, job: Job) -> Relief:
        urgent = ("sbatch", "--parsable", "-p", "urgent", "-N1", "-w", self.node(job), "--gpus=2", "--mem=100")
        number = self.cluster.run(*urgent, "--wrap", "true").strip()
        return lambda: self.cluster.run("scancel", number)

    def kill_node(self, job: Job) -> Relief:
        # as soon as its daemon answers again the node is back: ReturnToService
        self.cluster.run("scontrol", "update", f"NodeName={self.node(job)}", "State=DOWN", "Reason=test")
        return lambda: None

    def limit(self, job: Job) -> Relief:
        self.cluster.run("scontrol", "update", f"JobId={job.number}", "TimeLimit=1")
        return lambda: None


def halt(number: str) -> int:
    """Stop a SLURM job where it stands, so that it doesn't end before something befalls it; 0 where it isn't there."""
    if process := process_of(number, "whypretrain.stages."):
        os.kill(process, signal.SIGSTOP)
    return process


def process_of(number: str, module: str) -> int:
    """Return the process of a SLURM job that runs one of our modules; 0 where there is none."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            any(word.startswith(module.encode()) for word in command)
            and f"SLURM_JOB_ID={number}".encode() in environment
        ):
            return int(folder.name)
    return 0


@pytest.fixture(scope="module")
def weekend(cluster: Loopback, tmp_path_factory: pytest.TempPathFactory) -> tuple[Weekend, list[str]]:
    """The tiny study with all that can befall it, and what its two heads printed."""
    project = OnCluster(fresh(tmp_path_factory.mktemp("weekend") / "project").path)
    project.write_config(needing(tiny(), train={"partition": "cancel"}, measure={"partition": "requeue"}))
    happened = Weekend(cluster, project)
    first = project.head()
    happened.befall(
        first,
        {
            "cancelled": ("pretrain", happened.cancel),
            "pre-empted, cancelled": ("train_run", happened.preempt),
            "pre-empted, requeued": ("measure", happened.preempt),
            "node died": ("anneal", happened.kill_node),
        },
    )
    happened.left_alone(first)
    told = first.printed()
    second = project.head()
    happened.befall(second, {"out of time": ("", happened.limit)})
    second.until("the end", lambda: happened.hurry() or second.process.poll() is not None)
    return happened, [told, second.end()]


def test_whatever_befalls_the_jobs_the_tables_are_the_same(weekend: tuple[Weekend, list[str]], finished: Project):
    assert differing(weekend[0].project, finished) == set()
    assert Project(weekend[0].project.path).planned() == {}


def test_a_job_that_was_preempted_and_cancelled_is_put_back_into_the_queue(weekend: tuple[Weekend, list[str]]):
    happened, (first, _) = weekend
    job = happened.met["pre-empted, cancelled"]
    assert f"SLURM job {job.number} ended (preempted): it is back in the queue." in first


def test_preemption_and_dead_nodes_use_up_no_retry(weekend: tuple[Weekend, list[str]]):
    happened = weekend[0]
    for what in ("pre-empted, cancelled", "pre-empted, requeued", "node died"):
        text = happened.cluster.shown(happened.met[what].number)
        assert "Restarts=0" not in text, f"{what}: {text}"
        assert "MinMemoryNode=1000M" in text, what


def test_a_job_that_was_cancelled_or_ran_out_of_time_asks_for_more(weekend: tuple[Weekend, list[str]]):
    happened = weekend[0]
    for what, state in (("cancelled", "CANCELLED"), ("out of time", "TIMEOUT")):
        job = happened.met[what]
        later = [
            other
            for other in happened.project.jobs(happened.cluster)
            if other.comment == job.comment and int(other.number) > int(job.number)
        ]
        assert f"JobState={state}" in happened.cluster.shown(job.number)
        assert [other.state for other in later] == ["COMPLETED"], what
        text = happened.cluster.shown(later[0].number)
        assert "MinMemoryNode=2000M" in text, text
        assert "TimeLimit=00:20:00" in text, text


def test_a_new_head_ends_the_jobs_of_the_killed_one_before_it_submits(weekend: tuple[Weekend, list[str]]):
    happened, (_, second) = weekend
    job = happened.met["left alone"]
    told = re.search(r"Ending \d+ SLURM jobs of a former call: ([\d ]+)\.", second)
    assert told, second
    assert job.number in told[1].split()
    ends = [times(happened.cluster, number)[1] for number in told[1].split()]
    later = [job.number for job in happened.project.jobs(happened.cluster) if f" SLURM jobid {job.number} " in second]
    submissions = re.findall(r"SubmitTime=(\S+)", "".join(happened.cluster.shown(number) for number in later))
    assert max(ends) <= min(submissions)


def test_no_two_jobs_ever_wrote_the_same_files_at_once(weekend: tuple[Weekend, list[str]]):
    happened = weekend[0]
    found: dict[str, list[tuple[str, str, str]]] = {}
    for job in happened.project.jobs(happened.cluster):
        began, ended = times(happened.cluster, job.number)
        if began != "Unknown":
            found.setdefault(job.comment, []).append((began, ended, job.number))
    assert len(found) == sum(SUBMITTED.values())
    for comment, spans in found.items():
        spans.sort()
        for (_, ended, number), (began, _, other) in pairwise(spans):
            assert ended <= began, f"{comment}: {number} until {ended}, {other} from {began}"


# --- a job that always fails, and one that no node grants ----------------------------------------


def lacking_a_run(again: Project, **needs: Any) -> OnCluster:
    """Return the finished study without the files of one job, made to fit the cluster."""
    project = OnCluster(again.path)
    project.write_config(needing(tiny(), **needs))
    shutil.rmtree(project.path / RUN / "lr-0.1.s0")  # its pilots stay, which selected its rate
    return project


def test_a_job_that_always_fails_runs_once_and_once_for_each_retry(cluster: Loopback, again: Project):
    project = lacking_a_run(again)
    failing = "import os\n\nprint(os.environ['SLURM_JOB_ID'], file=open('tries', 'a'))\nraise SystemExit('no luck')\n"
    project.edit("workflow/whypretrain/stages/train_run.py", "import logging\n", failing)
    text = project.snakemake(MISSING, status=1)
    jobs = project.jobs(cluster)
    assert [job.number for job in jobs] == (project.path / "tries").read_text().split()
    shown = [cluster.shown(job.number) for job in jobs]
    assert [re.findall(r"MinMemoryNode=(\S+)", found) for found in shown] == [["1000M"], ["2000M"], ["3000M"]]
    assert [re.findall(r"TimeLimit=(\S+)", found) for found in shown] == [["00:10:00"], ["00:20:00"], ["00:30:00"]]
    assert "no luck" in text


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (
            {"gpu": 3},
            "SLURM: this cluster can't run train_run_short_s0. execution.train.gpu: 3 GPUs are asked for, no node "
            "of partition main has more than 2 (GPUs by node: h100:2).",
        ),
        (
            {"gpu_model": "a100", "partition": "urgent"},
            "execution.train.gpu_model: no node of partition urgent has a a100; there are h100:2.",
        ),
    ],
)
def test_more_than_any_node_has_is_refused_at_once(
    cluster: Loopback, again: Project, needs: dict[str, Any], message: str
):
    project = lacking_a_run(again, train=needs)
    text = project.snakemake(MISSING, status=1)
    assert message in text
    assert "Traceback" not in text
    assert project.jobs(cluster) == []
    assert project.planned(MISSING)["train_run_short_s0"] == 1, "a dry run asks no cluster"


def test_jobs_that_only_a_selection_brings_are_seen_to_before_it(cluster: Loopback, again: Project):
    project = lacking_a_run(again, train={"gpu": 3})
    for file in ("results/selections/tiny.json", RUNS):
        (project.path / file).unlink()
    text = project.snakemake(RUNS, status=1)
    assert re.search(r"can't run train_run_short_\w+\. execution\.train\.gpu: 3 GPUs are asked for", text), text
    assert not (project.path / "results/selections/tiny.json").exists(), "nothing was started"
    project.write_config(needing(tiny()))
    project.snakemake(RUNS)
    assert [job.rule for job in project.jobs(cluster)] == ["train_run_short_s0"]


# --- one allocation for many short jobs ----------------------------------------------------------


def test_one_allocation_that_runs_out_of_time_goes_on_in_the_next(cluster: Loopback, finished: Project, tmp_path: Path):
    project = OnCluster(fresh(tmp_path / "allocated").path)
    options = ("--parsable", "--gpus=2", "--cpus-per-task=2", "--mem=4000", "--time=30")
    number = subprocess.run(
        ["sbatch", *options, "profiles/slurm/allocation.sbatch", "--configfile", TINY],
        cwd=project.path,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    log = project.path / f"slurm-{number}.out"

    def state() -> str:
        return {job.number: job.state for job in cluster.jobs()}[number]

    until(
        "a first run", lambda: [*(project.path / "results/runs").rglob("scores.parquet")] or state() == "COMPLETED", 400
    )
    # as SLURM does three minutes before the end
    cluster.run("scancel", "--batch", "--signal=USR1", number)
    until("its return to the queue", lambda: state() == "PENDING", 400)
    assert "The time of this allocation is over; it is submitted again." in log.read_text()
    cluster.start_again(number)
    until("its end", lambda: state() not in ("PENDING", "RUNNING", "COMPLETING"), 600)
    assert state() == "COMPLETED", log.read_text()
    assert "Restarts=1" in cluster.shown(number)
    assert [job.number for job in cluster.jobs() if int(job.number) > int(number)] == [], "its jobs are its own"
    assert differing(project, finished) == set()


# --- small things, asked of the real cluster ---------------------------------------------------------


def held(cluster: Loopback, name: str) -> str:
    """Submit a job that waits, and return its number."""
    return cluster.run(
        "sbatch", "--parsable", "--hold", "--mem=100", "-J", name, "-o", "/dev/null", "--wrap", "true"
    ).strip()


def test_a_job_that_slurm_has_put_back_itself_is_left_alone(cluster: Loopback):
    number = held(cluster, "waiting")
    assert slurm.resume(number, "PREEMPTED") == "PENDING"
    assert "Restarts=0" in cluster.shown(number)
    cluster.run("scancel", number)


def test_a_job_that_slurm_cannot_resume_has_failed(cluster: Loopback, capsys: pytest.CaptureFixture[str]):
    assert slurm.resume("99999999", "NODE_FAIL") == "FAILED"
    assert (
        "SLURM job 99999999 ended (node fail) and can't be resumed, so it has failed: scontrol"
        in capsys.readouterr().err
    )


def test_a_job_that_slurm_holds_because_its_node_did_not_start_it_is_released(cluster: Loopback):
    # deaf to SIGTERM, so its node still runs it when it is sent there again, and refuses
    deaf = ("--wrap", "trap '' TERM; sleep 600 & wait; wait")
    number = cluster.run(
        "sbatch", "--parsable", "--requeue", "-w", "cpu1", "--mem=100", "-o", "/dev/null", *deaf
    ).strip()

    def is_(state: str, reason: str) -> bool:
        return cluster.run("squeue", "-h", "-j", number, "-o", "%T|%r").strip() == f"{state}|{reason}"

    until("its start", lambda: is_("RUNNING", "None"))
    cluster.run("scontrol", "update", "NodeName=cpu1", "State=DOWN", "Reason=test")
    until("its return to the queue", lambda: is_("PENDING", "BeginTime"))
    cluster.run("scontrol", "update", f"JobId={number}", "StartTime=now")
    until("its hold", lambda: is_("PENDING", "launch failed requeued held"))
    slurm.release({"1"})
    assert is_("PENDING", "launch failed requeued held"), "another's job"
    slurm.release({number})
    assert not is_("PENDING", "launch failed requeued held")
    cluster.run("scancel", number)


def test_only_jobs_of_this_results_folder_are_ended_and_no_one_elses(cluster: Loopback, tmp_path: Path):
    mark, other = slurm.mark(tmp_path / "results"), slurm.mark(tmp_path / "others")
    mine, theirs = held(cluster, f"{mark}_run"), held(cluster, f"{other}_run")
    with pytest.raises(ClusterError, match=f"jobs of root still write into .*results: {mine}. Ask for `scancel`"):
        slurm.end_former_jobs(mark, tmp_path / "results", "somebody")
    assert slurm.former_jobs(mark) == {mine: "root"}
    slurm.end_former_jobs(mark, tmp_path / "results", "root")
    assert slurm.former_jobs(mark) == {}
    assert slurm.former_jobs(other) == {theirs: "root"}
    cluster.run("scancel", theirs)
