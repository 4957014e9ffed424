"""Oxford Flowers-102: 8,189 photos of flowers, 102 classes, 6,149 of them the test set, 1,020 to validate."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = (*sets.PACKAGES, "scipy")

SOURCE = (
    "102 Category Flower Dataset (M.-E. Nilsback, A. Zisserman, 2008, "
    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/). Its .mat files are read by scipy.io.loadmat, which "
    "unpickles nothing"
)
LICENCE = (
    "None is stated; the photos come from the web and belong to those who took them, and research use is customary"
)

TESTING = (
    20, 40, 20, 36, 45, 25, 20, 65, 26, 25, 67, 67, 29, 28, 29, 21, 65, 62, 29, 36, 20, 39, 71, 22, 21, 21, 20, 46, 58,
    65, 32, 25, 26, 20, 23, 55, 88, 36, 21, 47, 107, 39, 110, 73, 20, 176, 47, 51, 29, 72, 238, 65, 73, 41, 51, 89, 47,
    94, 47, 89, 30, 35, 34, 32, 82, 41, 22, 34, 34, 42, 58, 76, 174, 151, 100, 87, 231, 117, 21, 85, 146, 92, 111, 66,
    43, 38, 43, 134, 164, 62, 56, 46, 26, 142, 108, 71, 46, 62, 43, 29, 38, 28,
)  # fmt: skip

CLASSES = sets.names("""
    pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold, tiger lily, moon orchid,
    bird of paradise, monkshood, globe thistle, snapdragon, colt's foot, king protea, spear thistle, yellow iris,
    globe-flower, purple coneflower, peruvian lily, balloon flower, giant white arum lily, fire lily, pincushion
    flower, fritillary, red ginger, grape hyacinth, corn poppy, prince of wales feathers, stemless gentian, artichoke,
    sweet william, carnation, garden phlox, love in the mist, mexican aster, alpine sea holly, ruby-lipped cattleya,
    cape flower, great masterwort, siam tulip, lenten rose, barbeton daisy, daffodil, sword lily, poinsettia, bolero
    deep blue, wallflower, marigold, buttercup, oxeye daisy, common dandelion, petunia, wild pansy, primula, sunflower,
    pelargonium, bishop of llandaff, gaura, geranium, orange dahlia, pink-yellow dahlia?, cautleya spicata, japanese
    anemone, black-eyed susan, silverbush, californian poppy, osteospermum, spring crocus, bearded iris, windflower,
    tree poppy, gazania, azalea, water lily, rose, thorn apple, morning glory, passion flower, lotus, toad lily,
    anthurium, frangipani, clematis, hibiscus, columbine, desert-rose, tree mallow, magnolia, cyclamen, watercress,
    canna lily, hippeastrum, bee balm, ball moss, foxglove, bougainvillea, camellia, mallow, mexican petunia, bromelia,
    blanket flower, trumpet creeper, blackberry lily
""")


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/flowers102"


SET = sets.Published(
    name="Flowers102",
    classes=CLASSES,
    images={"train": 10, "validation": 10, "test": TESTING},
    splits=sets.BY_THREE_SPLITS,
    address="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    files={
        "flowers-102/102flowers.tgz": "52808999861908f626f3c1f4e79d11fa",
        "flowers-102/imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
        "flowers-102/setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c",
    },
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
