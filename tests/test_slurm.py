"""What is asked of SLURM: requests held against what a cluster has, and where the states of jobs come from."""

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from conftest import plan_of, put, tiny

from whypretrain.config.execution import Needs, resources
from whypretrain.jobs.plan import Plan
from whypretrain.running import slurm
from whypretrain.running.slurm import ClusterError, Node, Request

# --- what is asked for, and what there is ---------------------------------------------------

SINFO = """\
cpu*|64|257000|(null)|2-00:00:00
cpu*|128|515000+|(null)|2-00:00:00
gpu|32|385000|gpu:a100:4(S:0-1)|1-12:30:00
gpu|32|385000|gpu:v100:2(S:0,1),gpu:v100s:1|1-12:30:00
test|8|32000|gpu:2|30:00
long|8|32000|gpu:nvidia_a100_1g.10gb:7,shard:16|infinite
"""


def test_nodes_are_read_as_clusters_print_them():
    nodes = slurm.nodes_of(SINFO)
    assert nodes[0] == Node("cpu", True, 64, 257000, {}, 2880)
    assert nodes[1].mem_mb == 515000
    assert [node.gpus for node in nodes[2:]] == [
        {"a100": 4},
        {"v100": 2, "v100s": 1},
        {"": 2},
        {"nvidia_a100_1g.10gb": 7},
    ]
    assert [node.runtime for node in nodes[2:]] == [2190, 2190, 30, float("inf")]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("execution.train", mem_mb=515000, threads=128), None),
        (Request("execution.train", ("gpu",), gpu=4, gpu_model="a100"), None),
        (Request("execution.train", ("gpu",), gpu=3), None),
        (Request("execution.train", ("test", "gpu"), gpu=1, runtime=2000), None),
        (Request("execution.train", gpu=1), "execution.train.gpu: 1 GPUs are asked for, no node of partition cpu has "
         "more than 0 (GPUs by node: none); set `device: cpu` to run without"),
        (Request("execution.train", ("gpu",), gpu=5), "execution.train.gpu: 5 GPUs are asked for, no node of "
         "partition gpu has more than 4 (GPUs by node: a100:4, v100:2, v100s:1)"),
        (Request("execution.train", ("gpu",), gpu=3, gpu_model="v100"), "execution.train.gpu: 3 GPUs v100 are asked"),
        (Request("execution.train", ("gpu",), gpu=1, gpu_model="h100"), "execution.train.gpu_model: no node of "
         "partition gpu has a h100; there are a100:4, v100:2, v100s:1"),
        (Request("execution.measure", mem_mb=600000), "execution.measure.mem_mb: 600000 MB are asked for, no node of "
         "partition cpu has more than 515000"),
        (Request("execution.measure", threads=129), "threads: 129 CPUs are asked for"),
        (Request("execution.pretrain", ("test",), runtime=240), "execution.pretrain.runtime: 240 minutes are asked "
         "for, no job of partition test may take more than 30"),
        (Request("execution.pretrain", ("fast",)), "execution.pretrain.partition: no partition fast; there are cpu, "
         "gpu, long, test"),
        (Request("execution.train", ("gpu", "cpu"), gpu=1, mem_mb=500000), "execution.train: no single node of "
         "partition cpu, gpu has all of 1 GPUs, 500000 MB"),
    ],
)  # fmt: skip
def test_what_no_node_can_ever_grant_is_refused_naming_the_key_and_what_there_is(
    request_: Request, message: str | None
):
    found = slurm.refusal(request_, slurm.nodes_of(SINFO))
    assert (found is None) == (message is None)
    assert (message or "") in (found or "")


def test_memory_and_time_grow_with_the_attempt_up_to_what_a_job_can_ever_get():
    limits: dict[str, int] = {}
    wanted = resources(Needs(gpu=1, mem_mb=20000, runtime=15), "auto", limits)

    def of(key: str) -> list[int]:
        return [wanted[key](None, attempt=attempt) for attempt in (1, 2, 3)]  # type: ignore[operator]

    assert (of("mem_mb"), of("runtime")) == ([20000, 40000, 60000], [15, 30, 45])
    limits |= slurm.most(Request("execution.train", ("test",), gpu=1, mem_mb=20000), slurm.nodes_of(SINFO))
    assert (of("mem_mb"), of("runtime")) == ([20000, 32000, 32000], [15, 30, 30])


def trains(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = plan.forms_of("train_run")[0].resources
    return found


def test_without_a_gpu_none_is_asked_for():
    raw = put(tiny(), "execution", {"train": {"gpu": 2, "gpu_model": "h100", "partition": "gpu,other"}})
    assert trains(plan_of(raw)).items() >= {"gpu": 2, "gpu_model": "h100", "slurm_partition": "gpu,other"}.items()
    without = trains(plan_of(put(raw, "device", "cpu")))
    assert without["gpu"] == 0
    assert "gpu_model" not in without


# --- the state of jobs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storage", "age", "chosen", "expected"),
    [
        ("accounting_storage/slurmdbd", "10 sec", "sacct", "sacct"),
        ("accounting_storage/slurmdbd", "3600 sec", "squeue", "squeue"),
        ("accounting_storage/none", "300 sec", "sacct", "squeue"),
        ("(null)", "3600 sec", "squeue", "squeue"),
    ],
)
def test_the_states_of_jobs_come_from_where_there_is_an_answer(storage: str, age: str, chosen: str, expected: str):
    settings = slurm.settings_of(f"Configuration data\nAccountingStorageType   = {storage}\nMinJobAge  = {age}\n")
    assert slurm.status_command(settings, chosen, 20) == expected


def test_a_cluster_that_forgets_jobs_before_they_are_asked_for_is_refused():
    settings = {"AccountingStorageType": "accounting_storage/none", "MinJobAge": "60 sec"}
    with pytest.raises(ClusterError, match=r"forgets a finished job after 60 s .* needs 240 s.*allocation\.sbatch"):
        slurm.status_command(settings, "sacct", 20)


def test_states_are_understood_as_accounting_writes_them():
    async def query(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        return {"1": "CANCELLED by 1000", "2": "RUNNING", "3": ""}, 0.1

    async def silent(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        return None, None

    assert asyncio.run(slurm.lasting(query)("", None)) == ({"1": "CANCELLED", "2": "RUNNING", "3": ""}, 0.1)
    assert asyncio.run(slurm.lasting(silent)("", None)) == (None, None)


@pytest.mark.parametrize(
    ("folder", "told"), [("it's $HOME", True), ("it's `mine`", True), ("it's mine", False), ("$HOME", False)]
)
def test_a_folder_that_jobs_would_not_find_is_refused(folder: str, told: bool):
    with pytest.raises(slurm.ClusterError, match="move the project") if told else nullcontext():
        slurm.check_folder(Path("/home") / folder)
