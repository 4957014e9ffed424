"""Advice in sentences: modes in plain words, where, how much is expected, and what else would do."""

import numpy as np
import pandas as pd
import pytest

from whypretrain.evidence import advising, mode_map
from whypretrain.stages import write_advice

ROW = {
    **{"study": "modes", "setting": "near-5", "architecture": "tiny", "target": "glyphs-b", "shots": "5"},
    **{"source": "glyphs", "family": "lpft", "mode": "lpft", "recipe": "short", "learning_rate": 0.03},
    **{"grid_edge": False, "expected": 0.8712, "low": 0.8512, "high": 0.8912, "n": 5, "compared": 7},
    **{"balanced": 0.7, "balanced_low": 0.65, "balanced_high": 0.75, "classes": 26, "largest_class": 0.5},
    "learnt": True,
    "not_worse": "svm-4 of glyphs, scratch",
}
SCRATCH = {"source": "none", "family": "scratch", "mode": "finetune"}


@pytest.mark.parametrize(
    ("family", "mode", "words"),
    [
        ("probe", "probe", "train a classifier on the last features only"),
        ("probe-L", "probe-2", "classify the features of layer 2 with a logistic regression"),
        ("svm-L", "svm-4", "classify the features of layer 4 with an SVM"),
        ("freeze-N", "freeze-3", "keep the first 3 layers and train the rest"),
        ("freeze-N", "freeze-1", "keep the first layer and train the rest"),
        ("lpft", "lpft", "probe, then fine-tune all layers"),
        ("finetune", "finetune", "fine-tune all layers"),
        ("scratch", "finetune", "train from scratch"),
    ],
)
def test_a_mode_is_said_in_plain_words(family: str, mode: str, words: str) -> None:
    assert advising.in_words(family, mode) == words


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown mode 'guess'"):
        advising.in_words("probe", "guess")


def test_every_family_of_the_mode_map_has_words_of_its_own() -> None:
    mode = {"probe-L": "probe-1", "svm-L": "svm-1", "freeze-N": "freeze-1", "scratch": "finetune"}
    said = {advising.in_words(family, mode.get(family, family)) for family in mode_map.FAMILIES}
    assert len(said) == len(mode_map.FAMILIES)


def test_a_sentence_gives_target_source_mode_accuracy_and_what_is_not_worse() -> None:
    assert advising.sentence(ROW) == (
        "With 5 images per class of glyphs-b, from glyphs: probe, then fine-tune all layers (lpft, recipe short, "
        "learning rate 0.03, network tiny), expected 0.87 (0.85 to 0.89, n = 5) of test images right, where "
        "always guessing the largest class gives 0.50; balanced accuracy 0.70 (0.65 to 0.75), where guessing gives "
        "0.04; not worse, of 7 ways: svm-4 of glyphs, scratch."
    )


def test_where_nothing_was_learnt_that_is_the_answer() -> None:
    uneven = {"shots": "full", "expected": 0.89, "low": 0.86, "high": 0.93, "largest_class": 0.9, "classes": 2}
    alike = {"balanced": 0.5, "balanced_low": 0.48, "balanced_high": 0.52, "learnt": False}
    assert advising.sentence(ROW | uneven | alike) == (
        "With all images per class of glyphs-b, from glyphs: nothing was learnt from these images. The best of 7 ways, "
        "probe, then fine-tune all layers (lpft, recipe short, learning rate 0.03, network tiny): expected 0.89 (0.86 "
        "to 0.93, n = 5) of test images right, where always guessing the largest class gives 0.90; balanced "
        "accuracy 0.50 (0.48 to 0.52), where guessing gives 0.50."
    )


@pytest.mark.parametrize(
    ("changed", "source", "words"),
    [
        ({"shots": "1"}, "", "With 1 image per class of glyphs-b, from glyphs: "),
        ({"shots": "full"}, "", "With all images per class of glyphs-b, from glyphs: "),
        ({"family": "probe", "mode": "probe", "recipe": "none", "learning_rate": np.nan}, "", "(probe, network tiny)"),
        ({"setting": advising.ANY}, "", "of all sources: take glyphs, probe, then fine-tune all layers ("),
        ({"setting": advising.ANY, **SCRATCH}, "", "of all sources: train from scratch ("),
        (SCRATCH, "glyphs", "from glyphs: train from scratch ("),
        (SCRATCH, "", "in setting near-5: train from scratch ("),
        ({"low": np.nan, "high": np.nan, "n": 1}, "", "expected 0.87 (no interval, n = 1) of test"),
        ({"expected": 0.98, "high": 1.08}, "", "expected 0.98 (0.85 to 1.00, n = 5) of test"),  # no more than all
        ({"not_worse": ""}, "", "guessing gives 0.04; the other 6 ways are worse."),
        ({"not_worse": "", "compared": 2}, "", "guessing gives 0.04; the other way is worse."),
        (
            {"grid_edge": True},
            "",
            "scratch; its learning rate is at the edge of its grid, a better one may lie beyond.",
        ),
    ],
)
def test_a_sentence_says_what_is_so(changed: dict, source: str, words: str) -> None:
    assert words in advising.sentence(ROW | changed, source)


@pytest.mark.parametrize(("given", "told"), [([], "no split both chooses and judges"), (["test"], "your test images")])
def test_what_is_expected_is_said_of_splits_or_of_the_users_own_test_images(given: list[str], told: str):
    parts = {part: {"cat": 20, "dog": 20} for part in ("train", "validation", "test")}
    about = {"counts": {"cat": 60, "dog": 60}, "parts": parts, "given": given}
    study = {"study": "s", "title": "T", "sources": {}, "targets": {"yours": about}}
    rows = pd.DataFrame({"study": [], "target": []})
    *_, note = write_advice.paragraphs({"studies": [study], "seeds": [0, 1]}, rows, rows)
    assert told in note
    assert ("Nadeau" in note) == (not given)
