"""Confusion matrices: the read-out against a run's own predictions, and their figure."""

import io
import itertools
import shutil
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import font_manager
from matplotlib.figure import Figure
from test_measures import CPU, RECIPE, data_of, described, trained

from whypretrain import registry
from whypretrain.config import models as config
from whypretrain.figures import confusion_matrices as picture
from whypretrain.figures.plotting import drawing, fonts, wording
from whypretrain.figures.plotting.view import View
from whypretrain.files import schemas
from whypretrain.jobs.plan import Plan, pinned_versions
from whypretrain.measures.measuring import Measured
from whypretrain.measures.readouts import confusion
from whypretrain.networks.initialisation import initialise
from whypretrain.training.moding import parse
from whypretrain.training.runs import Outcome, Request


def run(mode: str) -> tuple[Measured, Outcome]:
    """Return a run and what is read out of it."""
    used = described()
    start = initialise(used, np.random.default_rng(3))
    target = data_of(classes=4, seed=0, n=59)
    asked = Request(start, used, target, "easy", RECIPE, 0.1, 0, CPU, parse(mode))
    outcome = registry.load("modes", parse(mode).name).run(asked)[0]
    measured = Measured(
        card=used,
        start=start,
        initial=start,
        final=outcome.final,
        mode=parse(mode),
        target=target,
        source=None,
        normalisation={"mean": 0.2, "standard_deviation": 0.35},
        seed=0,
        device=CPU,
    )
    return measured, outcome


@pytest.mark.parametrize("mode", ["finetune", "freeze-1", "lpft", "probe", "probe+source-norm", "probe-2", "svm-2"])
def test_a_matrix_counts_the_runs_own_predictions(mode: str) -> None:
    measured, outcome = run(mode)
    found = pd.DataFrame(confusion.read_out(measured))
    labels = measured.target.labels["test"].numpy()
    assert found["images"].sum() == len(labels) == len(outcome.predictions) == 59
    assert list(found[["label", "prediction"]].itertuples(index=False, name=None)) == list(
        itertools.product(range(4), repeat=2)
    )
    for label, prediction, images in found.itertuples(index=False):
        assert images == int(((labels == label) & (outcome.predictions == prediction)).sum())
    diagonal = found.loc[found["label"] == found["prediction"], "images"].sum()
    assert diagonal / len(labels) == pytest.approx(outcome.scores["top1_test"])
    shares = [(outcome.predictions[labels == label] == label).mean() for label in range(4)]
    assert outcome.scores["balanced_test"] == pytest.approx(np.mean(shares))


def test_classes_are_true_in_rows_and_predicted_in_columns() -> None:
    measured = trained()
    network = measured.network("final", "target")
    with torch.no_grad():
        predicted = network(measured.target.images["test"]).argmax(1)
    found = pd.DataFrame(confusion.read_out(measured))
    true = torch.bincount(measured.target.labels["test"], minlength=3).tolist()
    assert found.groupby("label")["images"].sum().tolist() == true
    assert found.groupby("prediction")["images"].sum().tolist() == torch.bincount(predicted, minlength=3).tolist()


# --- the figure -------------------------------------------------------------------------------

SETTING = {"name": "different", "source": "letters", "epoch": "4+anneal", "target": "easy", "shots": "5"}
NAMES = {"easy": ["cat", "dog", "elk"]}
VIEW = View(
    "order", "Order", [SETTING], [], {"deep": 8, "small": 3}, "short", "scratch", seed=0, classes=NAMES
)  # fmt: skip
ARMS = {
    "intact": ("letters", "4+anneal", "intact", "short"),
    "shuffled": ("letters", "4+anneal", "shuffle-kernels", "short"),
    "scratch": ("none", "0", "intact", "scratch"),
}


def rows_of(matrices: dict[tuple[str, str], list[np.ndarray]]) -> pd.DataFrame:
    """Return the table of matrices by architecture and arm, one for each seed."""
    found = []
    for (architecture, arm), by_seed in matrices.items():
        source, epoch, treatment, recipe = ARMS[arm]
        key = {"architecture": architecture, "source": source, "epoch": epoch, "treatment": treatment, "span": "all"}
        key |= {"target": "easy", "shots": "5", "mode": "finetune", "recipe": recipe, "learning_rate": 0.1}
        for seed, matrix in enumerate(by_seed):
            for (label, prediction), images in np.ndenumerate(matrix):
                row = {"label": label, "prediction": prediction, "images": int(images)}
                found.append({**key, "seed": seed, **row})
    return schemas.check_table("confusion", pd.DataFrame(found))


