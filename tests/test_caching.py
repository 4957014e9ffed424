"""Whether Snakemake knows what has become invalid: dry runs after changes that its own records see, miss or mistake.

SNAKEMAKE's own triggers forget modules, names of parameters, lost records and outputs that are new; what a result
says of itself covers these. See also tests/test_workflow.py (what runs again) and tests/test_fingerprints.py.
"""

import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Project, fresh, plan_of, put, tiny
from test_workflow import heavy

from whypretrain.data.datasets import glyphs
from whypretrain.files.origins import read_origin
from whypretrain.files.storage import read_tensors, write_tensors
from whypretrain.jobs.fingerprints import _known, fingerprint

pytestmark = pytest.mark.soak  # make test-cluster


def specs(raw: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(found.path, found.made.spec, found.made.code) for found in plan_of(raw).results()]


def backwards(value: Any) -> Any:
    """Return a config with the keys of every mapping in the other order."""
    if isinstance(value, dict):
        return {key: backwards(inner) for key, inner in reversed(value.items())}
    return [backwards(inner) for inner in value] if isinstance(value, list) else value


def test_the_order_of_keys_is_nothing(again: Project):
    raw = tiny()
    turned = backwards(raw)
    assert list(turned) != list(raw)
    (again.path / "tests/config/tiny.yaml").write_text(yaml.safe_dump(turned, sort_keys=False))
    assert again.planned() == {}


@pytest.mark.parametrize("key", ["recipes.short.weight_decay", "pretraining.brief.weight_decay"])
def test_a_number_is_the_number_however_it_is_written(key: str):
    # YAML reads 1e-5 as a text
    written = [yaml.safe_load(text) for text in ("1e-5", "0.00001", "1.0e-05", "'0.00001'")]
    assert [type(value) for value in written] == [str, float, float, str]
    found = [specs(put(tiny(), key, value)) for value in written]
    assert all(each == found[0] for each in found)
    assert found[0] != specs(tiny())


def test_touching_every_file_even_results_in_any_order_runs_nothing(again: Project):
    files = sorted((path for path in again.path.rglob("*") if path.is_file()), reverse=True)
    for moment, path in enumerate(files):
        if ".snakemake" not in path.parts:
            os.utime(path, (2_000_000_000 - moment, 2_000_000_000 - moment))
    assert again.planned() == {}


def test_a_treatment_beside_the_others_is_nothing_to_them(again: Project):
    folder = again.path / "workflow/whypretrain/treatments/ladder"
    shutil.copy(folder / "shuffle_kernels.py", folder / "shuffle_otherwise.py")
    assert again.planned() == {}


def test_another_torch_makes_sources_runs_and_read_outs_again_and_nothing_before_them(again: Project):
    again.install("torch", "2.99.0+cu128")
    found = heavy(again.planned())
    assert {"pretrain_source_brief_s0", "anneal_source_s0", "train_run_short_r0_p0", "measure_start_s0"} <= found.keys()
    assert not {"prepare_dataset", "initialise_network"} & found.keys()
    # a job that finds another than there is where snakemake runs is refused
    text = again.snakemake("--cores", "1", "results/sources/tiny/letters/s0/epoch-1.safetensors", status=1)
    assert "error: torch: 2.13.0 is installed where this job runs, but the results are to be made with 2.99.0" in text


def test_the_build_of_torch_is_no_part_of_what_a_result_is_made_with(again: Project):
    again.install("torch", "2.13.0+cu128")
    assert again.planned() == {}


def test_another_library_of_statistics_makes_tables_again_and_trains_nothing(again: Project):
    again.install("statsmodels", "0.99.0")
    found = again.planned()
    assert found["judge_claims"] == 1
    assert heavy(found) == {}


def test_values_that_change_places_are_seen(tmp_path: Path):
    # Snakemake compares parameters without their names: learning rate and weight decay swapped are the same set
    project = fresh(tmp_path / "project")
    source = put(tiny(), "pretraining.brief", {"checkpoints": [0, 1], "learning_rate": 0.1, "weight_decay": 0.01})
    project.write_config(source)
    target = "results/sources/tiny/letters/s0/epoch-1.safetensors"
    project.snakemake(target, "--cores", "2")
    assert project.planned(target) == {}
    swapped = put(put(source, "pretraining.brief.learning_rate", 0.01), "pretraining.brief.weight_decay", 0.1)
    project.write_config(swapped)
    assert project.planned(target) == {"pretrain_source_brief_s0": 1}


# --- datasets that are drawn anew for each seed --------------------------------------------


def test_a_new_seed_draws_its_own_images_and_leaves_those_of_the_others(again: Project):
    folder = again.path / "results/datasets"
    there = [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json")]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in there}
    again.write_config(put(tiny(), "seed_blocks", [[0, 1], [2]]))
    found = heavy(again.planned())
    assert found["prepare_dataset_of_seed"] == found["pretrain_source_brief_s1"] == 1
    assert not [rule for rule in found if rule.endswith(("_s0", "_p0")) or rule == "prepare_dataset"]
    again.snakemake("--cores", "2", "results/datasets/glyphs/s2.safetensors")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in there} == before
    drawn = [read_tensors(folder / f"glyphs/s{seed}.safetensors")["images"] for seed in (0, 1, 2, 100)]
    alone = glyphs.prepare(glyphs.Parameters(images_per_class=20), 8, 2)[0]
    np.testing.assert_array_equal(drawn[2], alone)
    assert len({image.tobytes() for image in np.concatenate(drawn)}) == 4 * len(alone)


