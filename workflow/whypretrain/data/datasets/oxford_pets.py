"""Oxford-IIIT Pets: 7,349 photos of cats and dogs, 37 breeds, 3,669 of them the test set."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "The Oxford-IIIT Pet Dataset (O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, 2012, "
    "https://www.robots.ox.ac.uk/~vgg/data/pets/)"
)
LICENCE = "Creative Commons Attribution-ShareAlike 4.0; the copyright remains with the owners of the photos"

# of most breeds there are 100
FEWER_TRAIN = {"Bombay": 96, "Egyptian Mau": 93, "Newfoundland": 96, "English Cocker Spaniel": 96, "Siamese": 99}
FEWER_TEST = {
    "Abyssinian": 98,
    "Bombay": 88,
    "Boxer": 99,
    "Egyptian Mau": 97,
    "Keeshond": 99,
    "Scottish Terrier": 99,
    "Staffordshire Bull Terrier": 89,
}

CLASSES = sets.names("""
    Abyssinian, American Bulldog, American Pit Bull Terrier, Basset Hound, Beagle, Bengal, Birman, Bombay, Boxer,
    British Shorthair, Chihuahua, Egyptian Mau, English Cocker Spaniel, English Setter, German Shorthaired, Great
    Pyrenees, Havanese, Japanese Chin, Keeshond, Leonberger, Maine Coon, Miniature Pinscher, Newfoundland, Persian,
    Pomeranian, Pug, Ragdoll, Russian Blue, Saint Bernard, Samoyed, Scottish Terrier, Shiba Inu, Siamese, Sphynx,
    Staffordshire Bull Terrier, Wheaten Terrier, Yorkshire Terrier
""")


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/oxford-pets"


SET = sets.Published(
    name="OxfordIIITPet",
    classes=CLASSES,
    images={
        "train": [FEWER_TRAIN.get(label, 100) for label in CLASSES],
        "test": [FEWER_TEST.get(label, 100) for label in CLASSES],
    },
    splits={"train": {"split": "trainval"}, "test": {"split": "test"}},
    address="https://www.robots.ox.ac.uk/~vgg/data/pets/data/",
    files={
        "oxford-iiit-pet/images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
        "oxford-iiit-pet/annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
    },
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
