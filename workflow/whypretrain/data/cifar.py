"""The batches of CIFAR, which are pickles: read without running anything that a pickle asks for.

A pickle is a program. This reader knows three names in it, those by which numpy's arrays are written, and stands in for
them itself: what comes out are arrays of bytes, and lists, dicts, bytes and numbers. Any other name is refused before
it is looked up.
"""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32


class Refused(pickle.UnpicklingError):
    """A pickle asks for something that no batch of CIFAR holds."""


class _Kind:
    """Stands for numpy.dtype, of which only that of unsigned bytes is known."""

    def __init__(self, code: bytes | str, *flags: Any) -> None:
        if code not in (b"u1", "u1"):
            raise Refused(f"it holds an array of {code!r}; known are arrays of unsigned bytes")

    def __setstate__(self, state: Any) -> None:
        """Leave the byte order: a byte has none."""


class _Array:
    """Stands for numpy.ndarray and what makes one; `values` are its own once its state was read."""

    values: np.ndarray

    def __init__(self, *arguments: Any) -> None:
        """Take what `_reconstruct` is given: a class, a shape and a type that its state replaces."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, content = state
        if not (isinstance(kind, _Kind) and isinstance(content, bytes)) or by_columns:
            raise Refused("it holds an array of another kind than unsigned bytes by rows")
        self.values = np.frombuffer(content, np.uint8).reshape(shape)


KNOWN = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Kind,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name. Raises Refused for all but the three."""
        if (full := f"{module}.{name}") not in KNOWN:
            raise Refused(f"it asks for {full}, which no batch of CIFAR does; nothing of it was run")
        return KNOWN[full]


def load(file: IO[bytes]) -> dict[bytes, Any]:
    """Return a batch: its arrays (`data`: (n, 3072) uint8) and lists (`labels`, `fine_labels`) by name.

    Raises pickle.UnpicklingError, Refused among them, and what else a damaged pickle ends in.
    """
    batch = _Reader(file, encoding="bytes").load()
    if not isinstance(batch, dict):
        raise Refused("it isn't a batch: it holds no dict")
    return {name: value.values if isinstance(value, _Array) else value for name, value in batch.items()}


def batches(published: Any, root: str, download: bool, train: bool) -> Iterator[tuple["Image.Image", int]]:
    """Yield the images of a part and their labels, as `torchvision_sets.indexed` does of others.

    torchvision's own class would unpickle them; of it there are the names, addresses and checksums.
    """
    from PIL import Image

    from whypretrain.data.vision import torchvision

    utils, folder = torchvision.datasets.utils, Path(root, published.base_folder)

    def is_whole(name: str, md5: str) -> bool:
        return bool(utils.check_integrity(folder / name, md5))

    if download and not all(is_whole(*file) for file in published.train_list + published.test_list):
        utils.download_and_extract_archive(published.url, root, filename=published.filename, md5=published.tgz_md5)
    for name, md5 in published.train_list if train else published.test_list:
        if not is_whole(name, md5):
            raise ValueError(f"'{folder / name}' isn't there as published")
        with (folder / name).open("rb") as file:
            batch = load(file)
        labels = batch[b"fine_labels"] if b"fine_labels" in batch else batch[b"labels"]
        for pixels, label in zip(batch[b"data"].reshape(-1, 3, SIDE, SIDE), labels, strict=True):
            yield Image.fromarray(pixels.transpose(1, 2, 0)), label