def test_other_images_of_a_seed_make_stale_what_its_block_trained_and_nothing_of_others(again: Project):
    # as if they had been drawn by another version, all of their own spec and code kept
    path = again.path / "results/datasets/glyphs/s100.safetensors"
    tensors = read_tensors(path)
    write_tensors(path, tensors | {"images": tensors["images"] ^ 1}, read_origin(path))
    found = heavy(again.planned())
    assert found["pretrain_source_brief_p0"] == 1
    assert not [rule for rule in found if rule.endswith("_s0") or rule.startswith("prepare")]
    text = again.run("python", "workflow/audit.py", "--configfile", "tests/config/tiny.yaml", status=1)
    stale = {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("stale")}
    assert stale
    assert all(path.startswith("results/sources/tiny/letters/s100/") for path in stale)


# --- what Snakemake has no record of -------------------------------------------------------


@pytest.mark.parametrize("lost", [".snakemake", ".snakemake/metadata"])
def test_without_records_a_stale_result_is_named_and_removed_on_demand(again: Project, lost: str):
    shutil.rmtree(again.path / lost)
    assert again.planned() == {}, "nothing has changed"
    again.write_config(put(tiny(), "recipes.short.weight_decay", 0.01))
    for _ in range(2):  # also when Snakemake has made its folder anew
        text = again.snakemake("-n", "--cores", "2", status=1)
        assert "are stale, and Snakemake has no record" in text
        assert "results/runs/tiny/letters" in text
        assert "other config values" in text
        assert "Traceback" not in text
    command = text.split("Remove them: ")[1].split(". Then")[0]
    assert command.startswith("python workflow/audit.py")
    again.run(*shlex.split(command))
    planned = heavy(again.planned())
    assert planned == {"train_run_short_r0_p0": 3, "select_rates": 1}


def test_the_command_that_removes_what_is_stale_knows_what_the_call_changed(again: Project):
    shutil.rmtree(again.path / ".snakemake")
    changes = ("--config", 'recipes={"short": {"weight_decay": 0.01}}', "threads=1")
    text = again.snakemake("-n", "--cores", "2", *changes, status=1)
    command = shlex.split(text.split("Remove them: ")[1].split(". Then")[0])
    again.run(*command)
    assert again.planned(*changes)["train_run_short_r0_p0"] == 3


def test_without_records_changed_code_is_named_too(again: Project):
    shutil.rmtree(again.path / ".snakemake")
    again.edit("workflow/whypretrain/training/loop.py", "MOMENTUM = 0.9", "MOMENTUM = 0.8")
    text = again.snakemake("--cores", "2", status=1)
    assert "results/sources/tiny/letters/s0" in text
    assert "other code" in text


def test_what_is_stale_stays_so_when_snakemake_was_told_to_touch_it_and_what_is_fresh_keeps_its_record(again: Project):
    again.snakemake("--touch", "--forceall", "--cores", "2")
    again.edit("workflow/whypretrain/training/loop.py", "MOMENTUM = 0.9", "MOMENTUM = 0.8")
    planned = heavy(again.planned())
    assert planned["train_run_short_r0_p0"] == 3
    again.snakemake("--touch", "--cores", "2")
    text = again.snakemake("-n", "--cores", "2", status=1)
    assert "are stale, and Snakemake has no record" in text
    assert "it was made with other code than there is now" in text
    again.run(*shlex.split(text.split("Remove them: ")[1].split(". Then")[0]))
    assert heavy(again.planned()) == planned


@pytest.mark.parametrize("target", [None, "results/tables/runs.parquet"])
@pytest.mark.parametrize("checkpoints", [[0, 0.25, 0.5, 1], [0, 1]])
def test_other_checkpoints_together_with_another_recipe_are_noticed(
    again: Project, checkpoints: list[float], target: str | None
):
    # a rule with one output more has no record to compare: Snakemake would go on from the old source
    raw = put(tiny(), "pretraining.brief.checkpoints", checkpoints)
    again.write_config(put(raw, "pretraining.brief.learning_rate", 0.05))
    arguments = (target,) if target else ()
    if len(checkpoints) == 4:
        text = again.snakemake(*arguments, "-n", "--cores", "2", status=1)
        assert "results/sources/tiny/letters/s0/epoch-0.5.safetensors" in text
        assert "a checkpoint was added" in text
        again.run("python", "workflow/audit.py", "--configfile", "tests/config/tiny.yaml", "--remove")
    # without all targets, what follows from the selection isn't planned before it
    assert again.planned(*arguments)["pretrain_source_brief_p0" if target else "pretrain_source_brief_s0"] == 1


# --- fingerprints that are known -----------------------------------------------------------


def test_what_is_known_of_modules_is_never_of_another_text_or_package(tmp_path: Path):
    package = tmp_path / "package"
    package.mkdir()
    for name, text in {"__init__": "", "a": "from whypretrain import b\n", "b": "X = 1\n"}.items():
        (package / f"{name}.py").write_text(text)

    def now() -> str:
        for cached in (fingerprint, _known):
            cached.cache_clear()
        from whypretrain.jobs import fingerprints

        fingerprints._module.cache_clear()
        found = fingerprint(("whypretrain.a",), package)
        _known(package).keep()
        return found

    first = now()
    assert (package / "__pycache__/fingerprints.json").exists()
    assert now() == first, "from what is kept"
    (package / "b.py").write_text("X = 2  # other\n")
    second = now()
    assert second != first
    (package / "b.py").write_text("# a comment\nX = 1\n")
    assert now() == first
    (package / "__pycache__/fingerprints.json").write_text("{ damaged")
    assert now() == first
