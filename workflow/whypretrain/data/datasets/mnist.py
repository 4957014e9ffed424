"""MNIST: 70,000 handwritten digits of 28x28 pixels, 10,000 of them the test set."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = "MNIST (Y. LeCun, C. Cortes, C. J. C. Burges, http://yann.lecun.com/exdb/mnist/), all 70,000 images"
LICENCE = (
    "MNIST, copyright Yann LeCun and Corinna Cortes, derived from NIST's databases. Its authors' page states no "
    "terms; by the account of Keras's documentation under Creative Commons Attribution-ShareAlike 3.0"
)


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/mnist"


SET = sets.Published(
    name="MNIST",
    classes="0123456789",
    images={
        "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    },
    splits=sets.TRAIN_OR_NOT,
    address="https://ossci-datasets.s3.amazonaws.com/mnist/",
    files={
        "MNIST/raw/train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "MNIST/raw/train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "MNIST/raw/t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "MNIST/raw/t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    colours=1,
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
