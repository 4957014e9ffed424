"""Describable Textures: 5,640 photos, 47 classes, divided into 40 a class each to train, to validate and to test."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "The Describable Textures Dataset, the first of its ten divisions (M. Cimpoi and others, 2014, "
    "https://www.robots.ox.ac.uk/~vgg/data/dtd/)"
)
LICENCE = "Made available by its authors for research; the photos come from the web and belong to those who took them"

CLASSES = sets.names("""
    banded, blotchy, braided, bubbly, bumpy, chequered, cobwebbed, cracked, crosshatched, crystalline, dotted, fibrous,
    flecked, freckled, frilly, gauzy, grid, grooved, honeycombed, interlaced, knitted, lacelike, lined, marbled,
    matted, meshed, paisley, perforated, pitted, pleated, polka-dotted, porous, potholed, scaly, smeared, spiralled,
    sprinkled, stained, stratified, striped, studded, swirly, veined, waffled, woven, wrinkled, zigzagged
""")


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/dtd"


SET = sets.Published(
    name="DTD",
    classes=CLASSES,
    images={"train": 40, "validation": 40, "test": 40},
    splits=sets.BY_THREE_SPLITS,
    address="https://www.robots.ox.ac.uk/~vgg/data/dtd/download/",
    files={"dtd/dtd-r1.0.1.tar.gz": "fff73e5086ae6bdbea199a49dfb8a4c1"},
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
