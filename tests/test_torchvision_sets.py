"""Published data sets: read from their true formats into the published parts, or refused in one message."""

import bz2
import gzip
import importlib
import inspect
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.io
import yaml
from conftest import ROOT, plan_of, put, tiny, told_to
from PIL import Image

from whypretrain.config import models as config
from whypretrain.data import cifar, partition
from whypretrain.data.problems import UnusableFiles
from whypretrain.data.torchvision_sets import Published
from whypretrain.data.vision import torchvision
from whypretrain.files.origins import canonical
from whypretrain.stages import prepare_dataset

# images in all, and to test
TOTALS = {
    "mnist": (70_000, 10_000),
    "fashion_mnist": (70_000, 10_000),
    "kmnist": (70_000, 10_000),
    "emnist_letters": (145_600, 20_800),
    "usps": (9_298, 2_007),
    "svhn": (99_289, 26_032),
    "cifar10": (60_000, 10_000),
    "cifar100": (60_000, 10_000),
    "stl10": (13_000, 8_000),
    "flowers102": (8_189, 6_149),
    "oxford_pets": (7_349, 3_669),
    "dtd": (5_640, 1_880),
    "food101": (101_000, 25_250),
    "eurosat": (27_000, 0),
}


def module(name: str) -> ModuleType:
    return importlib.import_module(f"whypretrain.data.datasets.{name}")


def prepare(name: str, root: Path, size: int, download: bool = False) -> tuple[np.ndarray, np.ndarray]:
    parameters = module(name).Parameters(root=str(root), download=download)
    images, labels = module(name).prepare(parameters, size)
    return images, labels


def refusal(name: str, root: Path, download: bool = False) -> str:
    with pytest.raises(UnusableFiles) as caught:
        prepare(name, root, 8, download)
    assert caught.value.parameter == "root"
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what was published --------------------------------------------------------------------


@pytest.mark.parametrize("name", TOTALS)
def test_the_published_numbers_of_images_stand_in_the_module(name: str):
    parameters = module(name).Parameters()
    counts, parts = module(name).class_counts(parameters), module(name).parts(parameters)
    total, testing = TOTALS[name]
    assert sum(counts.values()) == total
    assert sum(parts.get("test", {}).values()) == testing
    assert list(parts) == [part for part in partition.PARTS if part in parts]
    assert all(list(images) == list(counts) for images in parts.values())
    assert parameters.root == f"data/{name.replace('_', '-')}"
    assert not parameters.download


@pytest.mark.parametrize("name", TOTALS)
def test_names_sums_and_classes_are_those_that_torchvision_knows(name: str):
    known: Published = module(name).SET
    published = getattr(torchvision.datasets, known.name)
    source = inspect.getsource(published)
    for path, md5 in known.files.items():
        assert md5 in source
        assert Path(path).name in source or known.name == "EMNIST"
    if name != "eurosat":  # by another host there
        assert known.address in "".join([source, *re.findall('"(http[^"]*/)[^/"]*"', source)])
    if name in ("dtd", "food101", "eurosat"):  # from the names of folders
        assert list(known.classes) == sorted(known.classes)
    elif name not in ("mnist", "emnist_letters") and isinstance(getattr(published, "classes", None), list):
        assert list(known.classes) == published.classes


def test_importing_them_imports_nothing_heavy():
    program = (
        f"import importlib, sys\nfor name in {list(TOTALS)}:\n"
        "    d = importlib.import_module(f'whypretrain.data.datasets.{name}'); d.class_counts(d.Parameters())\n"
        "print([m for m in ('torch', 'torchvision', 'scipy', 'matplotlib', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "workflow", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", TOTALS)
def test_source_and_licence_are_given_and_parameters_described(name: str):
    assert module(name).SOURCE
    assert module(name).LICENCE
    assert all(field.description for field in module(name).Parameters.model_fields.values())


# --- tiny copies in the published formats --------------------------------------------------

SIDE = {"usps": 16, "svhn": 32, "cifar10": 32, "cifar100": 32, "stl10": 96} | dict.fromkeys(list(TOTALS)[:4], 28)
PHOTO = 16  # of the square in the middle of a photo
Images = list[tuple[int, np.ndarray]]  # with their labels


