"""What the table `advice` says, in plain sentences: for the report and for the command `make advise`."""

import math
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

from whypretrain.training import moding

ANY = "any source"  # the setting of what is compared over all sources of a target
UNTRAINED, SCRATCH = "none", "scratch"
NOTHING = "nothing was learnt from these images"
GUESSING = "always guessing the largest class gives"


def in_words(family: str, mode: str) -> str:
    """Say what a mode does (`svm-4`: classify the features of layer 4 with an SVM). Raises as `moding.parse` does.

    The family tells training from scratch from fine-tuning, which is its mode too.
    """
    if family == SCRATCH:
        return "train from scratch"
    found = moding.parse(mode)
    if found.frozen:
        layers = "first layer" if found.frozen == 1 else f"first {found.frozen} layers"
        return f"keep the {layers} and train the rest"
    if found.layer:
        classifier = {"svm": "an SVM", "probe": "a logistic regression"}[found.name]
        return f"classify the features of layer {found.layer} with {classifier}"
    return {
        "probe": "train a classifier on the last features only",
        "lpft": "probe, then fine-tune all layers",
    }.get(found.name, "fine-tune all layers")


def images(shots: str) -> str:
    """Say how many training images a class has."""
    if shots == "full":
        return "all images per class"
    return f"{shots} image{'s' if shots != '1' else ''} per class"


def sentence(row: Mapping[Any, Any], source: str = "") -> str:
    """Return a row of `advice` as one sentence of plain text.

    `source` is the setting's; without it the one of the best way is named, and where that is training from scratch
    the setting.
    """
    everywhere = row["setting"] == ANY
    named = source or (row["source"] if row["source"] != UNTRAINED else "")
    where = "of all sources" if everywhere else f"from {named}" if named else f"in setting {row['setting']}"
    told = in_words(row["family"], row["mode"])
    if everywhere and row["family"] != SCRATCH:
        told = f"take {row['source']}, {told}"
    asked = f"With {images(row['shots'])} of {row['target']}, {where}: "
    way = f"{told} ({_details(row)})"
    expected = (
        f"expected {_between(row, 'expected', '', ', n = ' + str(row['n']))} of test images right, where {GUESSING} "
        f"{row['largest_class']:.2f}; balanced accuracy {_between(row, 'balanced', 'balanced_')}, where guessing gives "
        f"{1 / row['classes']:.2f}"
    )
    if not row["learnt"]:
        return f"{asked}{NOTHING}. The best of {row['compared']} ways, {way}: {expected}."
    return f"{asked}{way}, {expected}; {_others(row)}{_edge(row)}."


def _details(row: Mapping[str, Any]) -> str:
    """Return the best way as config has it."""
    words = [str(row["mode"])]
    if row["recipe"] != "none":
        words.append(f"recipe {row['recipe']}")
    if not math.isnan(row["learning_rate"]):
        words.append(f"learning rate {row['learning_rate']:g}")
    return ", ".join([*words, f"network {row['architecture']}"])


def _between(row: Mapping[str, Any], measure: str, limits: str, more: str = "") -> str:
    """Return a share with its interval, which stands in the columns that begin with `limits`."""
    low, high = row[f"{limits}low"], row[f"{limits}high"]
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{row[measure]:.2f} (no interval{more})"
    return f"{row[measure]:.2f} ({max(low, 0.0):.2f} to {min(high, 1.0):.2f}{more})"


def _others(row: Mapping[str, Any]) -> str:
    """Say what else isn't worse, out of how many ways."""
    if row["not_worse"]:
        return f"not worse, of {row['compared']} ways: {row['not_worse']}"
    others = row["compared"] - 1
    return f"the other {others} ways are worse" if others > 1 else "the other way is worse"


def _edge(row: Mapping[str, Any]) -> str:
    return "; its learning rate is at the edge of its grid, a better one may lie beyond" if row["grid_edge"] else ""


FEW = 10  # images of a class, below which its accuracy says little
ALSO = (
    "Balanced accuracy is the mean over classes of the share of a class's test images that is right, however many it "
    f"has. Where neither interval lies above what guessing gives, {NOTHING} as far as these splits can tell. A way "
    "is called not worse where paired tests, adjusted for all comparisons with the best, can't tell them apart."
)
NOTE = (
    "Expected is the share of test images that the way comes to which was best on the other splits, so that no split "
    "both chooses and judges; its interval is for repeated splits of one set of images (Nadeau and Bengio 2003). "
    f"{ALSO}"
)
OF_GIVEN = (
    f"Expected is the share of your test images that the way comes to which was best with the other seeds. {ALSO}"
)


def images_sentence(
    counts: Mapping[str, int], parts: Mapping[str, Mapping[str, int]], seeds: int, given: Collection[str] = ()
) -> str:
    """Say how many images there are and how they are divided; `parts` has images by part and class.

    `given` names the parts that the images come divided into, which are the same with every seed.
    """
    shares = ", ".join(f"{sum(parts[part].values())} to {purpose}" for part, purpose in PURPOSES.items())
    times = "one split, with" if seeds == 1 else f"{seeds} splits, each with"
    if len(given) == len(PURPOSES):
        times = f"divided by you, the same for {seeds} trainings:"
    told = f"{sum(counts.values())} images of {len(counts)} classes; {times} {shares}."
    if "test" not in given:
        return told
    return (
        f"{told} The test images are yours and always the same: intervals tell how trainings differ, not how other "
        "test images would, and these images both choose the best way and judge it."
    )


PURPOSES = {"train": "learn from", "validation": "choose by", "test": "test on"}


def few_images(counts: Mapping[str, int], parts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return what it means that classes have fewer than FEW images; nothing where none has."""
    few = {name: count for name, count in counts.items() if count < FEW}
    if not few:
        return []
    named = [f"{name} ({count})" for name, count in list(few.items())[:FEW]]
    more = f" and {len(few) - FEW} more" if len(few) > FEW else ""
    name = min(few, key=few.__getitem__)
    uses = ", ".join(f"{parts[part][name]} to {PURPOSES[part]}" for part in PURPOSES)
    step = 100 / parts["test"][name]
    return [
        f"Fewer than {FEW} images: {', '.join(named)}{more}. In each split {name} has {uses}: one test image more or "
        f"less moves its accuracy by {step:.0f} points, and learning rate, layer and classifier are chosen on "
        f"{parts['validation'][name]}. Take what follows as a hint, and the widths of the intervals seriously; "
        f"with {FEW} images or more per class it begins to say something."
    ]


def wrapped(paragraph: str, width: int = 100) -> str:
    """Return a paragraph in lines of a width; lines that are there stay."""
    return "\n".join(textwrap.fill(line, width, break_on_hyphens=False) for line in paragraph.split("\n"))
