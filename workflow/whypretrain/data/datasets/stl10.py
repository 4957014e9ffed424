"""STL-10: its 13,000 labelled colour pictures of 96x96 pixels, 10 classes, 8,000 of them the test set."""

from typing import Any

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "STL-10, its labelled part (A. Coates, H. Lee, A. Y. Ng, 2011, https://cs.stanford.edu/~acoates/stl10/); its "
    "ten folds and its images without labels aren't used"
)
LICENCE = "None is stated; the images come from ImageNet, whose terms allow non-commercial research and education"


def _labelled(published: Any, root: str, download: bool, split: str) -> sets.Labelled:
    """Read it as torchvision does, which would ask for the images without labels too."""
    labelled = type(published.__name__, (published,), {"train_list": published.train_list[:2]})
    return sets.indexed(labelled, root, download, split=split)


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/stl10"


SET = sets.Published(
    name="STL10",
    classes=sets.names("airplane, bird, car, cat, deer, dog, horse, monkey, ship, truck"),
    images={"train": 500, "test": 800},
    splits=sets.BY_SPLIT,
    address="http://ai.stanford.edu/~acoates/stl10/",
    files={"stl10_binary.tar.gz": "91f7769df0f17e558f3565bffb0c7dfb"},
    read=_labelled,
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
