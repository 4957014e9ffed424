"""CIFAR-10: 60,000 colour pictures of 32x32 pixels, 10 classes, 10,000 of them the test set."""

from whypretrain.data import cifar
from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "CIFAR-10 (A. Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html), read by a reader of our own "
    "that runs nothing of its pickles"
)
LICENCE = (
    "None is stated; its authors ask to cite the report. The images come from 80 Million Tiny Images, collected "
    "from the web and withdrawn by its authors in 2020; research use is customary"
)


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/cifar10"


SET = sets.Published(
    name="CIFAR10",
    classes=sets.names("airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"),
    images={"train": 5000, "test": 1000},
    splits=sets.TRAIN_OR_NOT,
    address="https://www.cs.toronto.edu/~kriz/",
    files={"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
    read=cifar.batches,
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
