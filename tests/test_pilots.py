"""Pilot seeds select, others decide: real runs of a study from scratch whose learning rates, pilots or criteria change.

The rates of its grids are far apart in validation top-1, so that none is selected by a hair.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import Project, fresh, plan_of, put, tiny

from whypretrain.config.models import ConfigError

pytestmark = pytest.mark.soak  # make test-cluster

TABLES = ("selected", "pilots", "runs", "design", "arms")
TARGETS = [f"results/tables/{name}.parquet" for name in TABLES]
MADE_ANEW = ("tables", "logs", "benchmarks")
GRID = "recipes.short.learning_rate_blocks"
FEW, MORE = "digits.2", "digits.10"  # 0.2 is selected for both; 1 is better with few images alone
AUDIT = ("python", "workflow/audit.py", "--configfile", "tests/config/tiny.yaml")
PILOTS = "r0.p0"  # the batch of all rates and pilots of the first blocks


def study(blocks: list[list[float]], targets: tuple[str, ...] = (FEW, MORE)) -> dict[str, Any]:
    """Return the tiny study with arms from scratch alone, one for each target."""
    raw = put(tiny(), GRID, blocks)
    part = {"architectures": ["tiny"], "sources": ["none"], "targets": list(targets), "recipes": ["short"]}
    raw["studies"]["tiny"] |= {"claims": [], "settings": {}, "figures": [], "grid": [part]}
    return raw


def made(project: Project) -> dict[str, int]:
    """Return when each result but tables was written."""
    results = project.path / "results"
    files = {path.relative_to(results): path for path in results.rglob("*.*") if path.is_file()}
    return {
        str(name): path.stat().st_mtime_ns
        for name, path in files.items()
        if name.parts[0] not in MADE_ANEW and len(name.parts) > 1 and not name.name.startswith(".")
    }


def grown(project: Project, raw: dict[str, Any]) -> tuple[set[tuple[str, str]], set[str]]:
    """Run a changed study; return the batches that were trained, by target, and all else that was made."""
    before = made(project)
    project.write_config(raw)
    project.snakemake("--cores", "2", *TARGETS)
    new = {name for name, moment in made(project).items() if before.get(name) != moment}
    runs = {name for name in new if name.startswith("runs/")}
    trained = {(parts[5], parts[8]) for parts in (Path(name).parts for name in runs)}
    return trained, new - runs


def selected(project: Project, name: str = "tiny") -> dict[str, float]:
    arms = json.loads((project.path / f"results/selections/{name}.json").read_text())["arms"]
    return {arm["target"]: arm["learning_rate"] for arm in arms}


def rows(project: Project, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(project.path / f"results/tables/{table}.parquet").to_pylist()
    return found


def all_of(*batches: str, targets: tuple[str, ...] = (FEW, MORE)) -> set[tuple[str, str]]:
    return {(target, batch) for target in targets for batch in batches}


def audited(project: Project, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the audit to it that all results but the other tables and pages are there, and fresh."""
    with monkeypatch.context() as patch:
        patch.chdir(project.path)
        plan = plan_of(raw)
        fresh_ones, every = len(list(plan.computed())) + len(TABLES), len(list(plan.results()))
    assert project.run(*AUDIT, status=0) == f"results: {fresh_ones} fresh; {every - fresh_ones} not made yet.\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The study with two rates. Don't change it: ask for `project`."""
    project = fresh(tmp_path_factory.mktemp("base") / "project")
    trained, _ = grown(project, study([[0.01, 0.2]]))
    assert selected(project) == {FEW: 0.2, MORE: 0.2}
    assert trained == all_of(PILOTS, "lr-0.2.s0")
    return project


