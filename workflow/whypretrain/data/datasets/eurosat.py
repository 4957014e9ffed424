"""EuroSAT: 27,000 colour pictures of land from Sentinel-2 of 64x64 pixels, 10 classes, not divided."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "EuroSAT, its RGB version (P. Helber, B. Bischke, A. Dengel, D. Borth, 2019, https://github.com/phelber/EuroSAT)"
)
LICENCE = "MIT; the pictures contain modified Copernicus Sentinel data, free and open to all"

IMAGES = {
    "AnnualCrop": 3000,
    "Forest": 3000,
    "HerbaceousVegetation": 3000,
    "Highway": 2500,
    "Industrial": 2500,
    "Pasture": 2000,
    "PermanentCrop": 2500,
    "Residential": 3000,
    "River": 2500,
    "SeaLake": 3000,
}


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/eurosat"


SET = sets.Published(
    name="EuroSAT",
    classes=tuple(IMAGES),
    images={"train": tuple(IMAGES.values())},
    splits=sets.UNDIVIDED,
    address="https://madm.dfki.de/files/sentinel/",
    files={"eurosat/EuroSAT.zip": "c8fa014336c82ac7804f0398fcb19387"},
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
