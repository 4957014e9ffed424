"""The user's own images: converted as documented, or named in one message that says how to mend it."""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, fresh, plan_of, put, tiny, told_to
from PIL import Image

from whypretrain.config import models as config
from whypretrain.data import decoding, partition
from whypretrain.data.datasets import digits, folder
from whypretrain.data.problems import UnusableFiles
from whypretrain.data.tasks import source_images
from whypretrain.files.origins import canonical
from whypretrain.files.storage import read_tensors

RAMP = np.linspace(0, 255, 12 * 12).round().astype(np.uint8).reshape(12, 12)


def parameters(path: Path, channels: int = 1) -> folder.Parameters:
    return folder.Parameters(path=str(path), channels=channels)


def prepared(path: Path, size: int, channels: int = 1) -> np.ndarray:
    return folder.prepare(parameters(path, channels), size)[0]


def write(path: Path, image: Image.Image | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or Image.fromarray(RAMP)).save(path, **options)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two classes with three images each."""
    for label in ("dog", "cat"):
        for number in range(3):
            write(tmp_path / "images" / label / f"{number}.png", Image.fromarray(RAMP // (number + 1)))
    return tmp_path / "images"


def grey(path: Path) -> np.ndarray:
    """Return an image's grey levels, as in a folder of no others."""
    return np.asarray(decoding.read_image(path, decoding.tops_of([path]), 64).convert("L"))


def refusal(path: Path) -> str:
    with pytest.raises(UnusableFiles) as caught:
        folder.listing(str(path))
    return str(caught.value)


# --- the same images in another form -------------------------------------------------------


@pytest.mark.parametrize("size", [8, 16])
def test_a_known_dataset_written_out_as_files_is_the_very_same_dataset(tmp_path: Path, size: int):
    known, labels = digits.prepare(digits.Parameters(), 8)
    for index, (image, label) in enumerate(zip(known, labels, strict=True)):
        write(tmp_path / str(label) / f"{index:04}.png", Image.fromarray(image[0]))
    found, found_labels, _ = folder.prepare(parameters(tmp_path), size)
    order = np.argsort(labels, kind="stable")  # a folder has class after class
    np.testing.assert_array_equal(found_labels, labels[order])
    np.testing.assert_array_equal(found, digits.prepare(digits.Parameters(), size)[0][order])
    assert found.dtype == np.uint8
    assert found_labels.dtype == np.int64
    assert folder.class_counts(parameters(tmp_path)) == digits.class_counts(digits.Parameters())


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "gif", "tif", "tiff", "webp"])
def test_formats_without_loss_keep_every_grey_level(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(grey(path), RAMP)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_grey_in_colour_modes_is_the_same_grey(tmp_path: Path, mode: str):
    np.testing.assert_array_equal(grey(write(tmp_path / "a.png", Image.fromarray(RAMP).convert(mode))), RAMP)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path):
    values = np.array([[0, 128, 129, 257], [300, 32768, 65406, 65535]], dtype=np.uint16)
    expected = [[0, 0, 1, 1], [1, 128, 254, 255]]  # v / 257, rounded
    assert grey(write(tmp_path / "a.png", Image.fromarray(values))).tolist() == expected
    assert grey(write(tmp_path / "a.tif", Image.fromarray(values))).tolist() == expected
    big_endian = Image.frombytes("I;16B", (4, 2), values.astype(">u2").tobytes())
    assert grey(write(tmp_path / "b.tif", big_endian)).tolist() == expected
    assert grey(write(tmp_path / "c.tif", Image.fromarray(values.astype(np.int32)))).tolist() == expected
    # the clipping that this is not
    with Image.open(tmp_path / "c.tif") as clipped:
        assert np.asarray(clipped.convert("L")).tolist() != expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 0.5, 1]], [[0, 128, 255]]),
        ([[0, 1, 127.4, 255]], [[0, 1, 127, 255]]),
        ([[0, 257, 65535]], [[0, 1, 255]]),
    ],
)
def test_floating_point_grey_has_the_first_whole_range_that_holds_it(tmp_path: Path, values: Any, expected: Any):
    path = write(tmp_path / "a.tif", Image.fromarray(np.array(values, dtype=np.float32)))
    assert grey(path).tolist() == expected


