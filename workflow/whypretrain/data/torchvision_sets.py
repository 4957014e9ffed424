"""Data sets that torchvision knows, from a local copy, or fetched where the user says so.

A module in `datasets` describes each by a `Published`. Its numbers of images are constants of what was published, so
that a config is understood before a file is there. The published test set stays the test set, with every seed, and so
does a published validation set; where there is none, images of the training set are drawn to validate.

The local copy lies as torchvision lays it out. An archive that is there is compared with the MD5 sum that torchvision
knows, unpacked by torchvision where that hasn't been done, and nothing is fetched then. What is read has to have the
published number of images of every class and part. So the files are no inputs of the job: nothing in them can change,
and they may be removed once the dataset is prepared.

Images are as torchvision gives them: the largest square in the middle, resized by Pillow's BILINEAR filter (antialiased
where it shrinks), like those of a `folder`, but with their own channels.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pydantic

from whypretrain.data.decoding import square
from whypretrain.data.problems import UnusableFiles

if TYPE_CHECKING:
    from PIL import Image

PACKAGES = ("pillow", "torchvision")  # what the bytes depend on beside numpy

# how torchvision's classes are asked for a part
TRAIN_OR_NOT = {"train": {"train": True}, "test": {"train": False}}
BY_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
BY_THREE_SPLITS = {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}}
UNDIVIDED: dict[str, dict[str, Any]] = {"train": {}}

Labelled = Iterator[tuple["Image.Image", int]]


def names(text: str) -> tuple[str, ...]:
    """Return the names that commas separate in a text of one line or more."""
    return tuple(" ".join(text.split()).split(", "))


def _plain(root: str) -> str:
    if not root or set(root) & set("${}\r\n\0"):
        raise ValueError("allowed: the path of a folder, without any of $ { } and line breaks")
    return root


Root = Annotated[
    str,
    pydantic.Field(description="folder of the local copy; relative to the working folder"),
    pydantic.AfterValidator(_plain),
]


class LocalCopy(pydantic.BaseModel):
    """Where the local copy is; each module has a default of its own."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    root: Root
    download: bool = pydantic.Field(False, description="fetch what isn't there, by torchvision")


class NoCopy(UnusableFiles):
    """A local copy isn't there, isn't whole, or isn't what was published: one line that says what to do."""

    parameter = "root"


def indexed(published: Any, root: str, download: bool, **split: Any) -> Labelled:
    """Yield the images of a part and their labels, decoded one by one by torchvision's own class."""
    images = published(root, download=download, **split)
    for index in range(len(images)):
        yield images[index]


@dataclass
class Published:
    """A data set as it was published.

    `images` has the number of images of each class by part, one number where all classes have it. `splits` has the
    arguments by which the class `name` in torchvision.datasets is asked for each part; its parts are in the order of
    PARTS. `files` has the MD5 sums of what is published at `address`, by its place below the root. `read` yields the
    images of a part with their labels, from torchvision's class, the root, whether to download, and those arguments.
    """

    name: str
    classes: Sequence[str]
    images: Mapping[str, int | Sequence[int]]
    splits: Mapping[str, Mapping[str, Any]]
    address: str
    files: Mapping[str, str]
    colours: int = 3
    read: Callable[..., Labelled] = indexed

    def _parts(self) -> dict[str, dict[str, int]]:
        return {
            part: dict(zip(self.classes, [n] * len(self.classes) if isinstance(n, int) else n, strict=True))
            for part, n in self.images.items()
        }

    def class_counts(self, parameters: LocalCopy) -> dict[str, int]:
        """Return the number of images of each class."""
        parts = self._parts().values()
        return {label: sum(images[label] for images in parts) for label in self.classes}

    def parts(self, parameters: LocalCopy) -> dict[str, dict[str, int]]:
        """Return the images by part and class; of what was published in one part nothing."""
        return self._parts() if len(self.images) > 1 else {}

    def channels(self, parameters: LocalCopy) -> int:
        """Return the number of channels of the images."""
        return self.colours

    def prepare(self, parameters: LocalCopy, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images (n, channels, size, size) uint8 and labels (n,) int64, by class, part and published order.

        Raises NoCopy where the local copy isn't whole, and can't be made so.
        """
        from whypretrain.data.vision import torchvision

        root = parameters.root
        with contextlib.suppress(RuntimeError):  # the home of an unknown user: no such folder
            root = str(Path(root).expanduser())
        download = self._are_whole(root) or parameters.download
        published = getattr(torchvision.datasets, self.name)
        counts = np.array([list(images.values()) for images in self._parts().values()]).T
        ends = counts.cumsum().reshape(counts.shape)
        places = ends - counts  # of the next image of a class and part
        images = np.empty((counts.sum(), self.colours, size, size), np.uint8)
        try:
            for column, (part, split) in enumerate(self.splits.items()):
                for image, label in self.read(published, root, download, **split):
                    if not (0 <= label < len(counts) and places[label, column] < ends[label, column]):
                        raise ValueError(f"there are more images to {part} of class {label} than were published")
                    images[places[label, column]] = square(image, size)
                    places[label, column] += 1
                if (places != ends)[:, column].any():
                    raise ValueError(f"there are fewer images to {part} than were published")
        except Exception as error:  # what is raised of broken files is any of a dozen types
            raise NoCopy(self._told(root, error)) from None
        return images, np.repeat(np.arange(len(counts)), counts.sum(1))

    def _are_whole(self, root: str) -> bool:
        """Whether all published files are there. Raises NoCopy where one is, but isn't the one that was published."""
        from whypretrain.data.vision import torchvision

        there = [path for path in self.files if Path(root, path).is_file()]
        for path in there:
            if not torchvision.datasets.utils.check_integrity(Path(root, path), self.files[path]):
                raise NoCopy(
                    f"'{Path(root, path)}' was cut short, or isn't the file that was published, whose MD5 sum is "
                    f"{self.files[path]}. Remove it, {self._get([path], root)}"
                )
        return len(there) == len(self.files)

    def _told(self, root: str, error: Exception) -> str:
        text = " ".join(str(error).split())[:300] or type(error).__name__
        reason = "not all of it is there as published" if "download=True" in text else text
        missing = [path for path in self.files if not Path(root, path).is_file()]
        mend = f"remove what was unpacked from {', '.join(self.files)}, and run again"
        if missing:
            mend = self._get(missing, root)
        return f"'{root}' holds no copy of {self.name} that can be used: {reason}. To mend it {mend}"

    def _get(self, paths: list[str], root: str) -> str:
        places = ", ".join(f"'{Path(root, path)}'" for path in paths)
        return f"get {places} from {self.address}, or set `download: true`, then run again"
