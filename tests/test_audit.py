"""The audit: every stale, damaged or foreign file is named, whatever Snakemake knows of it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Project, curves, fresh, plan_of, put, tiny
from test_workflow import figures, flip, tables

from whypretrain.files.origins import Origin, Unreadable, canonical, check_seal, content_digest, read_origin, sealed
from whypretrain.files.storage import DamagedFile, read_columns, read_tensors, write_card, write_columns, write_tensors
from whypretrain.jobs.plan import Plan
from whypretrain.running.locking import Lock

ORIGIN = Origin('{"a":1.5}', "0123456789abcdef", "fedcba9876543210")
RUN = "results/runs/tiny/letters/epoch-1+anneal/intact.all/digits.2/finetune/short/lr-0.1.s0"
AUDIT = ("python", "workflow/audit.py", "--configfile", "tests/config/tiny.yaml")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_early(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x04
    path.write_bytes(bytes(content))


DAMAGE = {
    "results/datasets/digits.json": flip_early,
    "results/sources/tiny/letters/s1/history.parquet": flip,
    "results/starts/tiny/letters/s0/epoch-1+anneal/intact.all.safetensors": cut,
    f"{RUN}/scores.parquet": cut,
    f"{RUN}/kernels.parquet": empty,
    f"{RUN}/predictions.parquet": flip_early,
    f"{RUN}/history.parquet": flip,
    f"{RUN}/final.safetensors": flip,
    f"{RUN}/provenance.json": flip_early,
    "results/tables/arms.parquet": flip_early,
    "results/figures/tiny/accuracy-by-span.svg": flip_early,
    "results/figures/tiny/first-layer-kernels.png": flip_early,
    "results/report.html": flip_early,
}


def plan_in(project: Project, raw: dict[str, Any]) -> Plan:
    """Return the plan of a config, with what was selected in a project."""
    plan = plan_of(raw)
    plan.selections.path = lambda study: str(project.path / plan.paths.file("selection", study=study))
    return plan


def test_a_finished_study_has_nothing_stale_damaged_or_foreign(finished: Project):
    count = len(list(plan_in(finished, tiny()).results()))
    assert finished.run(*AUDIT, status=0) == f"results: {count} fresh; 0 not made yet.\n"


def test_what_a_study_should_have_is_just_what_snakemake_would_make(both: Project, tmp_path: Path):
    project = fresh(tmp_path / "summary")
    for name in ("results", ".snakemake"):
        shutil.copytree(both.path / name, project.path / name, symlinks=True)
    raw = put(curves(), "architectures.unused", {"widths": [4], "kernels": [3], "pool_after": []})
    raw = put(raw, "bank", {"sources": ["letters"]})
    project.write_config(raw)
    lines = project.snakemake("--summary").splitlines()
    made = {line.split("\t")[0] for line in lines if line.startswith("results/")}
    assert {result.path for result in plan_in(project, raw).results()} == made


def test_results_that_are_cut_emptied_or_have_a_byte_flipped_are_named_and_made_again(
    again: Project, finished: Project
):
    shutil.rmtree(again.path / ".snakemake")
    for file, damage in DAMAGE.items():
        damage(again.path / file)
    text = again.run(*AUDIT, status=1)
    damaged = {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("damaged")}
    assert damaged == set(DAMAGE)
    assert "Traceback" not in text
    removed = again.run(*AUDIT, "--remove", status=1)
    assert "removed; the next run makes again what it needs" in removed
    again.snakemake("--cores", "2")
    assert tables(again) == tables(finished)
    assert figures(again) == figures(finished)
    again.run(*AUDIT, status=0)


def test_what_a_start_was_made_from_is_part_of_what_its_runs_are(again: Project):
    # as if it had been trained on other images, by hand or by another version, all of its own spec and code kept
    start = next((again.path / "results/starts/tiny/letters/s0").rglob("intact.all.safetensors"))
    weights = {name: array + np.float32(0.5) for name, array in read_tensors(start).items()}
    write_tensors(start, weights, read_origin(start))
    text = again.run(*AUDIT, status=1)
    stale = [line for line in text.splitlines() if line.startswith("stale")]
    assert f"stale     {RUN}/scores.parquet: it was made from other inputs than there are now" in stale
    assert not any(str(start.name) in line for line in stale), "the start itself says what it should"


def test_foreign_unused_and_left_over_files_are_told_apart_and_only_the_last_removed(again: Project):
    foreign = again.path / f"{RUN}/notes.txt"
    foreign.write_text("mine")
    unused = again.path / RUN.replace("lr-0.1", "lr-0.7") / "scores.parquet"
    unused.parent.mkdir(parents=True)
    shutil.copy(again.path / RUN / "scores.parquet", unused)
    left = again.path / f"{RUN}/.scores.parquet.abc.part"
    left.write_text("half")
    snapshot = again.path / f"{RUN}/.scores.parquet.snapshot"
    snapshot.mkdir()
    (snapshot / "origin.json").write_text("{}")
    text = again.run(*AUDIT, "--remove", status=1)
    told = [line.split()[0] for line in text.splitlines()[:-2]]
    assert sorted(told) == ["foreign", "kept", "left", "unused"]
    assert foreign.exists()
    assert unused.exists()
    assert snapshot.exists(), "a stopped job goes on from it"
    assert not left.exists()


def test_a_study_that_shrinks_leaves_unused_files_not_stale_ones(again: Project):
    raw = put(tiny(), "studies.tiny.grid.0.treatments", ["intact"])
    again.write_config(put(raw, "studies.tiny.claims", []))
    lines = again.run(*AUDIT).splitlines()
    assert {line.split()[0] for line in lines if "shuffle-kernels" in line} == {"unused"}
    assert not [line for line in lines if line.startswith("stale") and "/runs/" in line]


@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_no_flipped_bit_of_a_sealed_file_passes(tmp_path: Path, kind: str):
    path = tmp_path / f"result.{kind}"
    if kind == "parquet":
        write_columns(path, {"top1": [0.5, 0.25]}, ORIGIN, {"top1": "fraction of 1"})
    else:
        write_card(path, {"seconds": 1.5}, ORIGIN)
    assert read_origin(path) == ORIGIN
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(bytes(flipped))
        with pytest.raises(Unreadable):
            read_origin(path)
        if kind == "parquet" and place % 7 == 0:
            with pytest.raises(DamagedFile):
                read_columns(path)


def test_a_seal_is_the_digest_of_all_bytes_and_there_is_one():
    content = b"before seal" + b"0" * 64 + b" after"
    check_seal(sealed(content))
    with pytest.raises(ValueError, match="0 blank seals"):
        sealed(b"nothing here")
    with pytest.raises(ValueError, match="2 blank seals"):
        sealed(content * 2)
    for damaged in (b"", content, sealed(content)[:-1], sealed(content) + b" "):
        with pytest.raises(Unreadable):
            check_seal(damaged)


def test_the_content_of_weights_is_their_values_whoever_made_them(tmp_path: Path):
    weights = {"layer1.weight": np.arange(6, dtype=np.float32)}
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    write_tensors(paths[0], weights, ORIGIN)
    write_tensors(paths[1], weights, Origin("{}", "other", ""))
    write_tensors(paths[2], {"layer1.weight": weights["layer1.weight"] + 1}, ORIGIN)
    first, second, third = map(content_digest, paths)
    assert first == second != third


def test_no_flipped_byte_and_no_cut_of_a_picture_passes(tmp_path: Path):
    path = tmp_path / "figure.png"
    from PIL import Image, PngImagePlugin

    told = PngImagePlugin.PngInfo()
    told.add_text("Description", canonical(ORIGIN.columns()))
    Image.effect_noise((24, 16), 50).save(path, pnginfo=told)
    assert read_origin(path) == ORIGIN
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(Unreadable):
            read_origin(path)
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(Unreadable):
            read_origin(path)


@pytest.mark.parametrize("content", ["[]", "5", "null", '"text"', "{}"])
def test_foreign_weights_with_an_origin_of_another_kind_are_told(tmp_path: Path, content: str):
    from safetensors.numpy import save_file

    path = tmp_path / "theirs.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, path, {"origin": content})
    for read in (read_origin, content_digest):
        with pytest.raises(Unreadable):
            read(path)
    with pytest.raises(DamagedFile):
        read_tensors(path)


def test_what_belongs_to_a_job_that_runs_is_passed_over_and_nothing_removed_beside_a_run(again: Project):
    job, run = Lock(again.path / f"{RUN}/.scores.parquet.lock"), Lock(again.path / "results/.lock")
    part = again.path / f"{RUN}/.kernels.parquet.abc.part"
    part.write_text("half")
    job.acquire()
    try:
        assert again.run(*AUDIT, status=0).count("\n") == 1
    finally:
        job.release()
    run.acquire()
    try:
        assert "results is in use by snakemake: process" in again.run(*AUDIT, "--remove", status=1)
    finally:
        run.release()
    assert part.exists()
    again.run(*AUDIT, "--remove", status=1)
    assert not part.exists()


@pytest.mark.parametrize("way", ["copied", "linked"])
def test_stale_results_that_come_from_elsewhere_later_are_seen(again: Project, tmp_path: Path, way: str):
    assert again.planned() == {}, "what Snakemake has no record of is noted: nothing"
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(again.path / "results/sources", elsewhere, symlinks=True)
    shutil.rmtree(again.path / "results/sources")
    if way == "copied":
        shutil.copytree(elsewhere, again.path / "results/sources")
    else:
        (again.path / "results/sources").symlink_to(elsewhere)
    shutil.rmtree(again.path / ".snakemake/metadata")
    again.write_config(put(tiny(), "pretraining.brief.weight_decay", 0.25))
    text = again.snakemake("-n", "--cores", "2", status=1)
    assert "results/sources/tiny/letters/s0/epoch-1.safetensors: it was made with other config values" in text
