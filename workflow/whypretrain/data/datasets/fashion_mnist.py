"""Fashion-MNIST: 70,000 grey pictures of clothes of 28x28 pixels, 10,000 of them the test set."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = "Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, 2017, https://github.com/zalandoresearch/fashion-mnist)"
LICENCE = "MIT, copyright 2017 Zalando SE"


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/fashion-mnist"


SET = sets.Published(
    name="FashionMNIST",
    classes=sets.names("T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"),
    images={"train": 6000, "test": 1000},
    splits=sets.TRAIN_OR_NOT,
    address="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    files={
        "FashionMNIST/raw/train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "FashionMNIST/raw/train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "FashionMNIST/raw/t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    colours=1,
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