TWELVE = np.linspace(0, 4095, 12 * 12).round().astype(np.uint16).reshape(12, 12)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_more_than_8_bits_are_scaled_by_what_the_folder_uses(images: Path, bits: int):
    values = (TWELVE >> 12 - bits if bits < 12 else TWELVE.astype(np.uint32) << bits - 12).astype(np.uint16)
    write(images / "cat" / "0.png", Image.fromarray(values))
    write(images / "dog" / "0.tif", Image.fromarray(values // 2))  # scaled as the brightest is, not by itself
    found = prepared(images, 12)
    top = 2**bits - 1
    np.testing.assert_array_equal(found[0, 0], np.rint(values * (255 / top)))
    np.testing.assert_array_equal(found[4, 0], np.rint(values // 2 * (255 / top)))
    (note,) = (note for note in folder.check(str(images)).notes if "more than 8 bits" in note)
    assert f"0 to {top} ({bits} bits)" in note


def sixteen_bit_png(values: np.ndarray, kind: int) -> bytes:
    """Return a PNG of 16 bits, which Pillow can't write of more than one channel."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(rows, depth=16, kind=kind, size=values.shape[:2])


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(rows: bytes, *, depth: int = 8, kind: int = 0, size: tuple[int, ...] = (12, 12), **extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), extra.get("before", b""), chunk(b"IDAT", zlib.compress(rows))]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts, extra.get("after", b""), chunk(b"IEND", b"")])


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_twelve_bits_in_colours_and_with_transparency_keep_their_levels(tmp_path: Path, kind: int, channels: int):
    values = np.repeat(TWELVE[..., None], channels, axis=2)
    if kind in (4, 6):
        values[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(sixteen_bit_png(values, kind))
    np.testing.assert_array_equal(grey(tmp_path / "a.png"), np.rint(TWELVE * (255 / 4095)))


def test_a_transparent_colour_of_sixteen_bits_is_white(tmp_path: Path):
    values = np.array([[[0, 0, 0], [9, 8, 7], [9, 8, 8]]], dtype=np.uint16)
    rows = b"\0" + values.astype(">u2").tobytes()
    key = chunk(b"tRNS", struct.pack(">3H", 9, 8, 7))
    (tmp_path / "a.png").write_bytes(png(rows, depth=16, kind=2, size=(1, 3), before=key))
    assert grey(tmp_path / "a.png").tolist() == [[0, 255, 8]]


def test_floating_point_grey_has_one_range_in_a_folder(images: Path):
    write(images / "cat" / "0.tif", Image.fromarray(np.full((12, 12), 0.5, dtype=np.float32)))
    write(images / "cat" / "1.tif", Image.fromarray(np.full((12, 12), 255, dtype=np.float32)))
    found = prepared(images, 12)
    assert (found[1, 0].max(), found[3, 0].max()) == (0, 255)
    assert "0 to 255 (8 bits) are in use" in folder.check(str(images)).notes[0]


def test_pictures_that_are_nearly_one_grey_are_named(images: Path):
    write(images / "cat" / "black.png", Image.fromarray((RAMP > 128).astype(np.uint8)))  # a mask of 0 and 1
    write(images / "dog" / "dull.png", Image.fromarray(RAMP // 24 + 100))
    assert folder.check(str(images)).faint == ("cat/black.png", "dog/dull.png")
    assert "2 of 8 pictures are nearly one grey" in " ".join(folder.check(str(images)).notes)


# --- what stands beside the pixels ---------------------------------------------------------

LARGE = bytes(3 * 10**6)
EXTRAS = {
    "a profile": chunk(b"iCCP", b"x\0\0" + zlib.compress(LARGE)),
    "a profile that is damaged": chunk(b"iCCP", b"x\0\1none"),
    "a packed text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LARGE)),
    "a text in Unicode": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LARGE)),
    "a text of 70 MB": chunk(b"tEXt", b"Comment\0" + b"a" * 70 * 10**6),
    "a damaged check sum": chunk(b"tEXt", b"Comment\0a")[:-1] + b"\0",
    "a camera's data that is damaged": chunk(b"eXIf", b"no camera's data"),
}


@pytest.mark.parametrize("what", EXTRAS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_what_stands_beside_the_pixels_of_a_png_is_no_reason_to_refuse_them(tmp_path: Path, what: str, place: str):
    rows = b"".join(b"\0" + row.tobytes() for row in RAMP)
    (tmp_path / "a.png").write_bytes(png(rows, **{place: EXTRAS[what]}))  # type: ignore[arg-type]
    np.testing.assert_array_equal(grey(tmp_path / "a.png"), RAMP)


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp"])
def test_a_large_profile_is_no_reason_to_refuse_an_image_of_another_format(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"a.{suffix}", icc_profile=LARGE, **lossless(suffix))
    np.testing.assert_allclose(grey(path), RAMP, atol=8)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_photo_of_108_megapixels_is_read(images: Path, suffix: str):
    image = Image.new("L", (12000, 9000), 40)
    image.paste(200, (6000, 0, 12000, 9000))
    write(images / "cat" / f"photo.{suffix}", image)
    assert folder.check(str(images)).message is None
    pixels = prepared(images, 8)[3, 0]
    np.testing.assert_allclose(pixels[:, [0, 1, 2, 5, 6, 7]], np.repeat([[40] * 3 + [200] * 3], 8, 0), atol=2)


def test_a_photo_of_200_megapixels_is_read_reduced(tmp_path: Path):
    path = write(tmp_path / "a.jpg", Image.new("L", (16320, 12240), 40))
    assert decoding.read_image(path, {}, 6000).size == (8160, 6120)


def test_transparent_pixels_are_white_and_half_transparent_ones_half_white(tmp_path: Path):
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 3] = 0, 128, 255
    assert grey(write(tmp_path / "a.png", Image.fromarray(pixels))).tolist() == [[255, 127, 0]]
    palette = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "P")
    palette.putpalette([10, 10, 10, 0, 0, 0, 200, 200, 200])
    assert grey(write(tmp_path / "b.png", palette, transparency=0)).tolist() == [[255, 0, 200]]
    assert grey(write(tmp_path / "c.gif", palette, transparency=0)).tolist() == [[255, 0, 200]]
    assert grey(write(tmp_path / "d.png", palette)).tolist() == [[10, 0, 200]]
    one_value = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16))
    assert grey(write(tmp_path / "e.png", one_value, transparency=257)).tolist() == [[0, 255, 255]]


def test_colours_become_luminance(tmp_path: Path):
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    expected = [[76, 150, 29]]  # 0.299, 0.587 and 0.114 of 255
    assert grey(write(tmp_path / "a.png", Image.fromarray(primaries))).tolist() == expected
    inks = Image.fromarray(np.array([[[0, 255, 255, 0], [255, 255, 255, 255]]], dtype=np.uint8), "CMYK")
    assert grey(write(tmp_path / "a.tif", inks)).tolist() == [[76, 0]]
    blocks = Image.fromarray(np.full((16, 16, 4), [0, 255, 255, 0], dtype=np.uint8), "CMYK")
    np.testing.assert_allclose(grey(write(tmp_path / "a.jpg", blocks, quality=100)), 76, atol=2)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_the_orientation_in_exif_is_applied(tmp_path: Path, suffix: str):
    upright = np.zeros((16, 32), dtype=np.uint8)
    upright[:, 16:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored as if turned by 90 degrees counter-clockwise
    path = write(tmp_path / f"a.{suffix}", Image.fromarray(np.rot90(upright).copy()), exif=exif)
    assert grey(path).shape == upright.shape
    np.testing.assert_allclose(grey(path), upright, atol=8)


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path):
    frames = [Image.fromarray(np.full((8, 8), level, dtype=np.uint8)) for level in (40, 200)]
    for name in ("a.gif", "a.tif", "a.png", "a.webp"):
        path = write(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **lossless(name))
        assert (grey(path) == 40).all(), name


def lossless(name: str) -> dict[str, Any]:
    return {"lossless": True} if name.endswith("webp") else {}


def test_the_middle_square_is_resized_and_antialiased(images: Path):
    wide = np.zeros((8, 24), dtype=np.uint8)
    wide[:, 8:16] = np.indices((8, 8)).sum(axis=0) % 2 * 255  # a chessboard between two black squares
    write(images / "cat" / "0.png", Image.fromarray(wide))
    write(images / "cat" / "1.png", Image.fromarray(wide.T.copy()))
    exact = prepared(images, 8)
    np.testing.assert_array_equal(exact[0, 0], wide[:, 8:16])
    np.testing.assert_array_equal(exact[1, 0], wide[:, 8:16].T)
    half = prepared(images, 4)
    assert half.shape == (6, 1, 4, 4)
    assert np.abs(half[0, 0].astype(int) - 127).max() < 20  # nearest neighbours would be black or white


def test_colours_stay_and_grey_is_three_equal_channels(images: Path):
    colours = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    write(images / "cat" / "0.png", Image.fromarray(colours))
    found = prepared(images, 12, 3)
    np.testing.assert_array_equal(found[0], colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(found[1], np.stack([RAMP // 2] * 3))
    assert folder.channels(parameters(images, 3)) == 3


def test_a_large_jpeg_is_decoded_at_a_smaller_scale_and_looks_the_same(images: Path):
    photo = Image.effect_mandelbrot((1600, 1200), (-2, -1.2, 1, 1.2), 60)
    write(images / "cat" / "0.jpg", photo, quality=95)
    small = decoding.read_image(images / "cat" / "0.jpg", {}, 64)
    assert small.size == (200, 150)
    whole = np.asarray(photo.crop((200, 0, 1400, 1200)).resize((64, 64), Image.Resampling.BILINEAR), float)
    assert np.abs(prepared(images, 64)[0, 0] - whole).mean() < 4


def test_images_that_look_the_same_are_a_group_that_no_split_parts(tmp_path: Path):
    photo = Image.effect_mandelbrot((400, 300), (-2, -1.2, 1, 1.2), 60)
    for label in ("cat", "dog"):
        for number in range(12):
            write(tmp_path / label / f"{number:02}.png", noise(50 + number + 20 * (label == "dog")))
    write(tmp_path / "cat" / "a.jpg", photo, quality=95)
    write(tmp_path / "cat" / "b.jpg", photo.resize((200, 150)), quality=60)
    write(tmp_path / "dog" / "c.png", photo)
    assert folder.check(str(tmp_path)).repeated == (("cat/a.jpg", "cat/b.jpg", "dog/c.png"),)
    _, labels, groups = folder.prepare(parameters(tmp_path), 16)
    same = np.flatnonzero(groups)
    assert groups[same].tolist() == [1, 1, 1]
    shares = {"validation": 0.2, "test": 0.4}
    alone = [partition.partition(labels, "photos", seed, shares) for seed in range(20)]
    assert any(len({p for p, own in parts.items() if set(own) & set(same)}) > 1 for parts in alone)
    for seed, before in enumerate(alone):
        parts = partition.partition(labels, "photos", seed, shares, None, groups)
        assert len([part for part, own in parts.items() if set(own) & set(same)]) == 1
        for part, own in parts.items():
            assert np.bincount(labels[own]).tolist() == np.bincount(labels[before[part]]).tolist()


# --- which files ---------------------------------------------------------------------------


def test_other_files_and_hidden_ones_are_left_out_and_told(images: Path):
    for name in ("notes.txt", "cat/Thumbs.db", "cat/.hidden.png", ".DS_Store", "dog/._0.png", "beside.png"):
        (images / name).write_bytes(b"")
    for name in (".git", "__MACOSX", "cat/.thumbnails"):
        (images / name).mkdir()
    report = folder.check(str(images))
    assert report.counts == folder.class_counts(parameters(images)) == {"cat": 3, "dog": 3}
    assert sorted(report.found.left_out) == ["beside.png", "cat/Thumbs.db", "notes.txt"]
    assert report.problems == {}
    assert report.message is None


def test_classes_and_files_are_sorted_whatever_their_names(images: Path):
    names = ["ä ö.png", 'it\'s "1".jpg', "b;rm -rf $HOME.PNG", "(1) %d.jpeg"]
    for name in names:
        write(images / "Große Tiere" / name)
    assert list(folder.class_counts(parameters(images))) == ["Große Tiere", "cat", "dog"]
    found = [path.name for path in folder.files(parameters(images))]
    assert found == [*sorted(names), *["0.png", "1.png", "2.png"] * 2]
    assert prepared(images, 8).shape == (10, 1, 8, 8)


def test_a_link_that_leads_to_itself_ends(images: Path):
    (images / "cat" / ".up").symlink_to(images)
    (images / "loop").symlink_to(images / "loop")
    assert folder.class_counts(parameters(images)) == {"cat": 3, "dog": 3}
    (images / "cat" / "up").symlink_to(images)
    folder._listed.cache_clear()
    assert "'cat' holds the folder 'up'" in refusal(images)


def test_links_to_classes_and_images_are_followed(images: Path, tmp_path: Path):
    (tmp_path / "linked").mkdir()
    for label in ("cat", "dog"):
        (tmp_path / "linked" / label).symlink_to(images / label)
    (images / "cat" / "3.png").symlink_to(images / "dog" / "0.png")
    assert folder.class_counts(parameters(tmp_path / "linked")) == {"cat": 4, "dog": 3}
    assert folder.digest(parameters(tmp_path / "linked")) == folder.digest(parameters(images))


def test_a_relative_path_is_seen_from_the_working_folder(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(images.parent)
    assert folder.files(parameters(Path("images")))[0] == Path("images/cat/0.png")
    monkeypatch.setenv("HOME", str(images.parent))
    assert folder.class_counts(folder.Parameters(path="~/images")) == {"cat": 3, "dog": 3}
    monkeypatch.chdir(images)
    assert "'images' isn't there" in refusal(Path("images"))


def test_ten_thousand_files_are_listed_in_no_time_and_once(tmp_path: Path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(5000):
            (tmp_path / label / f"{number}.png").touch()
    begin = time.process_time()
    assert folder.class_counts(parameters(tmp_path)) == {"a": 5000, "b": 5000}
    assert time.process_time() - begin < 2
    begin = time.process_time()
    folder.class_counts(parameters(tmp_path))
    assert time.process_time() - begin < 0.01


# --- formats -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JFIF", "ppm", "pgm", "avif"])
def test_more_formats_are_read(images: Path, suffix: str):
    kind = {"ppm": "PPM", "pgm": "PPM", "avif": "AVIF"}.get(suffix, "JPEG")
    path = write(images / "cat" / f"3.{suffix}", Image.fromarray(RAMP), format=kind)
    assert folder.class_counts(parameters(images)) == {"cat": 4, "dog": 3}
    np.testing.assert_allclose(grey(path), RAMP, atol=12)


def test_heic_is_read_where_its_package_is_installed(images: Path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(RAMP).resize((64, 64)).convert("RGB")).save(images / "cat" / "3.heic", quality=-1)
    assert folder.class_counts(parameters(images)) == {"cat": 4, "dog": 3}
    assert prepared(images, 12).shape == (7, 1, 12, 12)


def test_what_is_left_out_is_counted_by_its_kind_first_of_all(images: Path):
    for number in range(40):
        (images / "cat" / f"IMG_{number}.CR2").write_bytes(b"")
    for number in range(6):
        (images / "dog" / f"{number}.psd").write_bytes(b"")
    write(images / "beside.png")
    (images / "README").write_text("")
    shutil.copy(images / "cat" / "0.png", images / "dog" / "again.png")
    told = folder.check(str(images)).notes[0]
    assert told.startswith(
        "48 of 55 left out: 40 .cr2, 6 .psd, 1 without a suffix, 1 .png beside the folders of classes. Read are .png,"
    )


def test_a_class_of_files_that_are_not_read_says_so(images: Path):
    for number in range(5):
        (images / "dog" / f"{number}.png").unlink(missing_ok=True)
        (images / "dog" / f"{number}.nef").write_bytes(b"")
    assert "5 of 8 left out: 5 .nef" in refusal(images)


@pytest.mark.skipif("HEIF" in decoding.READ, reason="pillow-heif is installed")
def test_of_heic_it_says_what_would_read_it(images: Path):
    (images / "dog" / "3.HEIC").write_bytes(b"")
    assert ".heic too, once pillow-heif is installed (pip install pillow-heif)" in folder.check(str(images)).notes[0]


# --- folders that are divided already ------------------------------------------------------


def divided(path: Path, names: tuple[str, ...] = ("train", "val", "test"), count: int = 4) -> Path:
    for place, name in enumerate(names):
        for label in ("cat", "dog"):
            for number in range(count):
                level = 20 * place + 3 * number + (label == "dog")
                write(path / name / label / f"{number}.png", Image.fromarray(RAMP // 2 + np.uint8(level)))
    return path


def parts_of(path: Path, seed: int) -> dict[str, list[str]]:
    """Return the files of each part with a seed, as a task gets them."""
    grid = plan_of(study(path)).grid
    labels = np.repeat(np.arange(2), list(grid.counts["digits"].values()))
    given = partition.given_parts(grid.counts["digits"], grid.given_parts("digits"))
    found = partition.partition(labels, "digits", seed, grid.config.datasets["digits"].shares, given)
    names = [str(file.relative_to(path)) for file in folder.files(parameters(path))]
    for part, sizes in grid.part_sizes("digits").items():
        assert np.bincount(labels[found[part]]).tolist() == list(sizes.values())
    return {part: [names[index] for index in indices] for part, indices in found.items()}


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "Validation", "TEST"), ("train", "dev", "testing")]
)
def test_the_parts_of_a_divided_folder_are_used_with_every_seed(tmp_path: Path, names: tuple[str, ...]):
    path = divided(tmp_path / "images", names)
    assert folder.class_counts(parameters(path)) == {"cat": 12, "dog": 12}
    for seed in (0, 1):
        for name, files in zip(names, parts_of(path, seed).values(), strict=True):
            assert files == [f"{name}/{label}/{number}.png" for label in ("cat", "dog") for number in range(4)]
    report = folder.check(str(path))
    assert (
        f"divided already, and stay so with every seed: {names[0]} (8), {names[1]} (8), {names[2]} (8)."
        in report.notes[0]
    )


@pytest.mark.parametrize(("there", "missing"), [("test", "validation"), ("validation", "test")])
def test_a_part_that_is_missing_is_drawn_from_train(tmp_path: Path, there: str, missing: str):
    path = divided(tmp_path / "images", ("train", there), 10)
    one, other = parts_of(path, 0), parts_of(path, 1)
    assert (
        one[there] == other[there] == sorted(f"{there}/{label}/{n}.png" for label in ("cat", "dog") for n in range(10))
    )
    assert {name.split("/")[0] for name in one["train"] + one[missing]} == {"train"}
    assert len(one[missing]) == 4
    assert one[missing] != other[missing]
    assert f"for {missing}, images are drawn from train." in folder.check(str(path)).notes[0]


def test_the_stage_keeps_the_parts_and_a_task_trains_and_tests_on_them(tmp_path: Path):
    path = divided(tmp_path / "images", count=5)
    plan = plan_of(study(path))
    done = prepare_stage(told_to(plan, "prepare_dataset", dataset="digits"), tmp_path)
    assert done.returncode == 0, done.stderr
    found = source_images(read_tensors(tmp_path / "d"), plan.values.task("digits"), 3)
    exact = prepared(path, 8)
    for part, images in found.items():
        order = list(found).index(part)
        assert images.indices.tolist() == [*range(5 * order, 5 * order + 5), *range(15 + 5 * order, 20 + 5 * order)]
        np.testing.assert_array_equal(images.images, exact[images.indices])


def only_files(path: Path) -> None:
    for label in ("cat", "dog"):
        for file in (path / "test" / label).iterdir():
            file.rename(path / "test" / f"{label}-{file.name}")
        (path / "test" / label).rmdir()


DIVIDED: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "a class is missing in a part": (
        lambda path: shutil.rmtree(path / "test" / "dog"),
        ["too few images of 'test/dog' (0)", "1 image file or more in each part"],
    ),
    "a class that isn't trained on": (
        lambda path: write(path / "val" / "fox" / "1.png"),
        ["'train/fox' (0)", "'test/fox' (0)"],
    ),
    "a part without classes": (only_files, ["'test' holds no folders", "images/train'"]),
    "a folder beside the parts": (lambda path: (path / "labels").mkdir(), ["holds 'labels' too"]),
    "a part twice": (lambda path: (path / "valid" / "cat").mkdir(parents=True), ["holds 'valid' too"]),
    "deeper": (
        lambda path: (path / "test" / "cat" / "young").mkdir(),
        ["'test/cat' holds the folder 'young'", "images/test/cat' if that"],
    ),
}


@pytest.mark.parametrize("what", DIVIDED)
def test_a_divided_folder_that_is_none_says_what_is_wrong(what: str, tmp_path: Path):
    change, expected = DIVIDED[what]
    path = divided(tmp_path / "images")
    change(path)
    message = refusal(path)
    assert "\n" not in message
    for text in expected:
        assert text in message


def test_classes_named_as_parts_beside_others_are_classes(images: Path):
    for name in ("train", "test"):
        for number in range(3):
            write(images / name / f"{number}.png", noise(8 + number))
    assert list(folder.class_counts(parameters(images))) == ["cat", "dog", "test", "train"]


# --- what is refused -----------------------------------------------------------------------


def nothing_there(path: Path) -> None:
    for label in ("cat", "dog"):
        for file in (path / label).iterdir():
            file.unlink()
        (path / label).rmdir()


def only_images(path: Path) -> None:
    nothing_there(path)
    for number in range(4):
        write(path / f"{number}.png")


def one_class(path: Path) -> None:
    for file in (path / "dog").iterdir():
        file.unlink()
    (path / "dog").rmdir()


FOLDERS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no classes": (nothing_there, ["holds no folders", "one folder of images for each class"]),
    "images without classes": (only_images, ["holds no folders", "4 image files belong into such folders"]),
    "one class": (one_class, ["one class only, 'cat'", "2 classes or more"]),
    "too few images": (
        lambda path: (path / "dog" / "1.png").unlink(),
        ["too few images of 'dog' (2)", "3 image files or more", ".png"],
    ),
    "an empty class": (lambda path: (path / "new").mkdir(), ["too few images of 'new' (0)"]),
    "nested deeper": (
        lambda path: write(path / "cat" / "young" / "1.png"),
        ["'cat' holds the folder 'young'", "images/cat' if that is where the classes are"],
    ),
    "a link that leads nowhere": (
        lambda path: (path / "cat" / "3.png").symlink_to(path / "nowhere"),
        ["1 of 7 image files", "cat/3.png (a link that leads nowhere)"],
    ),
    "a pipe": (lambda path: os.mkfifo(path / "cat" / "3.png"), ["cat/3.png (not a file)"]),
    "a wildcard": (lambda path: write(path / "cat" / "{dataset}.png"), ["cat/{dataset}.png", "brace"]),
    "two lines": (lambda path: write(path / "cat" / "a\nb.png"), ["'cat/a\\nb.png' (its name isn't"]),
    "no text": (lambda path: write(path / "cat" / os.fsdecode(b"\xff.png")), ["'cat/\\udcff.png' (its name isn't"]),
    "too many classes": (
        lambda path: [(path / str(number)).mkdir() for number in range(255)],
        ["holds 257 folders", "up to 256 classes"],
    ),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_folder_of_another_form_is_refused_in_one_line(what: str, images: Path):
    change, expected = FOLDERS[what]
    change(images)
    message = refusal(images)
    assert message.startswith(f"'{images}")
    assert "\n" not in message
    for text in expected:
        assert text in message


def test_a_folder_that_is_not_there_or_is_a_file(images: Path):
    message = refusal(images / "nowhere")
    assert "nowhere' isn't there (seen from" in message
    assert "is a file" in refusal(images / "cat" / "0.png")
    assert "rename the folder" in refusal(images / "{cat}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_can_not_be_read(images: Path):
    (images / "cat").chmod(0)
    try:
        assert refusal(images).endswith("cat' can't be read: Permission denied")
    finally:
        (images / "cat").chmod(0o755)


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def noise(side: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_a_truncated_file_is_named_wherever_it_ends(images: Path, suffix: str):
    shares = (0.05, 0.5, 0.95)
    for number, share in enumerate(shares):
        cut(write(images / "cat" / f"cut-{number}.{suffix}", noise()), share)
    assert list(folder.check(str(images)).problems) == [f"cat/cut-{number}.{suffix}" for number in range(3)]


def test_all_that_can_not_be_used_stands_in_one_message(images: Path):
    (images / "cat" / "empty.png").write_bytes(b"")
    (images / "cat" / "text.jpg").write_text("no image")
    cut(write(images / "dog" / "cut.bmp", noise()), 0.5)
    write(images / "dog" / "far.tif", Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))
    write(images / "dog" / "nan.tif", Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)))
    # a vector format under a picture's name reaches no interpreter
    (images / "dog" / "vector.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    report = folder.check(str(images))
    assert report.problems == {
        "cat/empty.png": "empty, 0 bytes",
        "cat/text.jpg": f"not an image of {', '.join(decoding.FORMATS)}",
        "dog/cut.bmp": report.problems["dog/cut.bmp"],
        "dog/far.tif": "grey values from 0 to 70000; allowed: 0 to 65535",
        "dog/nan.tif": "grey values from nan to nan; allowed: 0 to 65535",
        "dog/vector.png": f"not an image of {', '.join(decoding.FORMATS)}",
    }
    assert "truncated" in report.problems["dog/cut.bmp"]
    with pytest.raises(UnusableFiles) as caught:
        folder.prepare(parameters(images), 8)
    message = str(caught.value)
    assert message == report.message
    assert message.startswith(
        f"'{images}': 6 of 12 image files can't be used: cat/empty.png (empty, 0 bytes); cat/text"
    )
    assert message.endswith("move them out of the folder, then run again")


def test_of_many_bad_files_ten_are_named_and_the_others_counted(images: Path):
    for number in range(13):
        (images / "cat" / f"bad-{number:02}.png").write_bytes(b"")
    message = str(folder.check(str(images)).message)
    assert message.count("0 bytes") == 10
    assert "bad-09.png (empty, 0 bytes); and 3 more. Mend them" in message


@pytest.mark.parametrize(("suffix", "most"), [("png", 600), ("jpg", 800)])
def test_an_image_of_too_many_pixels_is_told_and_not_decoded(
    images: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, most: int
):
    write(images / "cat" / f"bomb.{suffix}", noise())  # 1024 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300 if suffix == "png" else 200)
    assert folder.check(str(images)).problems == {f"cat/bomb.{suffix}": f"1,024 pixels; allowed: up to {most}"}


def test_the_same_picture_twice_is_told(images: Path):
    write(images / "dog" / "again.bmp", Image.fromarray(RAMP))
    write(images / "dog" / "other.png", Image.fromarray(RAMP.T.copy()))
    first, *_ = folder.check(str(images)).repeated
    assert first == ("cat/0.png", "dog/0.png", "dog/again.bmp")


def test_the_same_picture_in_two_classes_is_a_contradiction_and_says_which_files(images: Path):
    (images / "dog" / "copy.png").write_bytes((images / "dog" / "2.png").read_bytes())
    for number in range(3):  # the fixture's two classes are alike
        write(images / "cat" / f"{number}.png", Image.fromarray(RAMP.T // (number + 1)))
    write(images / "cat" / "2.png", Image.fromarray(RAMP // 2))
    contradiction, flattery = folder.check(str(images)).notes
    assert contradiction == (
        "The same picture, or nearly, in two classes, so that one of its labels may be wrong; keep it in one of them: "
        "cat/2.png = dog/1.png."
    )
    assert "several times (dog/2.png = dog/copy.png)" in flattery


# --- in the pipeline -----------------------------------------------------------------------


def study(images: Path, **more: Any) -> dict[str, Any]:
    raw = put(
        tiny(), "datasets.digits", {"module": "folder", "parameters": {"path": str(images), "channels": 1}} | more
    )
    return put(raw, "tasks.digits.validation_shots", 1)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of two classes with ten images each: enough for the tiny study."""
    for label in ("my cat", "dog's"):
        for number in range(10):
            write(tmp_path / "my images" / label / f"ä {number}.png", Image.fromarray(RAMP // (number + 1)))
    return tmp_path / "my images"


def test_a_mistake_in_the_folder_is_one_in_config_with_its_key(images: Path):
    with pytest.raises(config.ConfigError, match=r"^datasets\.digits\.parameters\.path: '.*nowhere' isn't there"):
        plan_of(study(images / "nowhere"))
    with pytest.raises(config.ConfigError, match=r"^datasets\.digits\.parameters\.path: is ''"):
        plan_of(put(study(images), "datasets.digits.parameters.path", ""))
    with pytest.raises(config.ConfigError, match=r"asks for 2 images of class cat; allowed: up to 1"):
        plan_of(study(images))


def test_snakemake_says_before_any_job_what_is_to_be_known_of_a_folder(many: Path, tmp_path: Path):
    (many / "my cat" / "1.cr2").write_bytes(b"")
    project = fresh(tmp_path / "project")
    (project.path / "pictures").symlink_to(many)
    project.write_config(study(Path("pictures")))
    said = project.snakemake("-n", "--cores", "1")
    first = said.index("datasets.digits: 1 of 21 left out: 1 .cr2.")
    assert first < said.index("datasets.digits: The same picture, or nearly, in two classes")


def test_the_images_are_inputs_of_their_dataset_and_of_no_other(many: Path):
    plan = plan_of(study(many))
    own, of_seeds = plan.forms_of("prepare_dataset")
    of_folder, of_glyphs = SimpleNamespace(dataset="digits"), SimpleNamespace(dataset="glyphs", seed=0)
    assert own.read(of_folder, ()) == [
        str(many / label / f"ä {number}.png") for label in ("dog's", "my cat") for number in range(10)
    ]
    assert of_seeds.read(of_glyphs, ()) == []
    assert "files" not in of_seeds.spec(of_glyphs, ())


def test_a_file_added_renamed_or_of_another_size_is_another_spec_and_names_are_not_in_it(many: Path):
    def spec() -> str:
        folder._listed.cache_clear()
        return canonical(told_to(plan_of(study(many)), "prepare_dataset", dataset="digits"))

    seen = [spec()]
    assert spec() == seen[0]
    assert "ä" not in seen[0]
    added = write(many / "my cat" / "new.png")
    seen.append(spec())
    added = added.rename(added.with_name("newer.png"))
    seen.append(spec())
    write(added, noise(8))
    seen.append(spec())
    added.rename(many / "dog's" / "newer.png")
    seen.append(spec())
    assert len(set(seen)) == 5


def prepare_stage(spec: dict[str, Any], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    outputs = [word for name, file in (("dataset", "d"), ("card", "c")) for word in ("--out", name, tmp_path / file)]
    arguments = ["--spec", canonical(spec), "--code", "0", *map(str, outputs)]
    return subprocess.run(
        [sys.executable, "-m", "whypretrain.stages.prepare_dataset", *arguments],
        cwd=ROOT / "workflow",
        capture_output=True,
        text=True,
    )


def test_the_stage_makes_the_dataset_or_says_in_one_line_why_not(many: Path, tmp_path: Path):
    spec = told_to(plan_of(study(many)), "prepare_dataset", dataset="digits")
    done = prepare_stage(spec, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "c").read_text())["class_counts"] == {"dog's": 10, "my cat": 10}
    write(many / "my cat" / "late.png")
    done = prepare_stage(spec, tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: datasets.digits: files were added, removed or changed meanwhile; run again\n"
    (many / "my cat" / "late.png").write_text("none")
    folder._listed.cache_clear()
    done = prepare_stage(told_to(plan_of(study(many)), "prepare_dataset", dataset="digits"), tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: datasets.digits.parameters.path: ")
    assert "1 of 21 image files can't be used: my cat/late.png (not an image" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_share_of_the_images_tests(many: Path):
    grid = plan_of(study(many, test_share=0.3)).grid
    assert grid.test_images("digits") == 6
    assert grid.images_per_class("digits") == {"dog's": (5, 2), "my cat": (5, 2)}
    for share in (0.0, 0.99, 0.333):
        with pytest.raises(config.ConfigError, match=rf"^datasets\.digits\.test_share: is {share}"):
            plan_of(study(many, test_share=share))


def test_an_image_changed_added_or_removed_makes_the_dataset_again_and_nothing_else(many: Path, tmp_path: Path):
    project = fresh(tmp_path / "project")
    (project.path / "pictures").symlink_to(many)
    project.write_config(study(Path("pictures")))
    made = [f"results/datasets/{name}.safetensors" for name in ("digits", "glyphs/s0")]

    def planned() -> dict[str, int]:
        jobs = project.planned(*made)
        jobs.pop("total", None)
        return jobs

    assert planned() == {"prepare_dataset": 1, "prepare_dataset_of_seed": 1}
    project.snakemake("--cores", "2", *made)
    assert planned() == {}
    image = many / "dog's" / "ä 0.png"
    os.utime(image)  # touched, not changed
    assert planned() == {}
    image.rename(tmp_path / "kept.png")
    assert planned() == {"prepare_dataset": 1}
    write(image, Image.fromarray(RAMP.T.copy()))
    assert planned() == {"prepare_dataset": 1}
    (tmp_path / "kept.png").rename(image)
    assert planned() == {}
    (many / "my cat" / "new one.jpg").write_bytes(b"")
    text = project.snakemake("--cores", "2", *made, status=1)
    assert "1 of 21 image files can't be used: my cat/new one.jpg (empty, 0 bytes). Mend them" in text
    assert "Traceback" not in text
    for label in ("my cat", "dog's"):
        (many / label).rename(tmp_path / label)
    text = project.snakemake("-n", status=1)
    assert "Mistake in config: datasets.digits.parameters.path: 'pictures' holds no folders; it needs one" in text
    assert "Traceback" not in text
