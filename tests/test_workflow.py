"""Real runs of a tiny study: what runs again after which change, and that the bits don't depend on the way.

A job that runs although nothing it was computed from has changed costs hours; one that doesn't although
something has is a wrong result. Both are what these tests are about.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, Project, curves, fresh, job, plan_of, put, tiny, told_to

sys.path.insert(0, str(ROOT / "workflow"))

import findings
from whypretrain.stages import collect_table

pytestmark = pytest.mark.soak  # make test-cluster

SEEDS = 2
RATES = 2  # that the pilot selects from
ARMS = 3  # intact, shuffled, scratch
COLLECTORS = {
    "contrast_arms",
    "judge_claims",
    "summarise_arms",
    "summarise_curves",
    "collect_table",
    "write_report",
    "write_advice",
    "all",
}
STAGES = Path(__file__).parents[1] / "workflow/whypretrain/stages"
TORCH = {
    "pretrain_source",
    "read_weights",
    "anneal_source",
    "describe_network",
    "measure_start",
    "measure_run",
    "measure_pair",
    "train_run",
    "__init__",
}
LIGHT = sorted({path.stem for path in STAGES.glob("*.py")} - TORCH)


def heavy(planned: dict[str, int]) -> dict[str, int]:
    """Leave out what makes tables and figures, which any change of the grid renews."""
    return {rule: n for rule, n in planned.items() if rule not in COLLECTORS and not rule.startswith("plot_")}


def tables(project: Project) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in (project.path / "results/tables").glob("*.parquet")}
    assert len(found) == 25
    del found["provenance.parquet"]
    return found


def figures(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project.path / "results/figures").rglob("*.*")}


def rows(project: Project, table: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = pq.read_table(project.path / f"results/tables/{table}.parquet").to_pylist()
    return found


# --- a whole run ---------------------------------------------------------------------------


def test_the_study_ends_in_tables_with_one_verdict_for_each_claim(finished: Project):
    assert [row["claim"] for row in rows(finished, "verdicts")] == ["kept"]
    assert len(rows(finished, "runs")) == ARMS * SEEDS
    assert len(rows(finished, "pilots")) == ARMS * RATES
    assert {row["seed"] for row in rows(finished, "pilots")} == {100}
    chosen = {(row["source"], row["treatment"]): row["learning_rate"] for row in rows(finished, "selected")}
    assert {(row["source"], row["treatment"]): row["learning_rate"] for row in rows(finished, "runs")} == chosen
    assert {row["n"] for row in rows(finished, "arms")} == {SEEDS}
    design = rows(finished, "design")
    assert sum(bool(row["selected"]) for row in design) == ARMS * SEEDS, "one rate an arm is selected"


def test_a_second_call_has_nothing_to_do(finished: Project):
    assert finished.planned() == {}


def test_every_column_of_every_table_says_what_it_is(finished: Project):
    for path in (finished.path / "results/tables").glob("*.parquet"):
        for field in pq.read_schema(path):
            assert field.metadata[b"description"], f"{path.name}: {field.name}"


def test_predictions_are_those_that_the_scores_count(finished: Project):
    found = sorted((finished.path / "results/runs").rglob("predictions.parquet"))
    assert len(found) == ARMS * 2, "a batch of pilots and one of seeds that decide"
    for path in found:
        predictions, scores = (
            pq.read_table(path.with_name(f"{name}.parquet")).to_pandas() for name in ("predictions", "scores")
        )
        assert len(scores) == (SEEDS if "lr-" in path.parent.name else RATES)
        right = (predictions["label"] == predictions["prediction"]).groupby(
            [predictions["learning_rate"], predictions["seed"]]
        )
        told = scores.set_index(["learning_rate", "seed"])["top1_test"]
        assert right.mean().to_dict() == pytest.approx(told.to_dict(), abs=1e-12)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The study on one core, without keeping weights, killed outright in its middle and called again."""
    project = fresh(tmp_path_factory.mktemp("interrupted") / "project")
    project.write_config(put(tiny(), "keep_weights", False))
    runs = project.path / "results/runs"
    project.killed("--cores", "1", when=lambda: any(runs.rglob("scores.parquet")))
    # Snakemake keeps its lock when it is killed itself, and says so; a killed job leaves none
    project.snakemake("--unlock")
    project.snakemake("--cores", "1")
    return project


