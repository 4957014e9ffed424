"""The user's own images: a folder with one folder of image files for each class.

    images/cat/1.jpg  images/cat/2.png  images/dog/1.jpg …

A folder may be divided already, into `train`, `val` (or `valid`, `validation`, `dev`) and
`test`, each with the same folders of classes: then `val` validates and `test` tests, with
every seed. Of the two one may be missing; its images are drawn from `train`.

Classes are named as their folders, sorted; images are sorted by class, part and file name.
Image files are known by their suffix (see SUFFIXES), in upper or lower case; HEIC is read
where pillow-heif is installed. All other files, and hidden ones, are left out. A folder
inside a class's folder is refused, for what it would mean can't be guessed. Links to files
and folders are followed, and end where they are followed: nothing below a class's folder is
ever entered.

What becomes of an image:
- of an animation or a file of several pages the first one is taken;
- the orientation in its EXIF data is applied where that can be read; colour profiles,
  texts and all else that stands beside the pixels are not read;
- a JPEG of more pixels than Pillow's limit is read at half its width and height, up to four
  times the limit; other images are read whole, up to twice the limit;
- values of more than 8 bits become 8 bits by v * 255 / top, rounded, where `top` is the
  largest value of the smallest of 8, 10, 12, 14 and 16 bits that holds all such images of
  the folder; floating-point grey likewise, by itself, and 1 is the first `top` it may have;
- transparent pixels are put on white;
- colours (palette, CMYK, …) become RGB, grey ones three equal values; with `channels: 1` the
  luminance of ITU-R 601, as Pillow's "L";
- the largest square in its middle is resized by Pillow's BILINEAR filter: a triangle as
  wide as an output pixel needs (antialiased) where it shrinks, linear interpolation
  where it enlarges; a square image that has the size already keeps its bytes. A JPEG is
  decoded at the smallest scale of 1, 1/2, 1/4 and 1/8 that has twice the size.

Images that look the same (see `alike`) stand in one group, and no split parts them.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import math
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic

from whypretrain.data.problems import UnusableFiles

if TYPE_CHECKING:
    from PIL import Image, ImageFile

PACKAGES = ("pillow",)  # what the bytes depend on beside numpy

SOURCE = "The user's own images, from the folder that the parameter `path` names"
LICENCE = "Not known: the user's own images"

# what is read, whatever the suffix: no other decoder is ever called
READ = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jfif", ".jpe"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
}
HEIF = (".heic", ".heif", ".hif")
HEIF_PACKAGE = "pillow-heif"
if importlib.util.find_spec("pillow_heif"):
    READ["HEIF"] = HEIF
FORMATS = tuple(READ)
SUFFIXES = tuple(suffix for suffixes in READ.values() for suffix in suffixes)
LITTER = ("__MACOSX", "@eaDir")  # what operating systems leave beside images, beside names that begin with a dot

FEWEST_CLASSES = 2
MOST_CLASSES = 256  # labels and predictions are kept in one byte
FEWEST_IMAGES = 3  # of a class: one for each of train, validation and test
NAMED = 10  # so many files or classes stand in a message; of more it says how many

PART_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}

TOPS = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
ALIKE = 10  # bits of 256
SMALLEST = 48  # side of an image whose look can be told, pixels
NOISE = 3  # levels of 256 by which flat places differ for nothing
LOOKED = 64  # the size at which images are looked at, pixels
FAINT = 4  # a standard deviation of the grey levels, of 256, below which a picture is nearly one grey

Tops = Mapping[str, int]  # what becomes white, of floating-point grey (`f`) and of whole numbers of more bits (`i`)


class Parameters(pydantic.BaseModel):
    """Where the images are."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    path: str = pydantic.Field(
        min_length=1, description="folder with one folder of images per class; relative to the working folder"
    )
    channels: Literal[1, 3] = pydantic.Field(3, description="3 for colours, 1 for grey")