@pytest.fixture
def project(base: Project, tmp_path: Path) -> Project:
    shutil.copytree(base.path, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_a_rate_more_that_loses_trains_pilots_alone_and_going_back_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    before, raw = rows(project, "runs"), study([[0.01, 0.2], [1e-6]])
    audited(project, study([[0.01, 0.2]]), monkeypatch)
    trained, others = grown(project, raw)
    assert trained == all_of("r1.p0")
    assert others == {"selections/tiny.json"}
    assert str(rows(project, "runs")) == str(before)
    assert len(rows(project, "pilots")) == 6
    assert project.planned(*TARGETS) == {}
    audited(project, raw, monkeypatch)
    trained, others = grown(project, study([[0.01, 0.2]]))
    assert trained == set()
    assert others == {"selections/tiny.json"}
    assert len(rows(project, "pilots")) == 4


def test_a_rate_more_that_wins_for_one_arm_trains_its_seeds_alone_and_going_back_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    before, raw = rows(project, "runs"), study([[0.01, 0.2], [1.0]])
    trained, others = grown(project, raw)
    assert selected(project) == {FEW: 1.0, MORE: 0.2}
    assert trained == all_of("r1.p0") | {(FEW, "lr-1.0.s0")}
    assert others == {"selections/tiny.json"}
    rates = {(row["shots"], row["learning_rate"]) for row in rows(project, "runs")}
    assert rates == {("2", 1.0), ("10", 0.2)}
    # those at the rate that lost are kept, for going back
    *told, last = project.run(*AUDIT, status=1).splitlines()
    with monkeypatch.context() as patch:
        patch.chdir(project.path)
        count = len(list(plan_of(raw).computed())) + len(TABLES)
    assert last.startswith(f"results: {count} fresh, {len(told)} unused; ")
    left = {tuple(Path(line.split()[1]).parts[i] for i in (6, 9)) for line in told if line.startswith("unused")}
    assert left == {(FEW, "lr-0.2.s0")}
    trained, _ = grown(project, study([[0.01, 0.2]]))
    assert trained == set()
    assert str(rows(project, "runs")) == str(before)
    told = project.run(*AUDIT).splitlines()
    assert {line.split()[0] for line in told if line.split()[0] in ("stale", "damaged", "foreign")} == set()
    assert {line.split()[0] for line in told if "lr-1.0.s0/" in line} == {"unused"}


def test_a_pilot_more_whose_selection_stays_trains_its_pilots_alone(project: Project, monkeypatch: pytest.MonkeyPatch):
    before, raw = rows(project, "runs"), put(study([[0.01, 0.2]]), "pilot_blocks", [[100], [101]])
    trained, others = grown(project, raw)
    assert selected(project) == {FEW: 0.2, MORE: 0.2}
    assert trained == all_of("r0.p1")
    assert "selections/tiny.json" in others
    assert all("s101" in Path(name).stem or "s101" in Path(name).parts for name in others - {"selections/tiny.json"})
    assert str(rows(project, "runs")) == str(before)
    audited(project, raw, monkeypatch)


def test_studies_that_select_otherwise_each_read_their_own_rate_of_one_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    raw = study([[1.0, 1.5, 2.0]], (FEW,))
    for name, how in {"lossy": {"criterion": "loss"}, "scarce": {"selection": "shots"}}.items():
        raw["studies"][name] = raw["studies"]["tiny"] | how
    project = fresh(tmp_path / "project")
    trained, _ = grown(project, raw)
    chosen = {"tiny": 1.0, "lossy": 2.0, "scarce": 1.5}
    assert {name: selected(project, name)[FEW] for name in chosen} == chosen
    assert {row["study"]: row["learning_rate"] for row in rows(project, "arms")} == chosen
    design = [(row["study"], row["learning_rate"]) for row in rows(project, "design") if row["selected"]]
    assert sorted(design) == sorted([*chosen.items()] * 2)
    # all pilots are shared
    assert trained == {(FEW, PILOTS), *((FEW, f"lr-{rate}.s0") for rate in ("1.0", "1.5", "2.0"))}
    assert len(rows(project, "pilots")) == 3
    audited(project, raw, monkeypatch)


def test_where_all_pilots_diverge_the_lowest_rate_is_selected_and_told_to_be_at_the_edge(tmp_path: Path):
    project = fresh(tmp_path / "project")
    grown(project, study([[1e12, 1e9]], (FEW,)))
    assert {row["diverged"] for row in rows(project, "pilots")} == {True}
    assert selected(project) == {FEW: 1e9}
    (arm,) = rows(project, "arms")
    assert (arm["learning_rate"], arm["grid_edge"], arm["diverged"], arm["n"]) == (1e9, True, 2, 2)


def test_an_arm_with_one_rate_needs_no_pilot(tmp_path: Path):
    project = fresh(tmp_path / "project")
    trained, others = grown(project, put(study([[0.2]], (FEW,)), "pilot_blocks", []))
    assert trained == {(FEW, "lr-0.2.s0")}
    assert not any("s100" in name for name in others)
    assert rows(project, "pilots") == []
    (arm,) = rows(project, "arms")
    assert (arm["learning_rate"], arm["grid_edge"]) == (0.2, False)
    # nor is one trained where there are pilots for others
    assert plan_of(study([[0.2]])).grid.pilots.arms == {}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("pilot_blocks", [[1, 100]], "seed 1 stands in seed_blocks and in pilot_blocks"),
        ("pilot_blocks", [], "pilot_blocks: is empty, but recipes.short.learning_rate_blocks has 2 rates"),
    ],
)
def test_pilots_that_decide_and_rates_without_pilots_are_refused_in_one_message(
    tmp_path: Path, key: str, value: object, told: str
):
    raw = put(study([[0.01, 0.2]]), key, value)
    with pytest.raises(ConfigError, match=told):
        plan_of(raw)
    project = fresh(tmp_path / "project")
    project.write_config(raw)
    text = project.snakemake("-n", "--cores", "2", status=1)
    assert text.count("Mistake in config") == text.count(told) == 1
    assert "Traceback" not in text
