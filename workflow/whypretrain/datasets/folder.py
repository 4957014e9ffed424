"""The user's own images: a folder with one folder of image files for each class.

    images/cat/1.jpg  images/cat/2.png  images/dog/1.jpg …

Classes are named as their folders, sorted; images are sorted by class and file name.
Image files are known by their suffix (see SUFFIXES), in upper or lower case. All other
files, and hidden ones, are left out. A folder inside a class's folder is refused, for
what it would mean can't be guessed. Links to files and folders are followed, and end
where they are followed: nothing below a class's folder is ever entered.

What becomes of an image:
- of an animation or a file of several pages the first one is taken;
- the orientation in its EXIF data is applied; colour profiles are not;
- transparent pixels are put on white;
- colours (palette, RGB, CMYK, …) become the luminance of ITU-R 601, as Pillow's "L";
- grey of 16 bits, and whole numbers of 32 bits, become 8 bits by v / 257, rounded, with
  0…65535 as the whole range whatever is used of it; floating-point grey likewise, with
  the first of 0…1, 0…255 and 0…65535 that holds all values of the image;
- the largest square in its middle is resized by Pillow's BILINEAR filter: a triangle as
  wide as an output pixel needs (antialiased) where it shrinks, linear interpolation
  where it enlarges; a square image that has the size already keeps its bytes.
"""

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic

from whypretrain.unusable import UnusableFiles

if TYPE_CHECKING:
    from PIL import Image

PACKAGES = ("pillow",)  # what the bytes depend on beside numpy

SOURCE = "The user's own images, from the folder that the parameter `path` names"
LICENCE = "Not known: the user's own images"

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")  # whatever the suffix: no other decoder is ever called
LITTER = ("__MACOSX", "@eaDir")  # what operating systems leave beside images, beside names that begin with a dot

FEWEST_CLASSES = 2
MOST_CLASSES = 256  # labels and predictions are kept in one byte
FEWEST_IMAGES = 3  # of a class: one for each of train, validation and test
NAMED = 10  # so many files or classes stand in a message; of more it says how many

BRIGHTEST = 65535


class Parameters(pydantic.BaseModel):
    """Where the images are."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    path: str = pydantic.Field(
        min_length=1, description="folder with one folder of images per class; relative to the working folder"
    )


@dataclass(frozen=True)
class Listing:
    """What a folder holds: bytes by file name by class, and the files left out; nothing is opened."""

    folder: Path
    bytes: dict[str, dict[str, int]]
    left_out: tuple[str, ...]

    def files(self) -> Iterator[tuple[str, int]]:
        """Yield each image's path below the folder, and its size in bytes, in the order of the dataset."""
        for label, sizes in self.bytes.items():
            for name, size in sizes.items():
                yield f"{label}/{name}", size

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class."""
        return {label: len(sizes) for label, sizes in self.bytes.items()}


@dataclass(frozen=True)
class Report:
    """What was found in a folder when every image in it was decoded; paths are below the folder.

    `problems` says of a file why it can't be used. `repeated` groups files that are the
    same picture: one can train while another tests. `left_out` are no images by their name.
    `counts` are the image files of each class, those with problems too.
    """

    path: str
    counts: dict[str, int]
    left_out: tuple[str, ...]
    problems: dict[str, str]
    repeated: tuple[tuple[str, ...], ...]

    @property
    def message(self) -> str | None:
        """One line that names the files that can't be used and says what to do; None where there are none."""
        return _message(self.path, self.problems, sum(self.counts.values())) if self.problems else None


# --- the folder, without opening a file ----------------------------------------------------


def class_counts(parameters: Parameters) -> dict[str, int]:
    """Return the number of images of each class. Raises UnusableFiles as `listing` does."""
    return listing(parameters.path).counts


def files(parameters: Parameters) -> list[Path]:
    """Return all image files. Raises UnusableFiles as `listing` does."""
    found = listing(parameters.path)
    return [found.folder / name for name, _ in found.files()]


