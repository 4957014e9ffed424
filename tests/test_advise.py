"""`make advise`: a look at the folder before anything runs, and the same answer as the grid gives."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT, Project, fresh, told_to
from PIL import Image

sys.path.insert(0, str(ROOT / "workflow"))

import advise
from whypretrain.config import models as config
from whypretrain.data import partition
from whypretrain.data.datasets import digits
from whypretrain.data.problems import UnusableFiles
from whypretrain.evidence import advising
from whypretrain.jobs.plan import Plan, pinned_versions
from whypretrain.stages import write_advice

pytestmark = pytest.mark.soak  # make test-cluster

TEMPLATE = "tests/config/advise.yaml"


def folder_of(path: Path, counts: dict[str, int], side: int = 8) -> Path:
    """A folder of grey noise images, a class each brighter than the last."""
    generator = np.random.default_rng(0)
    for place, (name, count) in enumerate(counts.items()):
        (path / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 60, (side, side)) + 60 * place
            Image.fromarray(pixels.astype(np.uint8)).save(path / name / f"{number}.png")
    return path


# --- the look at the folder ----------------------------------------------------------------


def test_a_folder_is_told_in_numbers(tmp_path: Path):
    folder = folder_of(tmp_path / "pets", {"cat": 12, "dog": 20})
    (folder / "cat" / "notes.txt").write_text("no image")
    shutil.copy(folder / "cat" / "1.png", folder / "cat" / "copy.png")
    told = " ".join(advise.look_at(folder).split())  # where its lines break depends on the path
    assert "33 images of 2 classes" in told
    assert "Fewer than" not in told
    assert told.startswith("1 of 34 left out: 1 .txt.")
    assert "cat/1.png = cat/copy.png" in told


def test_a_divided_folder_is_told_with_what_its_parts_are_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for part, count in {"train": 12, "val": 3, "test": 5}.items():
        folder_of(tmp_path / "pets" / part, {"cat": count, "dog": 20})
    told = " ".join(advise.look_at(tmp_path / "pets").split())
    assert "80 images of 2 classes" in told
    assert "divided already, and stay so with every seed: train (32), val (23), test (25)" in told
    dataset = advise.write_config(tmp_path / "pets", "results/pets", TEMPLATE)
    plan = Plan(config.load(yaml.safe_load(dataset.read_text()), ROOT), pinned_versions(ROOT / "envs/requirements.txt"))
    about = told_to(plan, "write_advice")["studies"][0]["targets"]["yours"]
    assert about["parts"]["train"] == {"cat": 12, "dog": 20}
    assert about["parts"]["test"] == {"cat": 5, "dog": 20}
    said = advising.images_sentence(about["counts"], about["parts"], 5, about["given"])
    assert "divided by you, the same for 5 trainings: 32 to learn from, 23 to choose by, 25 to test on" in said
    assert "these images both choose the best way and judge it" in said


def test_few_images_are_told_with_what_that_means(tmp_path: Path):
    told = " ".join(advise.look_at(folder_of(tmp_path / "pets", {"cat": 7, "dog": 20})).split())
    sizes = partition.part_sizes({"cat": 7}, advise.SHARES)
    parts = {part: sizes[part]["cat"] for part in sizes}
    assert "Fewer than 10 images: cat (7)" in told
    for part, purpose in advising.PURPOSES.items():
        assert f"{parts[part]} to {purpose}" in told
    assert f"moves its accuracy by {100 / parts['test']:.0f} points" in told


def test_many_small_classes_are_counted_and_not_all_named():
    counts = {f"class{number:02}": 5 for number in range(14)}
    (told,) = advising.few_images(counts, partition.part_sizes(counts, advise.SHARES))
    assert "class09 (5) and 4 more" in told
    assert advising.few_images({"a": advising.FEW}, partition.part_sizes({"a": 10}, advise.SHARES)) == []


def test_a_bad_image_is_named_before_anything_runs(tmp_path: Path):
    folder = folder_of(tmp_path / "pets", {"cat": 5, "dog": 5})
    (folder / "cat" / "empty.png").write_bytes(b"")
    with pytest.raises(UnusableFiles, match=r"cat/empty\.png"):
        advise.look_at(folder)
    done = subprocess.run(
        [sys.executable, ROOT / "workflow/advise.py", folder], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_two_folders_of_one_name_have_results_of_their_own(tmp_path: Path):
    one, other = advise.results_of(tmp_path / "a" / "My Pets"), advise.results_of(tmp_path / "b" / "My Pets")
    assert one != other
    assert one.startswith("results/advise/my-pets-")
    assert advise.results_of(Path("/ä")).startswith("results/advise/images-")


def test_the_config_it_writes_has_five_splits_of_30_percent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path / "it's a {test}".replace("{", "(").replace("}", ")"), {"cat": 20, "dog": 30})
    path = advise.write_config(folder, advise.results_of(folder), "config/advise.yaml")
    loaded = config.load(yaml.safe_load(path.read_text()), ROOT)
    plan = Plan(loaded, pinned_versions(ROOT / "envs/requirements.txt"))
    assert len(loaded.seeds) == 5
    assert plan.grid.part_sizes("yours")["test"] == {"cat": 6, "dog": 9}
    assert {arm.source for arm in plan.arms} == {"none", "glyphs", "digits", "textures"}
    assert [each.path for each in plan.form("write_advice").results()] == [f"{advise.results_of(folder)}/advice.rst"]


# --- the text ------------------------------------------------------------------------------


def test_the_time_is_that_of_the_recommended_way_and_of_all_its_rates():
    row = {"architecture": "deep", "source": "glyphs", "target": "yours", "shots": "full", "mode": "finetune"}
    row |= {"recipe": "short"}
    key = {**row, "treatment": "intact", "span": "all", "device": "cpu", "threads": 1}
    seconds = [(0.1, 0, 2.0), (0.1, 1, 4.0), (1.0, 0, 6.0), (1.0, 1, 8.0)]
    runs = [key | {"learning_rate": rate, "seed": seed, "seconds": took} for rate, seed, took in seconds]
    others = [{**run, "source": "digits", "seconds": 100.0} for run in runs]
    told = write_advice.time_of(row | {"learning_rate": 0.1}, pd.DataFrame(runs + others))
    assert told == "Time: one training took 3.0 s (cpu, 1 thread(s)); with all 2 learning rates 10 s."
    probes = [run | {"learning_rate": float("nan"), "mode": "probe"} for run in runs[:2]]
    told = write_advice.time_of(row | {"mode": "probe", "learning_rate": float("nan")}, pd.DataFrame(probes))
    assert told == "Time: one training took 3.0 s (cpu, 1 thread(s))."


def images_alike(path: Path) -> Path:
    """180 and 20 images of noise: nothing tells the two classes apart. Their names want to be formulas."""
    generator = np.random.default_rng(0)
    for number in range(200):
        file = path / ("$5" if number < 180 else r"under $20 \frac") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 8)).astype(np.uint8)).save(file)
    return path


def test_of_classes_drawn_alike_nothing_is_learnt_and_a_figure_that_fails_withholds_no_advice(tmp_path: Path):
    project = fresh(tmp_path / "project")
    figure = project.path / "workflow/whypretrain/figures/modes_by_shots.py"
    figure.write_text(
        figure.read_text().replace("    rows = points(", '    raise ValueError("broken")\n    rows = points(')
    )
    command = [sys.executable, "workflow/advise.py", "--cores", "2", "--config", TEMPLATE, images_alike(tmp_path / "a")]
    done = subprocess.run(command, cwd=project.path, env=project.environment(), capture_output=True, text=True)
    told = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "from glyphs: nothing was learnt from these images." in told, done.stdout + done.stderr
    assert "where always guessing the largest class gives 0.90; balanced accuracy 0." in told
    ending = done.stderr[done.stderr.rindex("The advice is complete") :]
    assert "1 job failed" in ending
    assert "ValueError: broken" in ending
    figures = project.path / advise.results_of((tmp_path / "a").resolve()) / "figures/advice"
    assert (figures / "confusion-matrices.png").exists()


# --- a real run ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def disguised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path, str]:
    """The digits of scikit-learn as files that anybody could have, and what `advise` prints of them."""
    project = fresh(tmp_path_factory.mktemp("advise") / "project")
    folder = project.path.parent / "my digits"
    images, labels = digits.prepare(digits.Parameters(), digits.SIDE)
    for number, (image, label) in enumerate(zip(images[:, 0], labels, strict=True)):
        (folder / f"digit {label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"digit {label}" / f"{number:04}.png")
    command = [sys.executable, "workflow/advise.py", "--cores", "2", "--config", TEMPLATE, str(folder)]
    done = subprocess.run(command, cwd=project.path, env=project.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return project, folder, done.stdout


def test_advise_answers_with_a_way_an_accuracy_and_a_time(disguised: tuple[Project, Path, str]):
    project, folder, told = disguised
    words = " ".join(told.split())
    assert "1797 images of 10 classes" in words
    assert "With all images per class of yours, from glyphs:" in words
    assert "expected 0." in words
    assert "Time: one training took" in words
    results = project.path / advise.results_of(folder.resolve())
    assert (results / "report.html").stat().st_size > 100_000
    assert (results / "figures/advice/mode-map.png").exists()


def test_advise_on_a_dataset_in_disguise_agrees_with_the_grid(disguised: tuple[Project, Path, str]):
    project, folder, _ = disguised
    known: dict[str, Any] = {"include": [TEMPLATE], "results": "results/known"}
    known["datasets"] = {"yours": {"module": "digits", "test_share": advise.SHARES["test"]}}
    (project.path / "known.yaml").write_text(yaml.safe_dump(known))
    command = [sys.executable, "-m", "snakemake", "--configfile", "known.yaml", "--cores", "2"]
    done = subprocess.run(command, cwd=project.path, env=project.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    results = project.path / advise.results_of(folder.resolve())
    for table in ("advice", "modes", "runs", "confusion"):
        here, there = (
            pq.read_table(path / f"tables/{table}.parquet").to_pandas()
            for path in (results, project.path / "results/known")
        )
        assert len(here)
        pd.testing.assert_frame_equal(here, there, rtol=1e-5)


def test_the_text_carries_its_origin(disguised: tuple[Project, Path, str]):
    project, folder, told = disguised
    lines = (project.path / advise.results_of(folder.resolve()) / "advice.rst").read_text().split("\n")
    spec = json.loads(lines[0].removeprefix(".. spec: "))
    assert spec["studies"][0]["targets"]["yours"]["counts"]["digit 0"] == digits.COUNTS["0"]
    assert lines[1].startswith(".. code: ")
    assert ".. spec" not in told
