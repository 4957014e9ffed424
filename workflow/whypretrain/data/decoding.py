"""Image files as pixels of 8 bits.

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
- colours (palette, CMYK, …) become RGB, grey ones three equal values; a folder with
  `channels: 1` takes the luminance of ITU-R 601, as Pillow's "L";
- the largest square in its middle is resized by Pillow's BILINEAR filter: a triangle as
  wide as an output pixel needs (antialiased) where it shrinks, linear interpolation
  where it enlarges; a square image that has the size already keeps its bytes. A JPEG is
  decoded at the smallest scale of 1, 1/2, 1/4 and 1/8 that has twice the size.
"""

import contextlib
import hashlib
import importlib.util
import io
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image, ImageFile

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
TOPS = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
ALIKE = 10  # bits of 256
SMALLEST = 48  # side of an image whose look can be told, pixels
NOISE = 3  # levels of 256 by which flat places differ for nothing

Tops = Mapping[str, int]  # what becomes white, of floating-point grey (`f`) and of whole numbers of more bits (`i`)


def look(grey: "Image.Image") -> np.ndarray:
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


def spread(grey: "Image.Image") -> float:
    """Return the standard deviation of an image's grey levels."""
    counts, levels = np.array(grey.histogram()), np.arange(256)
    mean = counts @ levels / counts.sum()
    return float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))


def reason(error: Exception) -> str:
    """Say in a few words why an image file can't be read."""
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


def square(image: "Image.Image", size: int) -> np.ndarray:
    """Return the largest square in the middle of an image, resized: (channels, size, size) uint8."""
    from PIL import Image

    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    middle = image.crop((left, top, left + side, top + side))
    if side != size:
        middle = middle.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(middle).reshape(size, size, -1).transpose(2, 0, 1)