def digest(parameters: Parameters) -> str:
    """Return 16 hexadecimal digits of the files' classes, names and sizes, wherever the folder stands."""
    text = json.dumps(list(listing(parameters.path).files()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def listing(path: str) -> Listing:
    """Return what a folder holds, listed once in a process.

    Raises UnusableFiles where it isn't there, or is no folder of two classes or more with
    three image files or more each.
    """
    if "{" in path:
        raise UnusableFiles(f"'{path}' has a brace in it, which Snakemake takes for a wildcard; rename the folder")
    if not _is_line(path):
        raise UnusableFiles(f"{path!a} isn't UTF-8 text of one line; rename the folder")
    folder = Path(path)
    with contextlib.suppress(RuntimeError):  # the home of an unknown user: no such folder
        folder = folder.expanduser()
    return _listed(folder, Path.cwd(), path)


@cache
def _listed(folder: Path, working_folder: Path, path: str) -> Listing:
    try:
        found = _list(folder, path)
    except FileNotFoundError:
        raise UnusableFiles(
            f"'{path}' isn't there (seen from {working_folder}); give a folder that holds one folder of images for "
            "each class"
        ) from None
    except NotADirectoryError:
        raise UnusableFiles(f"'{path}' is a file; give a folder that holds one folder of images per class") from None
    except OSError as error:
        raise UnusableFiles(f"'{error.filename or path}' can't be read: {error.strerror}") from None
    _refuse_classes(found.counts, path)
    return found


def _list(folder: Path, path: str) -> Listing:
    classes, others = _entries(folder)
    if not classes:
        lying = sum(_is_image(entry.name) for entry in others)
        hint = f"; its {lying} image files belong into such folders" if lying else ""
        raise UnusableFiles(f"'{path}' holds no folders; it needs one folder of images for each class{hint}")
    left_out = [entry.name for entry in others]
    sizes: dict[str, dict[str, int]] = {}
    refused: dict[str, str] = {}
    for label in classes:
        deeper, entries = _entries(Path(label))
        if deeper:
            raise UnusableFiles(
                f"'{path}': '{label.name}' holds the folder '{deeper[0].name}', but the folder of a class holds image "
                f"files alone; move it away, or give '{Path(path) / label.name}' if that is where the classes are"
            )
        sizes[label.name] = {}
        for entry in entries:
            name = f"{label.name}/{entry.name}"
            if not _is_image(entry.name):
                left_out.append(name)
            elif reason := _refusal(entry, name):
                refused[name] = reason
            else:
                sizes[label.name][entry.name] = entry.stat().st_size
    if refused:
        raise UnusableFiles(_message(path, refused, sum(map(len, sizes.values())) + len(refused)))
    return Listing(folder, sizes, tuple(left_out))


def _entries(folder: Path) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """Return what a folder holds, hidden things left out, each sorted by name: folders, and all else."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    entries = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in LITTER]
    folders: list[os.DirEntry[str]] = []
    others: list[os.DirEntry[str]] = []
    for entry in entries:
        (folders if _is(entry.is_dir) else others).append(entry)
    return folders, others


def _is(question: Any) -> bool:
    try:
        return bool(question())
    except OSError:  # a link that leads to itself
        return False


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _refusal(entry: os.DirEntry[str], name: str) -> str | None:
    """Return why Snakemake can't be given a file as an input, or None."""
    if not _is(entry.is_file):
        return "a link that leads nowhere" if entry.is_symlink() else "not a file"
    if "{" in name:
        return "its name has a brace, which Snakemake takes for a wildcard"
    return None if _is_line(name) else "its name isn't UTF-8 text of one line"


def _is_line(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" or letter in "\n\0" for letter in name)


def _refuse_classes(counts: dict[str, int], path: str) -> None:
    if len(counts) < FEWEST_CLASSES:
        raise UnusableFiles(
            f"'{path}' holds one class only, '{next(iter(counts))}'; allowed: {FEWEST_CLASSES} classes or more, "
            "each a folder of images"
        )
    if len(counts) > MOST_CLASSES:
        raise UnusableFiles(f"'{path}' holds {len(counts)} folders; allowed: up to {MOST_CLASSES} classes")
    if few := [f"'{label}' ({count})" for label, count in counts.items() if count < FEWEST_IMAGES]:
        raise UnusableFiles(
            f"'{path}' has too few images of {_several(few, ', ')}; a class needs {FEWEST_IMAGES} image files or more, "
            f"one to train, one to validate and one to test (known by {', '.join(SUFFIXES)}); add some, or move the "
            "folder away"
        )


def _message(path: str, problems: dict[str, str], total: int) -> str:
    named = _several([f"{_shown(name)} ({reason})" for name, reason in problems.items()], "; ")
    return (
        f"'{path}': {len(problems)} of {total} image files can't be used: {named}. "
        "Mend them or move them out of the folder, then run again"
    )


def _several(texts: list[str], separator: str) -> str:
    more = [f"and {len(texts) - NAMED} more"] if len(texts) > NAMED else []
    return separator.join(texts[:NAMED] + more)


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


# --- the images ----------------------------------------------------------------------------


def check(path: str) -> Report:
    """Decode every image of a folder and return what was found, without making anything of it.

    Raises UnusableFiles, as `listing` does, for what is wrong with the folder as a whole.
    """
    return _read(path, 1)[0]


def prepare(parameters: Parameters, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, 1, size, size) uint8 and labels (n,) int64, class after class, by file name.

    Raises UnusableFiles, with one message for all of them, where files can't be used.
    """
    report, images = _read(parameters.path, size)
    if report.message:
        raise UnusableFiles(report.message)
    labels = np.arange(len(report.counts), dtype=np.int64)
    return np.stack(images)[:, None], np.repeat(labels, list(report.counts.values()))


def _read(path: str, size: int) -> tuple[Report, list[np.ndarray]]:
    """Return the report of a folder, and those of its images (size, size) uint8 that can be used."""
    found = listing(path)
    images: list[np.ndarray] = []
    problems: dict[str, str] = {}
    same: dict[str, list[str]] = {}
    for name, length in found.files():
        if not length:
            problems[name] = "empty, 0 bytes"
            continue
        try:
            grey = read_grey(found.folder / name)
        except Exception as error:  # what Pillow raises of broken files is any of a dozen types
            problems[name] = _reason(error)
            continue
        pixels = hashlib.sha256(f"{grey.size}".encode() + grey.tobytes()).hexdigest()
        same.setdefault(pixels, []).append(name)
        images.append(_square(grey, size))
    repeated = tuple(tuple(names) for names in same.values() if len(names) > 1)
    return Report(path, found.counts, found.left_out, problems, repeated), images


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"not an image of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, Pillow's limit"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())[:100]
    return text or type(error).__name__


def read_grey(file: Path) -> "Image.Image":
    """Return an image file as grey of 8 bits, as this module's docstring says; whole, at its own size.

    Raises whatever Pillow does where the file is no image, is damaged or cut short, is larger
    than Pillow's limit, or holds grey values beyond 0…65535.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # not by its path: Pillow 13.0 maps uncompressed grey TIFF files into memory, and garbles those lying on a side
        with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as opened:
            image = ImageOps.exif_transpose(opened)
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image), image.info.get("transparency")))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB").convert("L")  # luminance alone: grey comes out as it went in


def _eight_bits(values: np.ndarray, transparent: int | None) -> np.ndarray:
    """Return grey of 16 or 32 bits as uint8, the value `transparent` as white."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= BRIGHTEST):
        raise ValueError(f"grey values from {low:g} to {high:g}; allowed: 0 to {BRIGHTEST}")
    whole_ranges = (1, 255, BRIGHTEST) if values.dtype.kind == "f" else (BRIGHTEST,)
    brightest = next(top for top in whole_ranges if high <= top)
    scaled = np.rint(values.astype(np.float64) * 255 / brightest).astype(np.uint8)
    return scaled if transparent is None else np.where(values == transparent, np.uint8(255), scaled)


def _square(grey: "Image.Image", size: int) -> np.ndarray:
    """Return the largest square in the middle of an image, resized to (size, size) uint8."""
    from PIL import Image

    side = min(grey.size)
    left, top = ((length - side) // 2 for length in grey.size)
    square = grey.crop((left, top, left + side, top + side))
    if side != size:
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(square)