@dataclass(frozen=True)
class Listing:
    """What a folder holds: bytes by path below it by class, and the files left out; nothing is opened.

    `places` names the folder of each part that the images are divided into already.
    """

    folder: Path
    bytes: dict[str, dict[str, int]]
    left_out: tuple[str, ...]
    places: dict[str, str]

    def files(self) -> Iterator[tuple[str, int]]:
        """Yield each image's path below the folder, and its size in bytes, in the order of the dataset."""
        for sizes in self.bytes.values():
            yield from sizes.items()

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class."""
        return {label: len(sizes) for label, sizes in self.bytes.items()}

    @cached_property
    def parts(self) -> dict[str, dict[str, int]]:
        """Images by part and class, where the folder is divided; otherwise nothing."""
        return {
            part: {label: sum(name.startswith(f"{place}/") for name in sizes) for label, sizes in self.bytes.items()}
            for part, place in self.places.items()
        }

    @property
    def without(self) -> str:
        """How many files are left out, by their suffix; nothing where none is."""
        if not self.left_out:
            return ""
        kinds = Counter(Path(name).suffix.lower() or "without a suffix" for name in self.left_out)
        beside = dict.fromkeys(SUFFIXES, " beside the folders of classes")
        told = _several([f"{count} {kind}{beside.get(kind, '')}" for kind, count in kinds.most_common()], ", ")
        heif = [suffix for suffix in HEIF if suffix in kinds and suffix not in SUFFIXES]
        hint = f"; {', '.join(heif)} too, once {HEIF_PACKAGE} is installed (pip install {HEIF_PACKAGE})" if heif else ""
        total = len(self.left_out) + sum(self.counts.values())
        return f"{len(self.left_out)} of {total} left out: {told}. Read are {', '.join(SUFFIXES)}{hint}"


@dataclass(frozen=True)
class Report:
    """What was found in a folder when every image in it was decoded; paths are below the folder.

    `problems` says of a file why it can't be used. `repeated` groups files that look the
    same. `faint` are nearly one grey. `tops` are the values that become white.
    """

    path: str
    found: Listing
    problems: dict[str, str]
    repeated: tuple[tuple[str, ...], ...]
    faint: tuple[str, ...]
    tops: Tops

    @property
    def counts(self) -> dict[str, int]:
        """The image files of each class, those with problems too."""
        return self.found.counts

    @property
    def message(self) -> str | None:
        """One line that names the files that can't be used and says what to do; None where there are none."""
        return _message(self.path, self.problems, sum(self.counts.values())) if self.problems else None

    @property
    def notes(self) -> list[str]:
        """What a user should know of these images before anything is made of them, a sentence or two each."""
        found, told = self.found, []
        if found.without:
            told.append(f"{found.without}.")
        if found.places:
            shares = [f"{found.places[part]} ({sum(images.values())})" for part, images in found.parts.items()]
            missing = " and ".join(part for part in PART_NAMES if part not in found.places)
            drawn = f"; for {missing}, images are drawn from {found.places['train']}" if missing else ""
            told.append(f"The images are divided already, and stay so with every seed: {', '.join(shares)}{drawn}.")
        for kind, top in self.tops.items():
            what = "Floating-point grey" if kind == "f" else "Values of more than 8 bits"
            bits = f" ({top.bit_length()} bits)" if top > 1 else ""
            told.append(f"{what}: of all such images together 0 to {top}{bits} are in use, and become black to white.")
        if contradicting := [group for group in self.repeated if len({_label(name) for name in group}) > 1]:
            told.append(
                "The same picture, or nearly, in two classes, so that one of its labels may be wrong; keep it in "
                f"one of them: {_groups(contradicting)}."
            )
        if flattering := [group for group in self.repeated if group not in contradicting]:
            told.append(
                f"The same picture, or nearly, several times ({_groups(flattering)}): "
                + (
                    "one can train while another tests, which flatters."
                    if found.places
                    else "those of a group train together, or test together."
                )
            )
        if self.faint:
            told.append(
                f"{len(self.faint)} of {sum(self.counts.values())} pictures are nearly one grey (standard deviation "
                f"below {FAINT} of 256 levels), so that little can be learnt from them: {_several(self.faint, ', ')}."
            )
        return told


# --- the folder, without opening a file ----------------------------------------------------


def class_counts(parameters: Parameters) -> dict[str, int]:
    """Return the number of images of each class. Raises UnusableFiles as `listing` does."""
    return listing(parameters.path).counts


