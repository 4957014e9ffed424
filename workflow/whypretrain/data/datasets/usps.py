"""USPS: 9,298 handwritten digits of 16x16 pixels from envelopes, 2,007 of them the test set."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "USPS (J. J. Hull, 1994), in the form of LIBSVM's page of data (C.-C. Chang, C.-J. Lin, "
    "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/)"
)
LICENCE = "None is stated; research use is customary"


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/usps"


SET = sets.Published(
    name="USPS",
    classes="0123456789",
    images={
        "train": (1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644),
        "test": (359, 264, 198, 166, 200, 160, 170, 147, 166, 177),
    },
    splits=sets.TRAIN_OR_NOT,
    address="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",
    files={"usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197", "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118"},
    colours=1,
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
