"""Archives of images, unpacked into one folder and nowhere else.

Only plain files are ever written, each below that folder: no link, no device, no permission is taken from an archive,
so neither is there anything to follow when the next file is written. A link to a file of the same archive becomes a
copy of that file. The folder appears whole or not at all, and again only where the archive has changed.
"""

import hashlib
import io
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from lzma import LZMAError
from pathlib import Path
from typing import IO

from whypretrain.data.datasets.folder import LITTER
from whypretrain.data.problems import UnusableFiles

TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
SUFFIXES = (".zip", *TARS)

MOST_FILES = 200_000
MOST_BYTES = 20 * 10**9
CHUNK = 1 << 20
ORIGIN = ".archive"  # in the folder: the SHA-256 of the archive that it was unpacked from

# a member: its name, what it can't be unpacked for, and how it is opened (None for a folder)
Member = tuple[str, str | None, Callable[[], IO[bytes] | None] | None]


def is_archive(path: Path) -> bool:
    """Whether a path is that of an archive, by its suffix."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack an archive into a folder, unless it has been, and return the folder that its classes are in.

    Raises UnusableFiles, naming the member, where one leads out of the folder or is neither file nor folder, and where
    the archive is damaged, encrypted or too large; the folder is then as it was before.
    """
    try:
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _origin(folder) != digest:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part") as part:
                whole = Path(part, "images")
                whole.mkdir()
                _unpack(archive, whole)
                (whole / ORIGIN).write_text(digest, encoding="utf-8")
                if folder.exists():
                    folder.rename(Path(part, "before"))
                whole.rename(folder)
    except OSError as error:
        where = f" ({Path(error.filename).name})" if error.filename and Path(error.filename) != archive else ""
        raise UnusableFiles(f"'{archive}' can't be unpacked: {error.strerror or error}{where}") from None
    return _top(folder)


def _origin(folder: Path) -> str:
    try:
        return (folder / ORIGIN).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _top(folder: Path) -> Path:
    """Return the folder itself, or the one inside it that is all there is and holds folders."""
    shown = [entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name not in LITTER]
    if len(shown) == 1 and shown[0].is_dir() and any(entry.is_dir() for entry in shown[0].iterdir()):
        return _top(shown[0])
    return folder


# --- members -------------------------------------------------------------------------------


def _unpack(archive: Path, folder: Path) -> None:
    left, files = MOST_BYTES, 0
    name = ""
    try:
        with _opened(archive) as members:
            for name, reason, opened in members:
                if refusal := _leads_out(name) or reason:
                    raise UnusableFiles(
                        f"'{archive}': {name!a} {refusal}. Nothing was unpacked; look into the archive, and if you "
                        "trust it unpack it yourself and give the folder"
                    )
                path = folder.joinpath(*(part for part in name.split("/") if part not in ("", ".")))
                if opened is None:
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                files += 1
                path.parent.mkdir(parents=True, exist_ok=True)
                left -= _copy(archive, name, opened, path, left)
                if files > MOST_FILES:
                    raise _too_large(archive, f"{MOST_FILES:,} files")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, MemoryError, ValueError) as error:
        reason = str(error).split("\n")[0].strip(":") or "cut short"
        raise UnusableFiles(f"'{archive}' is damaged, or no archive of its suffix: {reason}") from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile, of what is encrypted or packed in another way
        raise UnusableFiles(f"'{archive}': {name!a} can't be unpacked: {error}") from None


def _copy(archive: Path, name: str, opened: Callable[[], IO[bytes] | None], path: Path, most: int) -> int:
    """Write one member; return its bytes, which are counted as they come: what an archive says of them may be wrong."""
    try:
        source = opened()
    except (KeyError, RecursionError):
        source = None
    if source is None:
        raise UnusableFiles(
            f"'{archive}': {name!a} is a link to what is no file of the archive. Nothing was unpacked; pack the "
            "files themselves (tar --dereference --hard-dereference)"
        )
    written = 0
    with source, path.open("wb") as target:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > most:
                raise _too_large(archive, f"{MOST_BYTES:,} bytes")
            target.write(chunk)
    return written


def _too_large(archive: Path, limit: str) -> UnusableFiles:
    return UnusableFiles(
        f"'{archive}' holds more than {limit}, the limit for what is unpacked here. Nothing was kept; if that is "
        "right, unpack it yourself and give the folder"
    )


def _leads_out(name: str) -> str | None:
    """Return why a member's name isn't one below the folder, on any operating system; None where it is."""
    parts = re.split(r"[/\\]", name)
    if not parts[0] or re.match("[A-Za-z]:", name):
        return "is an absolute path"
    return "leads upwards, out of the folder" if ".." in parts else None


def _opened(archive: Path) -> AbstractContextManager[Iterator[Member]]:
    return _zip(archive) if archive.name.lower().endswith(".zip") else _tar(archive)


@contextmanager
def _zip(archive: Path) -> Iterator[Iterator[Member]]:
    with zipfile.ZipFile(archive) as file:
        yield (_in_zip(file, info) for info in file.infolist())


def _in_zip(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    name = info.filename.replace("\\", "/")  # as some programs on Windows write it
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where it was packed by a program that knows no kinds
    reason = None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "is a link or a device, not a file or folder"
    return name, reason, None if name.endswith("/") else partial(file.open, info)


@contextmanager
def _tar(archive: Path) -> Iterator[Iterator[Member]]:
    with tarfile.open(archive) as file:
        yield (_in_tar(file, info) for info in file)
        if type(file.fileobj) is io.BufferedReader:  # not compressed, so nothing else tells that its end is missing
            file.fileobj.seek(file.offset)
            if file.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("cut short")


def _in_tar(file: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    plain = info.isreg() or info.isdir() or info.islnk() or info.issym()
    reason = None if plain else "is a device or a pipe, not a file or folder"
    return info.name, reason, None if info.isdir() else partial(file.extractfile, info)