def parts(parameters: Parameters) -> dict[str, dict[str, int]]:
    """Return the images by part and class of a folder that is divided already; of others nothing."""
    return listing(parameters.path).parts


def files(parameters: Parameters) -> list[Path]:
    """Return all image files. Raises UnusableFiles as `listing` does."""
    found = listing(parameters.path)
    return [found.folder / name for name, _ in found.files()]


def digest(parameters: Parameters) -> str:
    """Return 16 hexadecimal digits of the files' classes, names and sizes, wherever the folder stands.

    Where HEIC is among them they are also of the version of what reads it.
    """
    told: list[Any] = list(listing(parameters.path).files())
    if any(name.lower().endswith(HEIF) for name, _ in told):
        told.append(metadata.version(HEIF_PACKAGE))
    text = json.dumps(told)
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
    _refuse_classes(found, path)
    return found


def _list(folder: Path, path: str) -> Listing:
    classes, others = _entries(folder)
    if not classes:
        lying = sum(_is_image(entry.name) for entry in others)
        hint = f"; its {lying} image files belong into such folders" if lying else ""
        raise UnusableFiles(f"'{path}' holds no folders; it needs one folder of images for each class{hint}")
    places = _places(classes, path)
    left_out = [entry.name for entry in others]
    sizes: dict[str, dict[str, int]] = {}
    refused: dict[str, str] = {}
    for place in places.values():
        classes, others = _entries(folder / place)
        left_out += [f"{place}/{entry.name}" for entry in others]
        _list_classes(classes, f"{place}/", path, sizes, left_out, refused)
    if not places:
        _list_classes(classes, "", path, sizes, left_out, refused)
    if refused:
        raise UnusableFiles(_message(path, refused, sum(map(len, sizes.values())) + len(refused)))
    return Listing(folder, sizes, tuple(left_out), places)


def _places(folders: list[os.DirEntry[str]], path: str) -> dict[str, str]:
    """Return the folder of each part of images that are divided already; nothing where the folders are classes.

    Raises UnusableFiles where they are some of both, or a part has no folders of classes.
    """
    found = {part: [entry for entry in folders if entry.name.lower() in PART_NAMES[part]] for part in PART_NAMES}
    named = [entry for entries in found.values() for entry in entries]
    others = [entry.name for entry in folders if entry not in named]
    if not found["train"] or len(named) < 2 or (others and not _entries(Path(found["train"][0]))[0]):
        return {}
    quoted = " and ".join(f"'{entry.name}'" for entry in named)
    for surplus in (others, *([entry.name for entry in entries[1:]] for entries in found.values())):
        if surplus:
            raise UnusableFiles(
                f"'{path}' is divided into {quoted}, which are no classes, but holds '{surplus[0]}' too; move it away"
            )
    for entry in named:
        if not _entries(Path(entry))[0]:
            raise UnusableFiles(
                f"'{path}' is divided into {quoted}, which are no classes; but '{entry.name}' holds no folders, and a "
                "part needs one folder of images for each class: sort its images into such folders, or move it away "
                f"and give '{Path(path) / found['train'][0].name}'"
            )
    return {part: entries[0].name for part, entries in found.items() if entries}


def _list_classes(
    classes: list[os.DirEntry[str]],
    place: str,
    path: str,
    sizes: dict[str, dict[str, int]],
    left_out: list[str],
    refused: dict[str, str],
) -> None:
    """Add what the folders of classes in one place hold to sizes by class, to what is left out and what is refused."""
    for label in classes:
        deeper, entries = _entries(Path(label))
        if deeper:
            raise UnusableFiles(
                f"'{path}': '{place}{label.name}' holds the folder '{deeper[0].name}', but the folder of a class holds "
                f"image files alone; move it away, or give '{Path(path) / place / label.name}' if that is where the "
                "classes are"
            )
        of_class = sizes.setdefault(label.name, {})
        for entry in entries:
            name = f"{place}{label.name}/{entry.name}"
            if not _is_image(entry.name):
                left_out.append(name)
            elif reason := _refusal(entry, name):
                refused[name] = reason
            else:
                of_class[name] = entry.stat().st_size


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


