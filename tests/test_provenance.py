"""What a run says of the machine it was trained on, and of what it cost."""

import json
import os
import platform
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from conftest import Project

from whypretrain.files import schemas
from whypretrain.jobs.plan import pinned_versions
from whypretrain.running import provenance
from whypretrain.running.provenance import Watch, processor_energy, processor_joules, processor_name


def rows(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(project.path / "results/tables/provenance.parquet").to_pylist()
    return found


def test_every_run_says_what_it_was_trained_with(finished: Project):
    pins = pinned_versions(finished.path / "envs/requirements.txt")
    found = rows(finished)
    tables = (pq.read_table(finished.path / f"results/tables/{name}.parquet") for name in ("runs", "pilots"))
    assert len(found) == sum(map(len, tables))
    for row in found:
        spec = json.loads(row["spec"])
        assert (spec["learning_rates"], spec["seeds"]) == ([row["learning_rate"]], [row["seed"]])
        assert spec["target"]["target"] == f"{row['target']}.{row['shots']}"
        assert row["torch"].split("+")[0] == pins["torch"]
        assert (row["numpy"], row["scikit_learn"]) == (pins["numpy"], pins["scikit-learn"])
        assert (row["host"], row["python"]) == (platform.node(), platform.python_version())
        assert row["threads"] == spec["threads"]
        assert len(row["code"]) == 16


def test_every_run_says_when_it_was_and_what_it_took(finished: Project):
    for row in rows(finished):
        started, ended = (datetime.fromisoformat(row[name]) for name in ("started", "ended"))
        assert started.utcoffset() == ended.utcoffset()
        assert str(started.utcoffset()) == "0:00:00"
        assert (ended - started).total_seconds() == pytest.approx(row["seconds"], abs=1)
        assert 0 < row["cpu_seconds"] < row["seconds"] * (os.cpu_count() or 1) + 1
        assert 50 < row["peak_memory_mb"] < 20_000, "a process with torch, in MiB"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_a_machine_does_not_have_is_empty_and_no_zero(finished: Project):
    for row in rows(finished):
        assert row["device"] == row["processor"] != ""
        assert [row[name] for name in ("gpu", "cuda", "cudnn", "driver", "slurm_job")] == [""] * 5
        assert all(row[name] is None or row[name] != row[name] for name in ("peak_gpu_memory_mb", "gpu_joules"))


def test_a_column_that_a_file_of_older_runs_lacks_is_empty():
    row = schemas.provenance_row({"torch": "2.13.0", "threads": 1, "seconds": 2.5, "gpu_joules": None, "process": 1})
    assert set(row) == set(schemas.TABLES["provenance"]) - set(schemas.RUN_COLUMNS)
    assert (row["torch"], row["driver"]) == ("2.13.0", "")
    assert row["gpu_joules"] != row["gpu_joules"]


def test_a_run_in_an_allocation_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    watch = Watch(torch.device("cpu"))
    begun = time.process_time()
    while time.process_time() < begun + 0.2:
        pass
    told = watch.told()
    assert told["slurm_job"] == "4711"
    assert told["cpu_seconds"] >= 0.2
    assert json.loads(json.dumps(told)) == told


def test_without_a_driver_nvml_has_no_answer():
    assert provenance._nvml(lambda nvml: nvml.nvmlDeviceGetHandleByUUID("GPU-none")) is None


# --- processors ----------------------------------------------------------------------------


def test_the_processor_s_name_is_what_linux_calls_it():
    text = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some Processor @ 2.00GHz\n\nprocessor\t: 1\nmodel name\t: B\n"
    assert processor_name(text) == "Some Processor @ 2.00GHz"
    assert processor_name("processor\t: 0\nCPU implementer\t: 0x41\n") != "", "an ARM processor has no such line"


RANGE = 262_143_328_850


def counters(folder: Path, packages: list[int]) -> Path:
    """Write a folder as Linux shows its counters, with zones that would count something twice."""
    for number, stand in enumerate(packages):
        zones = {f"intel-rapl:{number}": (f"package-{number}", stand), f"intel-rapl:{number}:0": ("core", 10**9)}
        for zone, (name, energy) in zones.items():
            (folder / zone).mkdir(parents=True, exist_ok=True)
            (folder / zone / "name").write_text(f"{name}\n")
            (folder / zone / "energy_uj").write_text(f"{energy}\n")
            (folder / zone / "max_energy_range_uj").write_text(f"{RANGE}\n")
    for zone, name in (("intel-rapl:9", "psys"), ("intel-rapl-mmio:0", "package-0")):
        (folder / zone).mkdir(parents=True, exist_ok=True)
        (folder / zone / "name").write_text(f"{name}\n")
        (folder / zone / "energy_uj").write_text("7000000\n")
    (folder / "intel-rapl").mkdir(exist_ok=True)
    return folder


def test_energy_is_the_sum_over_packages_of_what_they_count_between(tmp_path: Path):
    before = processor_energy(counters(tmp_path, [1_000_000, 5_000_000]))
    after = processor_energy(counters(tmp_path, [31_000_000, 5_500_000]))
    assert processor_joules(before, after, 2.0) == pytest.approx(30.5)


def test_a_counter_that_starts_again_is_followed(tmp_path: Path):
    before = processor_energy(counters(tmp_path, [RANGE - 4_000_000]))
    after = processor_energy(counters(tmp_path, [6_000_000]))
    assert processor_joules(before, after, 2.0) == pytest.approx(10.0)


def test_energy_is_empty_where_it_cannot_be_told(tmp_path: Path):
    assert processor_energy(tmp_path / "none") == {}
    assert processor_joules({}, {}, 1.0) is None
    before = processor_energy(counters(tmp_path, [1, 2]))
    assert processor_joules(before, before, 1.0) == 0
    assert processor_joules(before, before, 3600.0) is None, "a counter may have gone round twice"
    assert processor_joules(before, dict(list(before.items())[:1]), 1.0) is None
    (tmp_path / "intel-rapl:1/energy_uj").unlink()  # as one that this user may not read
    assert processor_energy(tmp_path) == {}