def test_neither_cores_nor_a_kill_nor_dropped_weights_change_a_table(finished: Project, interrupted: Project):
    expected, found = tables(finished), tables(interrupted)
    assert {name for name in expected if found[name] != expected[name]} == set()
    assert figures(interrupted) == figures(finished)
    assert sorted(figures(finished)) == [
        "accuracy-by-span.png",
        "accuracy-by-span.svg",
        "first-layer-kernels.png",
        "first-layer-kernels.svg",
    ]


def test_without_keep_weights_the_finals_are_gone_and_nothing_is_to_be_done(finished: Project, interrupted: Project):
    assert len(list((finished.path / "results/runs").rglob("final.safetensors"))) == ARMS * 2
    assert list((interrupted.path / "results/runs").rglob("final.safetensors")) == []
    assert interrupted.planned() == {}


# --- two studies ---------------------------------------------------------------------------


def test_a_run_that_two_studies_share_is_trained_once_and_stands_in_both(both: Project):
    assert both.planned() == {}
    design = [row for row in rows(both, "design") if (row["mode"], row["epoch"]) == ("finetune", "1+anneal")]
    shared = [row["study"] for row in design if (row["source"], row["treatment"]) == ("letters", "intact")]
    assert sorted(set(shared)) == ["curves", "tiny"]
    keys = [tuple(row[key] for key in row if key != "study") for row in rows(both, "runs")]
    assert len(set(map(str, keys))) == len(keys)


def test_curves_over_layers_and_checkpoints_have_all_their_points(both: Project):
    found = {(row["layers"], row["quantity"]) for row in rows(both, "transfer")}
    copied = ("AnB", "BnB", "AnB+", "BnB+", "specificity", "co-adaptation", "gain", "own gain", "transfer gain")
    assert found == {(0, "base"), (0, "source"), (1, "random"), *((n, name) for n in (1, 2) for name in copied)}
    maturity = {
        (row["mode"], row["annealed"], row["epoch"]) for row in rows(both, "maturity") if row["study"] == "curves"
    }
    modes = ("finetune", "probe", "probe+source-norm")
    assert maturity == {(mode, True, epoch) for mode in modes for epoch in (0.0, 0.5, 1.0)}


def test_read_outs_stand_in_their_tables_for_every_seed(both: Project):
    arms, layers = 3, 2
    assert len(rows(both, "similarity")) == arms * SEEDS * layers
    assert len(rows(both, "criticality")) == arms * SEEDS * layers * 2
    assert len(rows(both, "parts")) == arms * SEEDS * 3 * 3
    assert {row["pair"] for row in rows(both, "pairs")} == {"trained", "sources"}
    assert {row["pair"] for row in rows(both, "barriers")} == {"trained"}
    judged = ["apart", "kept", "peak", "residual", "specific", "steep"]
    assert sorted(row["claim"] for row in rows(both, "verdicts")) == judged
    probes = [row for row in rows(both, "runs") if str(row["mode"]).startswith("probe")]
    assert len(probes) == 6 * SEEDS
    assert all(row["learning_rate"] is None or row["learning_rate"] != row["learning_rate"] for row in probes)


# --- what runs again -----------------------------------------------------------------------


def test_a_fresh_clone_beside_old_results_has_nothing_to_do(again: Project):
    assert again.planned() == {}


def test_touching_every_file_of_the_code_runs_nothing(again: Project):
    for path in again.path.rglob("*"):
        if path.is_file() and "results" not in path.parts and ".snakemake" not in path.parts:
            path.touch()
    assert again.planned() == {}


def test_a_comment_a_docstring_and_a_line_break_run_nothing(again: Project):
    file = "workflow/whypretrain/training/loop.py"
    again.edit(file, "MOMENTUM = 0.9", "# a comment\n\n\nMOMENTUM = (\n    0.9  # another\n)")
    again.edit(file, '"""Train on the given images', '"""Do train on the given images')
    assert again.planned() == {}


