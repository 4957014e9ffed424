"""Sources shared between projects (`--cache`): trained once, and taken only where they would come out the same."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Project, fresh, put, tiny

from whypretrain.jobs.setup import STORE

pytestmark = pytest.mark.soak  # make test-cluster

ONE_SEED = put(tiny(), "seed_blocks", [[0]])
SOURCE = "sources/tiny/letters/s0"
END = f"{SOURCE}/epoch-1+anneal.safetensors"
SHARED = ["epoch-0.safetensors", "epoch-0.5.safetensors", "epoch-1.safetensors", "history.parquet"]
SHARED += ["epoch-1+anneal.safetensors", "history-1+anneal.parquet"]


def contents(store: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in store.iterdir()}


def trained(project: Project, results: str) -> bool:
    """Whether the last job of the source trained it: what is taken from the store logs nothing."""
    return "step" in (project.path / results / "logs/pretrain_source/tiny.letters.s0.log").read_text()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("group") / "a store"
    path.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STORE, str(path))
        yield path


@pytest.fixture(scope="module")
def first(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Whose source is trained and put into the store."""
    project = fresh(tmp_path_factory.mktemp("first") / "project")
    project.write_config(ONE_SEED)
    project.snakemake("--cores", "1", "--cache", "sources", "--", f"results/{END}")
    assert trained(project, "results")
    return project


@pytest.fixture(scope="module")
def second(first: Project, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same study in another folder, with its results under another name."""
    project = fresh(tmp_path_factory.mktemp("second") / "mine")
    project.write_config(put(ONE_SEED, "results", "others/here"))
    before = contents(store)
    project.snakemake("--cores", "1", "--cache", "sources", "--", f"others/here/{END}")
    assert contents(store) == before
    return project


def test_a_second_project_takes_the_source_and_trains_nothing(first: Project, second: Project, store: Path):
    assert not trained(second, "others/here")
    for name in SHARED:
        mine, theirs = second.path / "others/here" / SOURCE / name, first.path / "results" / SOURCE / name
        assert mine.is_symlink()
        assert mine.resolve() == theirs.resolve()
        assert mine.resolve().parent == store.resolve()
    assert len(contents(store)) == len(SHARED)


def test_what_was_taken_is_read_like_what_was_trained_with_and_without_the_store(first: Project, second: Project):
    table = "tables/sources.parquet"
    for project, results in ((first, "results"), (second, "others/here")):
        assert project.planned(f"{results}/{END}") == {}
        assert project.planned("--cache", "sources", "--", f"{results}/{END}") == {}
        project.snakemake("--cores", "1", f"{results}/{table}")
    found = [
        pq.read_table(path).to_pylist()
        for path in (first.path / f"results/{table}", second.path / f"others/here/{table}")
    ]
    assert len(found[0]) > 3
    assert str(found[0]) == str(found[1])  # as text: NaN equals none


def test_the_group_may_read_and_replace_what_is_in_the_store(first: Project, store: Path):
    for path in store.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o660 == 0o660


OTHERS = {
    "another learning rate": lambda project: project.write_config(
        put(ONE_SEED, "pretraining.brief.learning_rate", 0.05)
    ),
    "other code": lambda project: project.edit(
        "workflow/whypretrain/training/pretraining.py", "import math\n", "import math\n\nOTHER = 1\n"
    ),
    "other images": lambda project: project.write_config(
        put(ONE_SEED, "datasets.glyphs.parameters.images_per_class", 21)
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_would_come_out_otherwise_is_trained(what: str, first: Project, store: Path, tmp_path: Path):
    project = fresh(tmp_path / "project")
    project.write_config(ONE_SEED)
    OTHERS[what](project)
    before = contents(store)
    project.snakemake("--cores", "1", "--cache", "sources", "--", f"results/{SOURCE}/epoch-1.safetensors")
    assert trained(project, "results")
    after = contents(store)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 4


def test_with_another_torch_nothing_is_taken(first: Project, tmp_path: Path):
    project = fresh(tmp_path / "project")
    project.write_config(ONE_SEED)
    project.install("torch", "0.1")
    text = project.snakemake("--cores", "1", "--cache", "sources", "--", f"results/{END}", status=1)
    assert "torch: 2.13.0 is installed where this job runs, but the results are to be made with 0.1" in text


def test_a_job_run_again_without_the_store_leaves_the_store_as_it_is(second: Project, store: Path, tmp_path: Path):
    project = Project(tmp_path / "copy")
    shutil.copytree(second.path, project.path, symlinks=True)
    before = contents(store)
    project.snakemake("--cores", "1", "--force", f"others/here/{SOURCE}/epoch-1.safetensors")
    assert trained(project, "others/here")
    made = project.path / "others/here" / SOURCE / "epoch-1.safetensors"
    assert not made.is_symlink()
    assert contents(store) == before
    assert made.read_bytes() == (second.path / "others/here" / SOURCE / "epoch-1.safetensors").read_bytes()


def test_what_is_gone_from_the_store_is_trained_and_put_back(second: Project, store: Path, tmp_path: Path):
    project = Project(tmp_path / "copy")
    shutil.copytree(second.path, project.path, symlinks=True)
    gone = (project.path / "others/here" / SOURCE / "epoch-0.5.safetensors").resolve()
    before = contents(store)
    gone.unlink()
    wanted = ("--cache", "sources", "--", *(f"others/here/{SOURCE}/{name}" for name in SHARED[:4]))
    assert project.planned(*wanted)["pretrain_source_brief_s0"] == 1
    project.snakemake("--cores", "1", *wanted)
    after = contents(store)
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    assert project.planned(*wanted) == {}


def test_two_at_once_on_a_store_on_another_file_system_both_end_with_the_same(tmp_path: Path):
    memory = Path("/dev/shm")
    store = (memory if os.access(memory, os.W_OK) else tmp_path) / f"store-{os.getpid()}"
    store.mkdir()
    try:
        projects = [fresh(tmp_path / name) for name in ("one", "other")]
        for project in projects:
            project.write_config(ONE_SEED)
        target = f"results/{SOURCE}/epoch-1.safetensors"
        processes = [
            subprocess.Popen(
                project.command("--cores", "1", "--cache", "sources", "--", target),
                cwd=project.path,
                env=project.environment() | {STORE: str(store)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for project in projects
        ]
        for process in processes:
            text, _ = process.communicate()
            assert process.returncode == 0, text
        assert len(list(store.iterdir())) == 4
        ends = [(project.path / target) for project in projects]
        assert {end.resolve().parent for end in ends} == {store}
        assert ends[0].read_bytes() == ends[1].read_bytes()
    finally:
        shutil.rmtree(store)


# --- only where it is asked for ------------------------------------------------------------


def test_who_does_not_ask_shares_nothing_and_may_ask_later(finished: Project, store: Path):
    assert [path for path in (finished.path / "results").rglob("*") if path.is_symlink()] == []
    for rule in ("pretrain_source/tiny.letters.s0", "anneal_source/tiny.letters.epoch-1.s0"):
        assert (finished.path / f"results/benchmarks/{rule}.jsonl").exists()
    assert "eligible for caching" not in finished.snakemake("-n")
    assert finished.planned("--cache", "sources") == {}


@pytest.mark.parametrize("told", ["", "relative", "/nowhere/at/all", "/dev/null"])
def test_a_store_that_is_none_is_refused_in_one_message(told: str, finished: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(STORE, told)
    text = finished.snakemake("-n", "--cache", "sources", status=1)
    assert text.count(f"--cache: {STORE} is '{told}'; allowed: the absolute path of a folder") == 1
    assert "Traceback" not in text
