"""CIFAR-100: 60,000 colour pictures of 32x32 pixels, 100 fine classes, 10,000 of them the test set."""

from whypretrain.data import cifar
from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "CIFAR-100 (A. Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html), its fine labels, read by a "
    "reader of our own that runs nothing of its pickles"
)
LICENCE = (
    "None is stated; its authors ask to cite the report. The images come from 80 Million Tiny Images, collected "
    "from the web and withdrawn by its authors in 2020; research use is customary"
)

CLASSES = sets.names("""
    apple, aquarium_fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy, bridge, bus, butterfly,
    camel, can, castle, caterpillar, cattle, chair, chimpanzee, clock, cloud, cockroach, couch, crab, crocodile, cup,
    dinosaur, dolphin, elephant, flatfish, forest, fox, girl, hamster, house, kangaroo, keyboard, lamp, lawn_mower,
    leopard, lion, lizard, lobster, man, maple_tree, motorcycle, mountain, mouse, mushroom, oak_tree, orange, orchid,
    otter, palm_tree, pear, pickup_truck, pine_tree, plain, plate, poppy, porcupine, possum, rabbit, raccoon, ray,
    road, rocket, rose, sea, seal, shark, shrew, skunk, skyscraper, snail, snake, spider, squirrel, streetcar,
    sunflower, sweet_pepper, table, tank, telephone, television, tiger, tractor, train, trout, tulip, turtle, wardrobe,
    whale, willow_tree, wolf, woman, worm
""")


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/cifar100"


SET = sets.Published(
    name="CIFAR100",
    classes=CLASSES,
    images={"train": 500, "test": 100},
    splits=sets.TRAIN_OR_NOT,
    address="https://www.cs.toronto.edu/~kriz/",
    files={"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
    read=cifar.batches,
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