def drawn(rows: pd.DataFrame, view: View = VIEW) -> Figure:
    keys = list(schemas.RUN_COLUMNS)
    design = rows[keys].drop_duplicates().assign(study="order", relation="different", selected=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = picture.draw({"confusion": rows, "design": design}, view, [])
        drawing.settle(figure)
        figure.savefig(io.BytesIO(), format="svg", bbox_inches="tight", metadata={"Date": None})
    return figure


def title_of(figure: Figure) -> str:
    return figure.get_suptitle().replace("\n", " ").replace("\u00a0", " ")


ONE = np.array([[8, 2, 0], [0, 5, 5], [1, 0, 9]])
OTHER = np.array([[18, 2, 0], [0, 20, 0], [0, 0, 20]])


def test_shares_are_of_the_true_class_and_averaged_over_seeds() -> None:
    rows = rows_of({("deep", "intact"): [ONE, OTHER]})
    np.testing.assert_allclose(picture.shares(rows), [[0.85, 0.15, 0], [0, 0.75, 0.25], [0.05, 0, 0.95]])
    assert picture.worst(picture.shares(rows)) == (1, 2)
    without = rows_of({("deep", "intact"): [np.array([[1, 1], [0, 0]])]})  # no test image of the second class
    np.testing.assert_allclose(picture.shares(without), [[0.5, 0.5], [np.nan, np.nan]])


def test_the_title_names_the_worst_confusion_of_each_arm_in_the_deepest_network() -> None:
    arms = {("small", "intact"): [OTHER], ("deep", "intact"): [ONE, OTHER], ("deep", "scratch"): [OTHER, OTHER]}
    figure = drawn(rows_of(arms))
    said = title_of(figure)
    assert "in deep: dog taken for elk in 25 % (intact); cat taken for dog in 10 % (scratch)" in said
    assert said.endswith("(n = 1 to 2)")
    shown = [axes for axes in figure.get_axes() if axes.get_images()]
    assert [label.get_text() for label in shown[0].get_xticklabels()] == NAMES["easy"]
    missing = [text.get_text() for axes in figure.get_axes() for text in axes.texts if "such" in text.get_text()]
    assert len(missing) == 3


def test_classes_that_are_drawn_by_seed_are_not_averaged() -> None:
    view = View("order", "Order", [SETTING], [], {"deep": 8}, "short", "scratch", seed=1)
    rows = rows_of({("deep", "intact"): [ONE, OTHER]})
    _, matrices, counts = picture.panels(
        {"confusion": rows, "design": rows[list(schemas.RUN_COLUMNS)].drop_duplicates().assign(study="order")}, view
    )
    np.testing.assert_allclose(matrices["deep", "intact"][0], [0.9, 0.1, 0])
    assert counts == {1}
    assert "0 taken for 1 in 10 %" in title_of(drawn(rows, view))


@pytest.mark.parametrize("classes", [1, 2, 26, 120])
def test_any_number_of_classes_is_drawn(classes: int) -> None:
    matrix = np.eye(classes, dtype=int) * 5 + (np.arange(classes**2).reshape(classes, classes) % 7 == 0)
    view = View("order", "Order", [SETTING], [], {"deep": 8}, "short", "scratch", seed=0)
    figure = drawn(rows_of({("deep", arm): [matrix] for arm in ARMS}), view)
    assert title_of(figure)
    for axes in figure.get_axes():
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


@pytest.mark.parametrize("classes", [10, 30])
def test_all_classes_up_to_thirty_are_named_and_as_they_are_written(classes: int) -> None:
    names = ["$5", r"under $20 \frac", *(f"a long name, number {number}" for number in range(2, classes))]
    matrix = np.eye(classes, dtype=int) * 5
    view = View("order", "Order", [SETTING], [], {"deep": 8}, "short", "scratch", seed=0, classes={"easy": names})
    figure = drawn(rows_of({("deep", arm): [matrix] for arm in ARMS}), view)
    figure.draw_without_rendering()
    for axes in [each for each in figure.get_axes() if each.get_images()]:
        assert [label.get_text() for label in axes.get_xticklabels()] == names
        assert not any(label.get_parse_math() for label in axes.get_xticklabels())
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    assert "taken for" in title_of(figure)


def test_a_character_that_no_font_has_is_written_as_its_code() -> None:
    assert fonts.choose("Übung 5 $ ßщ") == set()
    noncharacter = "\ufdd0"  # which no font will ever have
    assert fonts.choose(f"a{noncharacter}") == {noncharacter}
    assert fonts.coded({"classes": {"easy": [f"a{noncharacter}", "b"]}, "seed": 0}, {noncharacter}) == {
        "classes": {"easy": ["a[U+FDD0]", "b"]},
        "seed": 0,
    }
    assert f"a{noncharacter};" in fonts.note(["b", f"a{noncharacter}"])
    assert fonts.note(["b"]) == ""


def test_a_font_that_is_installed_draws_what_matplotlibs_own_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a font of formulas has signs that the font of texts lacks; it is put where fonts are installed
    own, folder = fonts.OWN, Path(matplotlib.get_data_path()) / "fonts/ttf"
    text = fonts._held(str(folder / "DejaVuSans.ttf"))
    extra = min(fonts._held(str(folder / "STIXGeneral.ttf")) - text)
    (tmp_path / ".fonts").mkdir()
    shutil.copy(folder / "STIXGeneral.ttf", tmp_path / ".fonts")
    monkeypatch.setattr(font_manager, "X11FontDirectories", [str(tmp_path)])
    try:
        assert fonts.choose(f"a{extra}") == set()
        assert matplotlib.rcParams["font.family"] == [own, "STIXGeneral"]
    finally:
        fonts.choose("")


def test_without_any_arm_it_is_said() -> None:
    rows = rows_of({("deep", "intact"): [ONE]})
    assert title_of(drawn(rows[:0])) == f"Confusion matrices: {wording.ABSENT}"


def test_a_figure_knows_the_names_of_classes_that_every_seed_has() -> None:
    from conftest import ROOT, curves

    plan = Plan(config.load(curves(), ROOT), pinned_versions(ROOT / "envs" / "requirements.txt"))
    classes = plan.form("write_report").view("curves")["classes"]
    assert set(classes) == {"digits"}  # the halves of the letters are drawn by seed
    assert classes["digits"] == list("0123456789")
