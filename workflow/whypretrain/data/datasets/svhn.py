"""SVHN: 99,289 colour pictures of digits of house numbers of 32x32 pixels, 26,032 of them the test set."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = (*sets.PACKAGES, "scipy")

SOURCE = (
    "The Street View House Numbers, cropped digits without the extra training images (Y. Netzer and others, 2011, "
    "http://ufldl.stanford.edu/housenumbers/). Its .mat files are read by scipy.io.loadmat, which unpickles "
    "nothing"
)
LICENCE = "Its page allows non-commercial use only"


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/svhn"


SET = sets.Published(
    name="SVHN",
    classes="0123456789",
    images={
        "train": (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
        "test": (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
    },
    splits=sets.BY_SPLIT,
    address="http://ufldl.stanford.edu/housenumbers/",
    files={"train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373", "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3"},
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