def _refuse_classes(found: Listing, path: str) -> None:
    counts = found.counts
    if len(counts) < FEWEST_CLASSES:
        raise UnusableFiles(
            f"'{path}' holds one class only, '{next(iter(counts))}'; allowed: {FEWEST_CLASSES} classes or more, "
            "each a folder of images"
        )
    if len(counts) > MOST_CLASSES:
        raise UnusableFiles(f"'{path}' holds {len(counts)} folders; allowed: up to {MOST_CLASSES} classes")
    if not found.places:
        few = {label: count for label, count in counts.items() if count < FEWEST_IMAGES}
        needs = f"{FEWEST_IMAGES} image files or more, one to train, one to validate and one to test"
    else:
        most = FEWEST_IMAGES if len(found.places) < len(PART_NAMES) else 1  # for what is drawn from train
        few = {
            f"{found.places[part]}/{label}": count
            for part, images in found.parts.items()
            for label, count in images.items()
            if count < (most if part == "train" else 1)
        }
        needs = f"1 image file or more in each part, and {most} or more in '{found.places['train']}'"
    if few:
        named = _several([f"'{name}' ({count})" for name, count in few.items()], ", ")
        told = f" {found.without}." if found.without else ""
        raise UnusableFiles(
            f"'{path}' has too few images of {named}; a class needs {needs} (known by {', '.join(SUFFIXES)}); add "
            f"some, or move the folder away.{told}"
        )


def _message(path: str, problems: dict[str, str], total: int) -> str:
    named = _several([f"{_shown(name)} ({reason})" for name, reason in problems.items()], "; ")
    return (
        f"'{path}': {len(problems)} of {total} image files can't be used: {named}. "
        "Mend them or move them out of the folder, then run again"
    )


def _label(name: str) -> str:
    """Return the class that an image belongs to, from its path below the folder."""
    return name.split("/")[-2]


def _groups(groups: list[tuple[str, ...]]) -> str:
    return _several([" = ".join(map(_shown, group)) for group in groups], "; ")


def _several(texts: Sequence[str], separator: str) -> str:
    more = [f"and {len(texts) - NAMED} more"] if len(texts) > NAMED else []
    return separator.join([*texts[:NAMED], *more])


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


# --- the images ----------------------------------------------------------------------------


def check(path: str) -> Report:
    """Decode every image of a folder and return what was found, without making anything of it.

    Raises UnusableFiles, as `listing` does, for what is wrong with the folder as a whole.
    """
    return _read(path, 3, LOOKED)[0]


def channels(parameters: Parameters) -> int:
    """Return the channels of the images."""
    return parameters.channels