def picture(name: str, label: int, part: int) -> np.ndarray:
    """Return what is drawn for a class and part: (side, side, channels), with another upper than lower half."""
    side, value = SIDE.get(name, PHOTO), (2 * label + 83 * part) % 256
    rows = np.where(np.arange(side) < side // 2, value, 255 - value)
    colours = (rows[:, None, None] + np.array([0, 7, 14]) * (module(name).SET.colours == 3)) % 256
    return np.broadcast_to(colours, (side, side, 3))[..., : module(name).SET.colours].astype(np.uint8)


def drawn(name: str) -> dict[str, Images]:
    """Return the images of each part in an order that isn't that of the classes."""
    known: Published = module(name).SET
    images: dict[str, Images] = {}
    for column, (part, per_class) in enumerate(known.images.items()):
        assert isinstance(per_class, list)
        labels = [label for label, n in enumerate(per_class) for _ in range(n)][::-1]
        images[part] = [(label, picture(name, label, column)) for label in labels]
    return images


def pack(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def mat(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, arrays)
    return file.getvalue()


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.tobytes(), 1)


def idx_pair(images: Images, prefix: str) -> dict[str, bytes]:
    return {
        f"{prefix}-images-idx3-ubyte.gz": idx(np.stack([image[..., 0] for _, image in images])),
        f"{prefix}-labels-idx1-ubyte.gz": idx(np.array([label for label, _ in images], np.uint8)),
    }


def write_mnist(name: str, root: Path) -> None:
    folder = root / module(name).SET.name / "raw"
    folder.mkdir(parents=True)
    for prefix, images in zip(("train", "t10k"), drawn(name).values(), strict=True):
        for file, content in idx_pair(images, prefix).items():
            (folder / file).write_bytes(content)


def write_emnist(name: str, root: Path) -> None:
    members: dict[str, bytes] = {}
    for part, images in drawn(name).items():
        lying = [(label + 1, image.transpose(1, 0, 2)) for label, image in images]
        members |= {f"gzip/{file}": content for file, content in idx_pair(lying, f"emnist-letters-{part}").items()}
    pack(root / "EMNIST/raw/gzip.zip", members)


def write_usps(name: str, root: Path) -> None:
    root.mkdir(parents=True)
    for file, images in zip(module(name).SET.files, drawn(name).values(), strict=True):
        lines = []
        for label, image in images:
            values = (image.ravel() + 0.5) / 255 * 2 - 1
            lines.append(f"{label + 1} " + " ".join(f"{place}:{v:.6f}" for place, v in enumerate(values, 1)))
        (root / file).write_bytes(bz2.compress("\n".join(lines).encode()))


def write_svhn(name: str, root: Path) -> None:
    root.mkdir(parents=True)
    for part, images in drawn(name).items():
        pixels = np.stack([image for _, image in images], axis=-1)
        labels = np.array([[label or 10] for label, _ in images], np.uint8)
        (root / f"{part}_32x32.mat").write_bytes(mat(X=pixels, y=labels))


class Python2(pickle._Pickler):
    """Writes strings as Python 2 did, in whose days the batches were made."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, text: bytes) -> None:
        self.write(pickle.BINSTRING + len(text).to_bytes(4, "little") + text)  # type: ignore[attr-defined]
        self.memoize(text)  # type: ignore[attr-defined]

    def save_str(self, text: str) -> None:
        self.save_bytes(text.encode("latin1"))

    dispatch[bytes] = save_bytes
    dispatch[str] = save_str


def pickled(content: Any) -> bytes:
    file = io.BytesIO()
    Python2(file, 2).dump(content)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_cifar(name: str, root: Path) -> None:
    published = getattr(torchvision.datasets, module(name).SET.name)
    key = "labels" if name == "cifar10" else "fine_labels"
    members = {f"{published.base_folder}/{published.meta['filename']}": pickled({published.meta["key"]: ["a"]})}
    for part, images in drawn(name).items():
        files = [file for file, _ in (published.train_list if part == "train" else published.test_list)]
        for place, file in enumerate(files):
            share = images[place :: len(files)]
            pixels = np.stack([image.transpose(2, 0, 1).ravel() for _, image in share])
            batch = {"data": pixels, key: [label for label, _ in share], "batch_label": file}
            members[f"{published.base_folder}/{file}"] = pickled(batch)
    pack(root / published.filename, members)


def write_stl(name: str, root: Path) -> None:
    members: dict[str, bytes] = {}
    for part, images in drawn(name).items():
        members[f"stl10_binary/{part}_X.bin"] = np.stack([image.T for _, image in images]).tobytes()
        members[f"stl10_binary/{part}_y.bin"] = bytes(label + 1 for label, _ in images)
    pack(root / "stl10_binary.tar.gz", members)


def photo(image: np.ndarray) -> bytes:
    """Return a JPEG file, wider than high, whose middle an image is."""
    border = np.full((len(image), 4, 3), 128, np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.concatenate([border, image, border], axis=1)).save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


def numbered(name: str) -> Iterator[tuple[str, int, int, np.ndarray]]:
    """Yield part, number from 1 in the dataset, label and image."""
    numbers = iter(range(1, 10_000))
    for part, images in drawn(name).items():
        for label, image in images:
            yield part, next(numbers), label, image


def write_flowers(name: str, root: Path) -> None:
    photos: dict[str, bytes] = {}
    labels: list[int] = []
    ids: dict[str, list[int]] = {"trnid": [], "valid": [], "tstid": []}
    for part, number, label, image in numbered(name):
        photos[f"jpg/image_{number:05}.jpg"] = photo(image)
        labels.append(label + 1)
        ids[{"train": "trnid", "validation": "valid", "test": "tstid"}[part]].append(number)
    pack(root / "flowers-102/102flowers.tgz", photos)
    (root / "flowers-102/imagelabels.mat").write_bytes(mat(labels=np.array([labels], np.uint8)))
    (root / "flowers-102/setid.mat").write_bytes(mat(**{k: np.array([v], np.uint16) for k, v in ids.items()}))


def write_pets(name: str, root: Path) -> None:
    photos: dict[str, bytes] = {}
    lists = {"train": "", "test": ""}
    for part, number, label, image in numbered(name):
        file = f"{module(name).CLASSES[label].replace(' ', '_')}_{number}"
        photos[f"images/{file}.jpg"] = photo(image)
        lists[part] += f"{file} {label + 1} 1 1\n"
    pack(root / "oxford-iiit-pet/images.tar.gz", photos)
    texts = {"trainval": lists["train"], "test": lists["test"]}
    pack(
        root / "oxford-iiit-pet/annotations.tar.gz",
        {f"annotations/{part}.txt": text.encode() for part, text in texts.items()},
    )


def write_dtd(name: str, root: Path) -> None:
    members: dict[str, bytes] = {}
    lists = {"train": "", "validation": "", "test": ""}
    for part, number, label, image in numbered(name):
        file = f"{module(name).CLASSES[label]}/{number}.jpg"
        members[f"dtd/images/{file}"] = photo(image)
        lists[part] += f"{file}\n"
    texts = {"train": lists["train"], "val": lists["validation"], "test": lists["test"]}
    members |= {f"dtd/labels/{part}1.txt": text.encode() for part, text in texts.items()}
    pack(root / "dtd/dtd-r1.0.1.tar.gz", members)


def write_food(name: str, root: Path) -> None:
    members: dict[str, bytes] = {}
    lists: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for part, number, label, image in numbered(name):
        dish = module(name).CLASSES[label]
        members[f"food-101/images/{dish}/{number}.jpg"] = photo(image)
        lists[part].setdefault(dish, []).append(f"{dish}/{number}")
    members |= {f"food-101/meta/{part}.json": json.dumps(dishes).encode() for part, dishes in lists.items()}
    pack(root / "food-101.tar.gz", members)


def write_eurosat(name: str, root: Path) -> None:
    classes = list(module(name).IMAGES)
    members = {f"2750/{classes[label]}/{n}.jpg": photo(image) for _, n, label, image in numbered(name)}
    pack(root / "eurosat/EuroSAT.zip", members)


WRITERS: dict[str, Callable[[str, Path], None]] = {
    **dict.fromkeys(("mnist", "fashion_mnist", "kmnist"), write_mnist),
    "emnist_letters": write_emnist,
    "usps": write_usps,
    "svhn": write_svhn,
    **dict.fromkeys(("cifar10", "cifar100"), write_cifar),
    "stl10": write_stl,
    "flowers102": write_flowers,
    "oxford_pets": write_pets,
    "dtd": write_dtd,
    "food101": write_food,
    "eurosat": write_eurosat,
}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a copy with one image of each class in each part, two of the first to train, that passes as published."""

    def write(name: str) -> Path:
        known: Published = module(name).SET
        few = [2] + [1] * (len(known.classes) - 1)
        monkeypatch.setattr(
            known, "images", {part: few if part == "train" else [1] * len(few) for part in known.images}
        )
        WRITERS[name](name, tmp_path / "copy")
        assert all((tmp_path / "copy" / file).is_file() for file in known.files)
        monkeypatch.setattr(torchvision.datasets.utils, "check_md5", lambda path, md5: True)
        return tmp_path / "copy"

    return write


def check(name: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Hold that images and labels are those drawn, by class and part."""
    known: Published = module(name).SET
    counts = module(name).class_counts(module(name).Parameters())
    assert np.bincount(labels).tolist() == list(counts.values())
    assert (np.diff(labels) >= 0).all()
    places = {part: column for column, part in enumerate(known.images)}
    given = partition.given_parts(counts, module(name).parts(module(name).Parameters()) or known._parts())
    columns = [places[partition.PARTS[part]] for part in given]
    expected = np.stack([picture(name, *at).transpose(2, 0, 1) for at in zip(labels, columns, strict=True)])
    assert images.dtype == np.uint8
    assert images.shape[1] == module(name).channels(module(name).Parameters())
    np.testing.assert_allclose(images.astype(int), expected, atol=0 if name in SIDE else 3)


@pytest.mark.parametrize("name", TOTALS)
def test_it_is_read_from_what_was_published_and_from_what_was_unpacked_before(
    name: str, written: Callable[[str], Path]
):
    root = written(name)
    side = SIDE.get(name, PHOTO)
    check(name, *prepare(name, root, side))
    for file in module(name).SET.files:
        if file.endswith((".gz", ".tgz", ".zip")):
            (root / file).unlink()
    images, labels = prepare(name, root, side)
    check(name, images, labels)
    halved = prepare(name, root, side // 2)[0]
    np.testing.assert_allclose(halved[..., 0, :].astype(int), images[..., 0, ::2], atol=3)  # far from the half's edge


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize("name", TOTALS)
def test_a_copy_that_is_not_there_is_told_with_the_files_their_address_and_their_place(name: str, tmp_path: Path):
    message = refusal(name, tmp_path)
    known: Published = module(name).SET
    for text in (known.address, "`download: true`", *(f"'{tmp_path / file}'" for file in known.files)):
        assert text in message


@pytest.mark.parametrize(("name", "download"), [("usps", False), ("usps", True), ("cifar10", False), ("stl10", True)])
def test_another_file_than_the_published_one_is_refused_unread(name: str, download: bool, tmp_path: Path):
    path, md5 = next(iter(module(name).SET.files.items()))
    (tmp_path / path).write_bytes(b"cut short")
    message = refusal(name, tmp_path, download)
    assert message.startswith(f"'{tmp_path / path}' was cut short, or isn't the file that was published")
    assert md5 in message


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, tuple[str, str, Callable[[Path], None], str]] = {
    "cut IDX": ("mnist", "MNIST/raw/t10k-images-idx3-ubyte", cut, "invalid for input"),
    "no IDX": ("kmnist", "KMNIST/raw/t10k-images-idx3-ubyte", lambda path: path.write_bytes(b"none"), ""),
    "cut .bz2": ("usps", "usps.t.bz2", cut, "ended before the end-of-stream marker"),
    "no .mat": ("svhn", "test_32x32.mat", lambda path: path.write_bytes(b"none" * 200), ""),
    "no pickle": ("cifar100", "cifar-100-python/test", lambda path: path.write_bytes(b"none"), ""),
    "cut binary": ("stl10", "stl10_binary/test_X.bin", cut, "fewer images to test than were published"),
    "cut photo": ("dtd", "dtd/dtd/images/banded/48.jpg", cut, "runcated"),
    "no photo": ("food101", "food-101/images/waffles/1.jpg", Path.unlink, "waffles/1.jpg"),
    "no list": ("oxford_pets", "oxford-iiit-pet/annotations/test.txt", Path.unlink, "test.txt"),
    "one photo less": ("eurosat", "eurosat/2750/AnnualCrop/11.jpg", Path.unlink, "fewer images to train than were"),
    "a class less": (
        "food101", "food-101/meta/test.json", lambda path: path.write_text('{"waffles": ["waffles/1"]}'), "fewer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_copy_is_one_message(what: str, written: Callable[[str], Path]):
    name, file, damage, expected = DAMAGES[what]
    root = written(name)
    prepare(name, root, 8)
    damage(root / file)
    message = refusal(name, root)
    assert message.startswith(f"'{root}' holds no copy of {module(name).SET.name} that can be used: ")
    assert expected in message
    assert "To mend it" in message


def test_more_images_than_were_published_are_refused(written: Callable[[str], Path]):
    root = written("eurosat")
    prepare("eurosat", root, 8)
    folder = root / "eurosat/2750/River"
    (folder / "again.jpg").write_bytes(next(folder.iterdir()).read_bytes())
    assert "there are more images to train of class 8 than were published" in refusal("eurosat", root)


# --- pickles -------------------------------------------------------------------------------


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def attacks(folder: Path) -> dict[str, bytes]:
    command = f"mkdir '{folder}'".encode()
    return {
        "os.system": b"cos\nsystem\n(S" + repr(command)[1:].encode() + b"\ntR.",
        "posix.system": b"\x80\x02cposix\nsystem\nU" + bytes([len(command)]) + command + b"\x85R.",
        "an instance by INST": b"(S" + repr(command)[1:].encode() + b"\nios\nsystem\n.",
        "a class with __reduce__": pickled({"data": Runs(folder)}),
        "the same, in a list": pickle.dumps([{b"labels": [Runs(folder)]}]),
        "an array of objects": pickled({"data": np.array([Runs(folder)], dtype=object)}),
        "an array of empty objects": pickled({"data": np.array([None], dtype=object)}),
        "numpy's own reader": b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
        "a name below a known one": b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.mean\x93.",
        "builtins": b"\x80\x02c__builtin__\neval\nU\x011\x85R.",
        "an extension": b"\x80\x02\x82\x01.",
        "a persistent name": b"P1\n.",
    }


@pytest.mark.parametrize("attack", attacks(Path()))
def test_a_pickle_that_asks_for_more_is_refused_and_runs_nothing(attack: str, tmp_path: Path):
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        cifar.load(io.BytesIO(attacks(tmp_path / "ran")[attack]))
    assert not (tmp_path / "ran").exists()


def test_unpickling_them_otherwise_would_have_run_them(tmp_path: Path):
    for number, attack in enumerate(("os.system", "posix.system", "an instance by INST", "a class with __reduce__")):
        pickle.loads(attacks(tmp_path / str(number))[attack])
        assert (tmp_path / str(number)).is_dir(), attack


def test_a_batch_that_asks_for_more_is_told_in_one_sentence(written: Callable[[str], Path], tmp_path: Path):
    root = written("cifar10")
    prepare("cifar10", root, 8)
    (root / "cifar-10-batches-py/data_batch_3").write_bytes(attacks(tmp_path / "ran")["os.system"])
    message = refusal("cifar10", root)
    assert "it asks for os.system, which no batch of CIFAR does; nothing of it was run" in message
    assert not (tmp_path / "ran").exists()


def test_what_a_batch_may_hold_comes_out_as_it_went_in():
    array = np.random.default_rng(0).integers(0, 256, (3, 5), dtype=np.uint8)
    batch = {"data": array, "labels": [1, 2, 3], "filenames": ["a.png"], "deep": {"x": (1.5, None, True, 2**70)}}
    found = cifar.load(io.BytesIO(pickled(batch)))
    np.testing.assert_array_equal(found.pop(b"data"), array)
    assert found == {b"labels": [1, 2, 3], b"filenames": [b"a.png"], b"deep": {b"x": (1.5, None, True, 2**70)}}
    for other in (array.T, array.astype(np.int32), array.astype("S1")):
        with pytest.raises(cifar.Refused, match="it holds an array of"):
            cifar.load(io.BytesIO(pickled({"data": other})))


# --- downloads -----------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve what a test writes; yield the address of its folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *arguments: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_what_is_not_there_is_fetched_where_the_user_says_so(
    name: str, served: str, written: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    published = getattr(torchvision.datasets, module(name).SET.name)
    written(name)
    monkeypatch.setattr(published, "mirrors", [f"{served}/copy/MNIST/raw/"], raising=False)
    monkeypatch.setattr(published, "url", f"{served}/copy/cifar-10-python.tar.gz", raising=False)
    assert "To mend it get" in refusal(name, tmp_path / "new")
    check(name, *prepare(name, tmp_path / "new", SIDE[name], download=True))


def test_a_download_that_fails_is_one_message(served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"{served}/nothing.tar.gz")
    assert "HTTP Error 404: File not found. To mend it get" in refusal("cifar10", tmp_path / "new", download=True)


# --- in the pipeline -----------------------------------------------------------------------


def study(**sets: dict[str, Any]) -> dict[str, Any]:
    """Return the tiny study with published data sets in the places of its own."""
    return put(tiny(), "datasets", {name.replace("_", "-"): entry for name, entry in sets.items()})


TWO = study(glyphs={"module": "emnist-letters"}, digits={"module": "usps", "parameters": {"root": "/nowhere/usps"}})


def test_a_config_that_names_two_is_understood_before_a_file_is_there(tmp_path: Path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TWO))
    program = [sys.executable, ROOT / "workflow/check_config.py", tmp_path / "config.yaml"]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == "results\n"
    grid = plan_of(TWO).grid
    assert grid.test_images("digits") == 2_007
    assert grid.part_sizes("digits")["test"]["0"] == 359
    assert grid.images_per_class("digits")["0"] == (955, 239)  # of the 1,194 to train
    assert grid.images_per_class("letters")["a"] == (3_840, 960)
    assert "files" not in told_to(plan_of(TWO), "prepare_dataset", dataset="digits")


def test_channels_are_the_datasets_own():
    colour = put(TWO, "datasets.digits", {"module": "svhn"})
    with pytest.raises(config.ConfigError, match="have 3; give a plain convnet `channels: 3`"):
        plan_of(colour).forms_of("train_run")
    plan_of(put(colour, "architectures.tiny.channels", 3)).forms_of("train_run")


@pytest.mark.parametrize("root", ["", "$HOME/usps", "{dataset}", "two\nlines"])
def test_a_root_that_is_no_plain_path_is_a_mistake_in_config(root: str):
    with pytest.raises(config.ConfigError, match=r"^datasets\.digits\.parameters\.root: is .* allowed: the path of a"):
        plan_of(put(TWO, "datasets.digits.parameters.root", root))


def test_the_stage_says_in_one_line_what_is_missing(tmp_path: Path):
    spec = told_to(plan_of(TWO), "prepare_dataset", dataset="digits")
    outputs = [word for name in ("dataset", "card") for word in ("--out", name, str(tmp_path / name))]
    program = [sys.executable, "-m", "whypretrain.stages.prepare_dataset", "--spec", canonical(spec), "--code", "0"]
    done = subprocess.run([*program, *outputs], cwd=ROOT / "workflow", capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: datasets.digits.parameters.root: '/nowhere/usps' holds no copy of USPS")
    assert done.stderr.count("\n") == 1


def test_moments_are_those_of_all_images():
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5), dtype=np.uint8)
    means, deviations = prepare_dataset._moments(images)
    np.testing.assert_allclose(means, (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(deviations, (images / 255).std((0, 2, 3)), rtol=1e-12)