def test_findings_have_a_row_for_each_verdict_with_its_own_numbers(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(findings, "DATA", tmp_path)
    findings.keep("default", finished.path / "results")
    found = [line.split(" | ") for line in findings.page().splitlines() if line.startswith("| kept")]
    assert [(row[1], row[4], row[5]) for row in found] == [
        (row["setting"], str(row["n"]), row["verdict"]) for row in rows(finished, "verdicts")
    ]
    assert found
    assert "The default study" in findings.page()
    findings.draw(tmp_path / "verdicts.svg")


def test_a_new_seed_block_runs_only_its_own_jobs(again: Project):
    again.write_config(put(tiny(), "seed_blocks", [[0, 1], [2]]))
    assert heavy(again.planned()) == {
        "prepare_dataset_of_seed": 1,
        "initialise_network": 1,
        "pretrain_source_brief_s1": 1,
        "anneal_source_s1": 1,
        "treat_checkpoint_s1": ARMS,
        "measure_start_s1": ARMS,
        "train_run_short_s1": ARMS,
    }


def test_a_new_learning_rate_block_trains_only_its_own_runs(again: Project):
    again.write_config(put(tiny(), "recipes.short.learning_rate_blocks", [[0.01, 0.1], [0.3]]))
    assert heavy(again.planned()) == {"train_run_short_r1_p0": ARMS, "select_rates": 1}


def test_a_new_treatment_runs_only_its_own_jobs(again: Project):
    again.write_config(put(tiny(), "studies.tiny.grid.0.treatments", ["intact", "shuffle-kernels", "gaussian"]))
    assert heavy(again.planned()) == {
        "treat_checkpoint_s0": 1,
        "treat_checkpoint_p0": 1,
        "measure_start_s0": 1,
        "train_run_short_r0_p0": 1,
        "select_rates": 1,
    }


def test_a_new_architecture_leaves_the_others_alone(again: Project):
    raw = put(tiny(), "architectures.other", {"widths": [3, 3], "kernels": [3, 3], "pool_after": [], "norm": "none"})
    raw["studies"]["tiny"]["grid"].append(
        {"architectures": ["other"], "sources": ["none"], "targets": ["digits.2"], "recipes": ["short"]}
    )
    again.write_config(raw)
    assert heavy(again.planned()) == {
        "initialise_network": 1,
        "treat_checkpoint_p0": 1,
        "train_run_short_r0_p0": 1,
        "select_rates": 1,
    }


def test_a_changed_treatment_runs_its_starts_and_what_follows_from_them(again: Project):
    again.edit(
        "workflow/whypretrain/treatments/ladder/shuffle_kernels.py",
        "rows = slices(weight)",
        "rows = slices(weight).copy()",
    )
    assert heavy(again.planned()) == {
        "treat_checkpoint_s0": 1,
        "treat_checkpoint_p0": 1,
        "measure_start_s0": 1,
        "train_run_short_r0_p0": 1,
        "select_rates": 1,
    }


def test_changed_training_code_runs_all_that_trains_and_draws_nothing_anew(again: Project):
    again.edit("workflow/whypretrain/training/loop.py", "MOMENTUM = 0.9", "MOMENTUM = 0.8")
    found = heavy(again.planned())
    assert {rule for rule in found if rule.startswith(("pretrain", "anneal", "train"))} == {
        "pretrain_source_brief_s0",
        "pretrain_source_brief_p0",
        "anneal_source_s0",
        "anneal_source_p0",
        "train_run_short_r0_p0",
    }
    assert not {"prepare_dataset", "initialise_network"} & found.keys()


def test_changed_plotting_draws_its_own_figure_again_and_the_report_that_holds_it(again: Project):
    file = again.path / "workflow/whypretrain/figures/accuracy_by_span.py"
    file.write_text(file.read_text() + "\n\nCHANGED = True\n")
    assert again.planned() == {"plot_accuracy_by_span": 1, "write_report": 1, "all": 1}


def test_the_words_of_a_study_and_its_claims_train_nothing(again: Project):
    raw = put(tiny(), "studies.tiny.title", "Another title")
    again.write_config(put(raw, "claims.kept.margin", {"value": 0.3}))
    found = again.planned()
    assert heavy(found) == {}
    assert found["judge_claims"] == 1
    assert found["collect_table"] == 1, "only what was selected: a claim may ask for more rates"


def test_swapped_values_are_seen(again: Project):
    # Snakemake compares parameters as a set without names: 0.01 and 0.1 swapped would pass unseen
    raw = put(tiny(), "pretraining.brief.learning_rate", 0.5)
    again.write_config(put(raw, "pretraining.brief.warmup_epochs", 0.1))
    assert heavy(again.planned())["pretrain_source_brief_s0"] == 1


def test_a_checkpoint_more_trains_the_source_again(again: Project):
    again.write_config(put(tiny(), "pretraining.brief.checkpoints", [0, 0.25, 0.5, 1]))
    assert heavy(again.planned())["pretrain_source_brief_s0"] == 1


def test_a_value_of_one_study_trains_the_runs_of_that_study_alone(both: Project, tmp_path: Path):
    project = fresh(tmp_path / "project")
    for name in ("results", ".snakemake"):
        shutil.copytree(both.path / name, project.path / name, symlinks=True)
    project.write_config(put(curves(), "recipes.same.weight_decay", 0.25))
    found = heavy(project.planned())
    assert found
    assert all("same" in rule or rule.startswith("measure") for rule in found), found


# --- mistakes and damage -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("seed_blocks", [[0, 1, 2]], "seed_blocks.0"),
        ("recipes.short.learning_rate_blocks", [[0.01, 0.2]], "recipes.short.learning_rate_blocks.0"),
    ],
)
def test_editing_a_written_block_is_refused_with_one_message(again: Project, key: str, value: object, told: str):
    again.write_config(put(tiny(), key, value))
    text = again.snakemake("-n", "--cores", "2", status=1)
    assert text.count("Mistake in config") == 1
    assert told in text
    assert "append" in text
    assert "Traceback" not in text


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.write_bytes(bytes(content))


