"""The user's own images: a folder with one folder of image files for each class.

    images/cat/1.jpg  images/cat/2.png  images/dog/1.jpg …

A folder may be divided already, into `train`, `val` (or `valid`, `validation`, `dev`) and
`test`, each with the same folders of classes: then `val` validates and `test` tests, with
every seed. Of the two one may be missing; its images are drawn from `train`.

Classes are named as their folders, sorted; images are sorted by class, part and file name.
Image files are known by their suffix (see `decoding.SUFFIXES`), in upper or lower case; HEIC is read
where pillow-heif is installed. All other files, and hidden ones, are left out. A folder
inside a class's folder is refused, for what it would mean can't be guessed. Links to files
and folders are followed, and end where they are followed: nothing below a class's folder is
ever entered.

`whypretrain.data.decoding` says what becomes of an image.

Images that look the same (see `decoding.alike`) stand in one group, and no split parts them.
"""

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from whypretrain.data import decoding
from whypretrain.data.problems import UnusableFiles

PACKAGES = ("pillow",)  # what the bytes depend on beside numpy

SOURCE = "The user's own images, from the folder that the parameter `path` names"
LICENCE = "Not known: the user's own images"

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

LOOKED = 64  # the size at which images are looked at, pixels
FAINT = 4  # a standard deviation of the grey levels, of 256, below which a picture is nearly one grey


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
        beside = dict.fromkeys(decoding.SUFFIXES, " beside the folders of classes")
        told = _several([f"{count} {kind}{beside.get(kind, '')}" for kind, count in kinds.most_common()], ", ")
        heif = [suffix for suffix in decoding.HEIF if suffix in kinds and suffix not in decoding.SUFFIXES]
        hint = (
            f"; {', '.join(heif)} too, once {decoding.HEIF_PACKAGE} is installed (pip install {decoding.HEIF_PACKAGE})"
            if heif
            else ""
        )
        total = len(self.left_out) + sum(self.counts.values())
        return f"{len(self.left_out)} of {total} left out: {told}. Read are {', '.join(decoding.SUFFIXES)}{hint}"


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
    tops: decoding.Tops

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
    if any(name.lower().endswith(decoding.HEIF) for name, _ in told):
        told.append(metadata.version(decoding.HEIF_PACKAGE))
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
    return name.lower().endswith(decoding.SUFFIXES)


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
            f"'{path}' has too few images of {named}; a class needs {needs} (known by "
            f"{', '.join(decoding.SUFFIXES)}); add some, or move the folder away.{told}"
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
    tops = decoding.tops_of(found.folder / name for name, _ in found.files())
    for name, length in found.files():
        if not length:
            problems[name] = "empty, 0 bytes"
            continue
        try:
            image = decoding.read_image(found.folder / name, tops, max(size, LOOKED))
        except Exception as error:  # what Pillow raises of broken files is any of a dozen types
            problems[name] = decoding.reason(error)
            continue
        grey = image.convert("L")
        looks[name] = decoding.look(grey)
        if decoding.spread(grey) < FAINT:
            faint.append(name)
        images.append(decoding.square(image if channels == 3 else grey, size))
    return Report(path, found, problems, decoding.alike(looks), tuple(faint), tops), images