def prepare(parameters: Parameters, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images (n, channels, size, size) uint8, labels (n,) int64, class after class, by file name, and groups.

    Groups (n,) int64 say which images look the same: they have one number, and all others 0.
    Raises UnusableFiles, with one message for all of them, where files can't be used.
    """
    report, images = _read(parameters.path, parameters.channels, size)
    if report.message:
        raise UnusableFiles(report.message)
    labels = np.arange(len(report.counts), dtype=np.int64)
    place = {name: number for number, (name, _) in enumerate(report.found.files())}
    groups = np.zeros(len(images), np.int64)
    for number, names in enumerate(report.repeated, 1):
        groups[[place[name] for name in names]] = number
    return np.stack(images), np.repeat(labels, list(report.counts.values())), groups


def _read(path: str, channels: int, size: int) -> tuple[Report, list[np.ndarray]]:
    """Return the report of a folder, and those of its images (channels, size, size) uint8 that can be used."""
    found = listing(path)
    images: list[np.ndarray] = []
    problems: dict[str, str] = {}
    faint: list[str] = []
    looks: dict[str, np.ndarray] = {}
    tops = tops_of(found.folder / name for name, _ in found.files())
    for name, length in found.files():
        if not length:
            problems[name] = "empty, 0 bytes"
            continue
        try:
            image = read_image(found.folder / name, tops, max(size, LOOKED))
        except Exception as error:  # what Pillow raises of broken files is any of a dozen types
            problems[name] = _reason(error)
            continue
        grey = image.convert("L")
        looks[name] = _look(grey)
        if _spread(grey) < FAINT:
            faint.append(name)
        square = _square(image if channels == 3 else grey, size)
        images.append(square.transpose(2, 0, 1) if channels == 3 else square[None])
    return Report(path, found, problems, alike(looks), tuple(faint), tops), images


def _look(grey: "Image.Image") -> np.ndarray:
    """Return what an image looks like, as a difference hash of 32 bytes: where it gets brighter to the right.

    One that does so nowhere, or everywhere, or is too small for that, is told by a digest of its pixels.
    """
    small = np.asarray(grey.resize((17, 16)), np.int16)
    brighter = small[:, 1:] > small[:, :-1] + NOISE
    if min(grey.size) >= SMALLEST and ALIKE < brighter.sum() < brighter.size - ALIKE:
        return np.packbits(brighter)
    return np.frombuffer(hashlib.sha256(f"{grey.size}".encode() + grey.tobytes()).digest(), np.uint8)


def alike(looks: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of names that look the same: hashes that differ in at most ALIKE of 256 bits."""
    names, hashes = list(looks), np.stack(list(looks.values())) if looks else np.empty((0, 32), np.uint8)
    kind = {name: number for number, name in enumerate(names)}
    for number in range(len(names)):
        apart = np.bitwise_count(hashes[number + 1 :] ^ hashes[number]).sum(1)
        for other in np.flatnonzero(apart <= ALIKE) + number + 1:
            kind[names[other]] = min(kind[names[number]], kind[names[other]])
    groups: dict[int, list[str]] = {}
    for name, number in kind.items():
        groups.setdefault(number, []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _spread(grey: "Image.Image") -> float:
    """Return the standard deviation of an image's grey levels."""
    counts, levels = np.array(grey.histogram()), np.arange(256)
    mean = counts @ levels / counts.sum()
    return float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"not an image of {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())[:100]
    return text or type(error).__name__


def tops_of(files: Iterable[Path]) -> dict[str, int]:
    """Return what is to become white of images of more than 8 bits: the smallest of TOPS that holds all of them.

    Floating-point grey (`f`) may have 1 as well. Files that can't be used count for nothing.
    """
    tops: dict[str, int] = {}
    for file in files:
        with contextlib.suppress(Exception):
            with _opened(file) as opened:
                if not _is_deep(opened):
                    continue
                kind = "f" if opened.mode == "F" else "i"
            if tops.get(kind) != TOPS[-1]:
                values: Any = _decoded(file)[1]
                high = _highest(values if values.ndim == 2 else values[..., :3])
                tops[kind] = max(tops.get(kind, 0), next(top for top in (1, *TOPS)[kind == "i" :] if high <= top))
    return tops


def read_image(file: Path, tops: Tops, size: int) -> "Image.Image":
    """Return an image file as RGB, as this module's docstring says; JPEGs may be smaller, but twice the `size` or more.

    Raises whatever Pillow does where the file is no image, is damaged or cut short, and ValueError where it is too
    large, or holds values beyond 0…65535.
    """
    from PIL import Image

    image, values = _decoded(file, size)
    if values is not None:
        image = Image.fromarray(_eight_bits(values, tops, image.info.get("transparency")))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def _decoded(file: Path, size: int | None = None) -> tuple["Image.Image", np.ndarray | None]:
    """Return an image, upright, and where it has more than 8 bits its values: (h, w), or colours (h, w, 3 or 4).

    Of colours of 16 bits Pillow gives the upper byte; the file is decoded again for the lower one.
    """
    with _opened(file, size) as opened:
        lower = _lower(opened)
        image = _upright(opened)
    if image.mode == "F" or image.mode.startswith("I"):
        return image, np.asarray(image)
    if not lower:
        return image, None
    with _opened(file) as opened:
        opened.tile = [tile._replace(args=lower) for tile in opened.tile]
        low = np.asarray(_upright(opened))
    if lower == "RGBA":
        low = low[..., [1, 1, 1, 3]]
    return image, np.asarray(image).astype(np.uint16) * 256 + low


def _is_deep(opened: "ImageFile.ImageFile") -> bool:
    return opened.mode == "F" or opened.mode.startswith("I") or _lower(opened) is not None


def _lower(opened: "ImageFile.ImageFile") -> Any:
    """Return what makes Pillow give the lower byte of each colour of 16 bits; None of an image of another kind."""
    if not opened.tile:
        return None
    args = opened.tile[0].args
    raw, *more = (args,) if isinstance(args, str) else args or ("",)
    bands, _, order = str(raw).partition(";16")
    if bands == "LA" and order == "B":
        return "RGBA"  # the four bytes of a pixel as they are
    swapped = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    if not bands.startswith("RGB") or order not in swapped:
        return None
    lower = f"{bands};16{swapped[order]}"
    return (lower, *more) if more else lower


def _upright(opened: "ImageFile.ImageFile") -> "Image.Image":
    """Decode an image, turned as a camera's orientation says where that can be read."""
    from PIL import ImageOps

    opened.load()
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(opened, in_place=True)
    return opened


@contextlib.contextmanager
def _opened(file: Path, size: int | None = None) -> Iterator["ImageFile.ImageFile"]:
    """Open an image file, nothing of it decoded. Raises ValueError where it has too many pixels.

    A JPEG is to be decoded at the smallest scale that has twice the `size`.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "HEIF" in READ:
            importlib.import_module("pillow_heif").register_heif_opener()
        # not by its path: Pillow 13.0 maps uncompressed grey TIFF files into memory, and garbles those lying on a side
        with file.open("rb") as stream:
            signature = stream.read(len(PNG))
            stream.seek(0)
            most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # it refuses JPEGs before they can be reduced
            try:
                found = Image.open(_without_extras(stream) if signature == PNG else stream, formats=FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = most
            pixels, is_jpeg = math.prod(found.size), found.format in ("JPEG", "MPO")
            if most and pixels > (limit := most * (4 if is_jpeg else 2)):
                raise ValueError(f"{pixels:,} pixels; allowed: up to {limit:,}")
            share = min(2 * size / min(found.size), 1) if size else 1
            if most and pixels > most:
                share = min(share, 0.5)
            if is_jpeg and share < 1:
                found.draft(None, (math.floor(found.width * share), math.floor(found.height * share)))
            yield found


PNG = b"\x89PNG\r\n\x1a\n"
ORIENTING = (b"eXIf", b"zTXtRaw profile type exif\0", b"tEXtRaw profile type exif\0", b"iTXtXML:com.adobe.xmp\0")


def _without_extras(stream: IO[bytes]) -> IO[bytes]:
    """Return a PNG without what says nothing of its pixels or orientation, which Pillow refuses where it is large."""
    content = memoryview(stream.read())
    kept, at = [content[: len(PNG)]], len(PNG)
    while at < len(content):
        end = at + int.from_bytes(content[at : at + 4], "big") + 12
        name = bytes(content[at + 4 : at + 40])
        if name[:1].isupper() or name.startswith((b"tRNS", *ORIENTING)):
            kept.append(content[at:end])
        at = end
    return io.BytesIO(b"".join(kept))


def _highest(values: Any) -> float:
    """Return the largest value of an image. Raises ValueError where one isn't within 0 to 65535."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= TOPS[-1]):
        raise ValueError(f"grey values from {low:g} to {high:g}; allowed: 0 to {TOPS[-1]}")
    return float(high)


def _eight_bits(values: np.ndarray, tops: Tops, transparent: Any) -> np.ndarray:
    """Return values of more than 8 bits as uint8, the value or colour `transparent` as white."""
    _highest(values)
    scaled = np.rint(values.astype(np.float64) * 255 / tops["f" if values.dtype.kind == "f" else "i"])
    if values.shape[2:] == (4,):
        scaled[..., 3] = values[..., 3] >> 8
    if transparent is not None:
        scaled[(values == transparent).reshape(*values.shape[:2], -1).all(-1)] = 255
    return scaled.astype(np.uint8)


def _square(image: "Image.Image", size: int) -> np.ndarray:
    """Return the largest square in the middle of an image, resized to (size, size) uint8."""
    from PIL import Image

    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    if side != size:
        square = square.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(square)