def test_a_damaged_dataset_is_named_with_the_command_that_rebuilds_it(again: Project):
    dataset = "results/datasets/digits.safetensors"
    whole = (again.path / dataset).read_bytes()
    flip(again.path / dataset)
    text = again.snakemake("--cores", "2", status=1)
    command = f"snakemake --cores 1 --force {dataset}"
    assert f"{dataset} is damaged" in text
    assert command in text
    assert "Traceback" not in text
    again.snakemake(*command.split()[1:])
    assert (again.path / dataset).read_bytes() == whole


def test_a_damaged_start_is_named_with_the_command_that_rebuilds_it(again: Project):
    start = next((again.path / "results/starts/tiny/letters/s1").rglob("shuffle-kernels.all.safetensors"))
    start.write_bytes(start.read_bytes()[:-100])
    text = again.snakemake("--cores", "2", status=1)
    assert f"{start.relative_to(again.path)} is damaged" in text
    assert f"snakemake --cores 1 --force {start.relative_to(again.path)}" in text
    assert "Traceback" not in text


def test_a_stale_result_that_snakemake_is_told_to_overlook_is_refused_by_the_tables(again: Project):
    again.write_config(put(tiny(), "recipes.short.weight_decay", 0.01))
    (again.path / "results/tables/runs.parquet").unlink()
    text = again.snakemake("--cores", "2", "--rerun-triggers", "mtime", status=1)
    assert "is stale: it was made with other config values" in text
    assert "--force results/runs/" in text


def test_a_killed_job_fails_the_call_and_the_next_one_goes_on(again: Project, finished: Project):
    scratch = again.path / "results/runs/tiny/none"
    shutil.rmtree(scratch)
    (again.path / "results/tables/runs.parquet").unlink()
    process = again.start("--cores", "1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and not any(scratch.rglob("scores.parquet")):
        time.sleep(0.01)
    for process_id in again.jobs_here("train_run"):
        os.kill(process_id, signal.SIGKILL)
    assert process.wait(60) == 1
    again.snakemake("--cores", "2")
    assert tables(again) == tables(finished)


def test_a_study_of_scratch_alone_has_a_table_of_no_sources(tmp_path: Path):
    raw = tiny()
    raw["studies"]["tiny"] |= {"claims": [], "settings": {}, "figures": []}
    raw["studies"]["tiny"]["grid"] = raw["studies"]["tiny"]["grid"][1:]
    table = tmp_path / "sources.parquet"
    collect_table.main(job(told_to(plan_of(raw), "collect_table", table="sources"), {"table": [table]}))
    assert pq.read_table(table).num_rows == 0


@pytest.mark.parametrize("stage", LIGHT)
def test_light_jobs_and_parsing_never_import_torch(stage: str):
    program = (
        f"import sys, whypretrain.stages.{stage}, whypretrain.jobs.setup\n"
        "found = {'torch', 'torchvision', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imports {found}' if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(STAGES.parents[1])},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
