"""What excites units: windows against gradients, patches against all images, images by ascent, and their figure."""

import copy
import dataclasses
import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NOWHERE
from matplotlib.figure import Figure
from nets import layer_activations, plain
from test_measures import data_of, trained

from whypretrain import registry
from whypretrain.figures import units as picture
from whypretrain.figures.plotting import drawing, wording
from whypretrain.figures.plotting.view import View
from whypretrain.files import schemas
from whypretrain.files.storage import read_columns
from whypretrain.measures import excitation
from whypretrain.measures.excitation import Unit, maximise, responses, strongest, windows
from whypretrain.measures.measuring import Measured
from whypretrain.measures.readouts import units
from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.network import Network
from whypretrain.training.data import TargetData

LOW, HIGH = torch.tensor(-0.6), torch.tensor(2.3)
NORMALISATION = {"mean": 0.2, "standard_deviation": 0.35}


def network_of(kernels: Sequence[int], pool_after: Sequence[int]) -> tuple[Card, Network]:
    """A network with weights above zero, so that no unit is silent and no path dies."""
    described = plain(widths=(2,) * len(kernels), kernels=tuple(kernels), pool_after=tuple(pool_after))
    torch.manual_seed(0)
    network = build(described, 3).eval()
    for layer in described.layers:
        weight = network.module.get_submodule(f"layer{layer.number}").weight
        torch.nn.init.uniform_(weight, 0.1, 1.0)
    return described, network


# --- what a unit sees ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernels", "pool_after", "size"),
    [((5, 3, 3), (1, 2), 16), ((3, 3, 3, 3), (1, 3), 9), ((3, 1, 3), (), 8), ((3, 5), (1,), 7), ((1, 1), (1,), 6)],
)
def test_a_window_is_where_the_gradient_of_the_activation_is_not_zero(
    kernels: tuple[int, ...], pool_after: tuple[int, ...], size: int
) -> None:
    described, network = network_of(kernels, pool_after)
    # a max pooling passes on one of its four: so many images reach each of them
    images = torch.rand(400, 1, size, size)
    window = windows(copy.deepcopy(network), images)
    for layer in described.layers:
        side = size // 2 ** sum(place < layer.number for place in pool_after)
        for row, column in {(0, 0), (side // 2, side // 2), (side - 1, 0), (side - 1, side - 1), (1 % side, side // 3)}:
            inputs = images.clone().requires_grad_(True)
            unit = Unit(layer.number, 0, row, column)
            gradient = torch.autograd.grad(_at(network, inputs, unit).sum(), inputs)[0]
            seen = np.argwhere((gradient != 0).any(0)[0].numpy())
            (top, left), (bottom, right) = seen.min(0), seen.max(0)
            assert window(unit) == (top, bottom + 1, left, right + 1), unit


def _at(network: Network, images: torch.Tensor, unit: Unit) -> torch.Tensor:
    """Return a unit's activation on every image, by a forward pass of its own."""
    x = images
    for number in range(1, unit.layer + 1):
        x = network.module.get_submodule(f"layer{number}")(x)
        x = network.module.get_submodule(f"norm{number}")(x).relu()
        if number < unit.layer and (pool := dict(network.module.named_children()).get(f"pool{number}")):
            x = pool(x)
    return x[:, unit.channel, unit.row, unit.column]


def test_windows_of_a_known_network() -> None:
    _, network = network_of((5, 3, 3), (1, 2))
    window = windows(network, torch.zeros(1, 1, 16, 16))
    assert window(Unit(1, 0, 8, 0)) == (6, 11, 0, 3)  # cut off at the edge
    assert window(Unit(2, 0, 4, 4)) == (4, 14, 4, 14)  # 3 places of 2 pixels, and 2 to either side
    assert window(Unit(3, 0, 0, 0)) == (0, 12, 0, 12)


def test_each_unit_responds_to_its_own_image() -> None:
    measured = trained()
    network = measured.network("final", "target")
    images = measured.target.images["test"][:4]
    asked = [Unit(1, 5, 3, 7), Unit(2, 1, 0, 3), Unit(2, 7, 2, 2), Unit(3, 4, 1, 1)]
    with torch.no_grad():
        found = responses(network, images, asked).relu()
    activations = dict(layer_activations(network, images))
    expected = [activations[u.layer][k, u.channel, u.row, u.column] for k, u in enumerate(asked)]
    torch.testing.assert_close(found, torch.stack(expected))


# --- patches --------------------------------------------------------------------------------


def test_the_strongest_are_positive_in_order_and_the_first_of_equals() -> None:
    assert strongest(np.array([0.0, 2.0, 5.0, 2.0, 0.0, 1.0]), 3).tolist() == [2, 1, 3]
    assert strongest(np.array([0.0, 2.0, 0.0]), 3).tolist() == [1]
    assert strongest(np.zeros(4), 3).tolist() == []


def seen_pixels(row: pd.Series) -> np.ndarray:
    return np.frombuffer(row["pixels"], np.uint8).reshape(row["height"], row["width"])


@pytest.mark.parametrize("moment", ["start", "final"])
def test_patches_are_of_the_images_with_the_largest_activation_where_it_is(moment: str) -> None:
    measured = trained()
    found = pd.DataFrame(units.read_out(measured))
    images, labels = measured.target.images["test"], measured.target.labels["test"]
    grey = units.to_pixels(images.numpy(), measured.normalisation)
    for number, activation in layer_activations(measured.network(moment, "target"), images):
        for unit in range(1, 5):
            mine = found[(found["moment"] == moment) & (found["layer"] == number) & (found["unit"] == unit)]
            patches = mine[mine["rank"] > 0].sort_values("rank")
            largest = activation[:, unit - 1].flatten(1).max(1).values.numpy()
            count = min(int((largest > 0).sum()), units.PATCHES)
            assert count > 0
            assert patches["activation"].dropna().tolist() == pytest.approx(np.sort(largest)[::-1][:count].tolist())
            for _, row in patches[:count].iterrows():
                k = int(row["image"])
                assert row["activation"] == pytest.approx(largest[k])
                assert row["label"] == int(labels[k])
                cut = slice(row["top"], row["top"] + row["height"]), slice(row["left"], row["left"] + row["width"])
                np.testing.assert_array_equal(seen_pixels(row), grey[k][cut])
                # elsewhere the image may be black: the largest activation stays where it was
                alone = torch.full_like(images[k : k + 1], -10.0)
                alone[:, :, *cut] = images[k : k + 1, :, *cut]
                again = dict(layer_activations(measured.network(moment, "target"), alone))[number][0, unit - 1]
                places = np.argwhere((activation[k, unit - 1] == largest[k]).numpy())
                assert any(float(again[y, x]) == pytest.approx(largest[k], rel=1e-4) for y, x in places)


def test_pixels_come_back_from_standardised_images() -> None:
    from whypretrain.training.loop import standardise

    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 5, 4), dtype=np.uint8)
    images = standardise(pixels, NORMALISATION, torch.device("cpu")).numpy()
    np.testing.assert_array_equal(units.to_pixels(images, NORMALISATION), pixels[:, 0])


def test_the_rows_are_every_picture_once_and_the_same_channels_at_both_moments() -> None:
    found = pd.DataFrame(units.read_out(trained()))
    keys = list(found[["moment", "layer", "unit", "rank"]].itertuples(index=False, name=None))
    expected = [
        (moment, layer, unit, rank)
        for moment in ("start", "final")
        for layer in (1, 2, 3)
        for unit in (1, 2, 3, 4)
        for rank in range(units.PATCHES + 1)
    ]
    assert sorted(keys) == sorted(expected)
    assert (found["pixels"].map(len) == found["height"] * found["width"]).all()


def test_the_same_again_bit_by_bit() -> None:
    one, other = (pd.DataFrame(units.read_out(trained())) for _ in range(2))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def silenced(measured: Measured) -> Measured:
    """Return the run with a second layer that answers nothing to anything."""
    final = dict(measured.final)
    final["norm2.weight"] = np.zeros_like(final["norm2.weight"])
    final["norm2.bias"] = np.full_like(final["norm2.bias"], -1)
    return dataclasses.replace(measured, final=final)


def test_a_silent_unit_has_rows_without_pictures() -> None:
    found = pd.DataFrame(units.read_out(silenced(trained())))
    silent = found[(found["layer"] == 2) & (found["moment"] == "final")]
    assert len(silent) == 4 * (units.PATCHES + 1)
    assert silent[["image", "label", "activation"]].isna().all(axis=None)
    assert set(silent["pixels"]) == {b""}
    assert (silent[["top", "left", "height", "width"]] == 0).all(axis=None)
    assert found.loc[found["layer"] == 1, "activation"].notna().all()


def test_fewer_test_images_than_patches_leave_the_last_ranks_empty() -> None:
    few = data_of(3, 0, n=2)
    whole = trained().target
    target = TargetData(
        whole.images | {"test": few.images["test"]}, whole.labels | {"test": few.labels["test"]}, whole.classes
    )
    found = pd.DataFrame(units.read_out(dataclasses.replace(trained(), target=target)))
    assert found.loc[found["rank"] > 2, "image"].isna().all()
    assert set(found["image"].dropna()) <= {0, 1}


# --- images made for a unit ------------------------------------------------------------------


def start_image(measured: Measured) -> torch.Tensor:
    shape = tuple(measured.target.images["test"].shape[1:])
    return torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32))


def test_ascent_raises_the_activation_and_returns_what_it_says() -> None:
    measured = trained()
    network, middle, first = (
        measured.network("final", "target"),
        units.middle_units(measured, measured.target.images["test"]),
        start_image(measured),
    )
    made, activations = maximise(network, middle, first, low=LOW, high=HIGH)
    with torch.no_grad():
        before = responses(network, first.expand(len(middle), *first.shape), middle).numpy()
        after = responses(network, made, middle).clamp(min=0).numpy()
    np.testing.assert_allclose(activations, after, rtol=1e-4, atol=1e-5)
    assert (after >= before).all()
    # a unit of the last layer may want all below it to be silent, as on the first image they are
    assert (after > before)[:8].all()
    assert float(made.min()) >= np.float32(-0.6)
    assert float(made.max()) <= np.float32(2.3)


def test_a_linear_unit_gets_an_image_that_beats_every_test_image() -> None:
    # a first-layer unit's best image is its filter's sign; that of a real image is never quite that
    measured = trained()
    found = pd.DataFrame(units.read_out(measured))
    first = found[(found["layer"] == 1) & (found["moment"] == "final")].set_index(["unit", "rank"])["activation"]
    normal = (1 - NORMALISATION["mean"]) / NORMALISATION["standard_deviation"]
    bounded = measured.target.images["test"].clamp(-0.2 / 0.35, normal)  # as black and as white as an image may be
    best = dict(layer_activations(measured.network("final", "target"), bounded))[1].amax((0, 2, 3))
    for unit in range(1, 5):
        assert first[unit, 0] > float(best[unit - 1])


def test_an_image_on_which_all_below_is_silent_does_not_stop_the_ascent() -> None:
    _, network = network_of((3, 3), ())
    with torch.no_grad():
        network.module.get_submodule("norm1").bias.fill_(-1.0)
        dark = torch.full((1, 8, 8), -0.5)
        assert not dict(layer_activations(network, dark[None]))[1].any()
        unit = Unit(2, 0, 4, 4)
    made, activations = maximise(network, [unit], dark, low=LOW, high=HIGH)
    assert activations[0] > float(_at(network, dark[None], unit))
    assert float(_at(network, made, unit)) == pytest.approx(float(activations[0]))


def test_a_gradient_of_zero_leaves_the_image_to_the_regularisers() -> None:
    measured = silenced(trained())
    network = measured.network("final", "target")
    made, activations = maximise(network, [Unit(2, 0, 2, 2)], start_image(measured), low=LOW, high=HIGH)
    assert activations.tolist() == [0.0]
    assert torch.isfinite(made).all()


def test_all_maximised_images_start_from_one_and_differ_by_their_units() -> None:
    found = pd.DataFrame(units.read_out(trained()))
    made = found[(found["rank"] == 0) & (found["layer"] == 3)]
    assert made["image"].isna().all()
    assert len(set(made["pixels"])) > 4
    other = pd.DataFrame(units.read_out(dataclasses.replace(trained(), seed=1)))
    assert (other.loc[other["rank"] == 0, "pixels"] != found.loc[found["rank"] == 0, "pixels"]).any()


# --- the table -------------------------------------------------------------------------------


KEY = {"architecture": "net", "source": "letters", "epoch": "4+anneal", "span": "all", "target": "easy"}
KEY |= {"shots": "5", "mode": "finetune", "recipe": "short", "learning_rate": 0.1}
SETTING = {"name": "different", "source": "letters", "epoch": "4+anneal", "target": "easy", "shots": "5"}
VIEW = View("order", "Order", [SETTING], [], {"net": 3, "small": 1}, "short", "scratch", seed=0)


def unit_rows(seeds: int = 2, treatments: Sequence[str] = ("intact", "shuffle-kernels")) -> pd.DataFrame:
    """Return the table of real read-outs, the shuffled arm's with a silent layer."""
    found = []
    for treatment in treatments:
        measured = trained() if treatment == "intact" else silenced(trained())
        for seed in range(seeds):
            frame = pd.DataFrame(units.read_out(dataclasses.replace(measured, seed=seed)))
            found.append(frame.assign(**KEY, treatment=treatment, seed=seed))
    return pd.concat(found, ignore_index=True)


def design_of(rows: pd.DataFrame) -> pd.DataFrame:
    keys = [column for column in schemas.RUN_COLUMNS if column in rows]
    return rows[keys].drop_duplicates().assign(study="order", relation="different", selected=True)


def test_the_table_keeps_bytes_and_empty_places(tmp_path: Any) -> None:
    rows = unit_rows(1)
    schemas.write_table(tmp_path / "units.parquet", "units", rows, NOWHERE)
    table = read_columns(tmp_path / "units.parquet")[0]
    assert str(table.schema.field("pixels").type) == "binary"
    assert str(table.schema.field("image").type) == "int64"
    back = table.to_pandas()
    assert back["pixels"].tolist() == rows["pixels"].tolist()
    assert back["image"].isna().tolist() == rows["image"].isna().tolist()
    schemas.write_table(tmp_path / "none.parquet", "units", pd.DataFrame(), NOWHERE)
    assert read_columns(tmp_path / "none.parquet")[0].num_rows == 0


# --- the figure -------------------------------------------------------------------------------


def drawn(rows: pd.DataFrame, view: View = VIEW) -> Figure:
    tables = {"units": rows, "design": design_of(rows)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = picture.draw(tables, view, [])
        drawing.settle(figure)
        figure.savefig(io.BytesIO(), format="svg", bbox_inches="tight", metadata={"Date": None})
    return figure


def texts(figure: Figure) -> str:
    found = [figure.get_suptitle()]
    for axes in figure.get_axes():
        found += [axes.get_title("left"), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
    return " ".join(found).replace("\n", " ").replace("\u00a0", " ")


def test_the_figure_shows_start_and_end_of_both_arms() -> None:
    figure = drawn(unit_rows())
    assert len(figure.get_axes()) == 3 * 4
    assert all(axes.get_images() for axes in figure.get_axes())
    words = texts(figure)
    for heading in ("intact, start", "intact, final", "all kernels shuffled, start", "layer 3", "(net, n = 2)"):
        assert heading in words


def test_missing_arms_are_said_to_be_missing() -> None:
    rows = unit_rows(1, ["intact"])
    assert texts(drawn(rows)).count("no such arm") == 6
    assert f"What excites units: {wording.ABSENT}" in texts(drawn(rows[:0]))
    other = dataclasses.replace(VIEW, seed=7)
    assert "no such arm" in texts(drawn(rows, other))
    assert "no such arm" in texts(drawn(rows, dataclasses.replace(VIEW, settings=[{**SETTING, "shots": "1"}])))


def test_the_title_counts_the_images_that_stay() -> None:
    images = {"start": [[1, 2, 3, 4], [5, 6]], "final": [[4, 3, 9, 8], [5, 6]]}  # 2 of 4, 2 of 2
    rows = pd.DataFrame(
        [
            {"seed": 0, "layer": 1, "unit": unit + 1, "rank": rank, "moment": moment, "image": image}
            for moment, both in images.items()
            for unit, places in enumerate(both)
            for rank, image in enumerate(places, 1)
        ]
        + [{"seed": 0, "layer": 1, "unit": 3, "rank": 1, "moment": "start", "image": None}]
    )
    assert picture.kept(rows).mean == pytest.approx(0.75)
    assert picture.kept(rows[:0]).n == 0


def test_a_tile_lies_where_its_window_does() -> None:
    pixels = np.array([[0, 51], [102, 255]], np.uint8)
    row = pd.Series({"height": 2, "width": 2, "top": 0, "left": 3, "rank": 1, "pixels": pixels.tobytes()})
    found = picture.tile(row, (3, 4))  # cut off above and at the right
    np.testing.assert_allclose(found[1:, :2, 0], pixels / 255)
    np.testing.assert_allclose(found[0], np.broadcast_to(picture.OUTSIDE, (4, 3)))
    np.testing.assert_allclose(found[1:, 2:], np.broadcast_to(picture.OUTSIDE, (2, 2, 3)))
    silent = picture.tile(pd.Series({"height": 0, "width": 0, "rank": 1}), (3, 4))
    np.testing.assert_allclose(silent, np.broadcast_to(picture.SILENT, (3, 4, 3)))


def test_the_caption_states_the_regulariser_as_it_is() -> None:
    caption = (registry.PACKAGE.parent / "report" / "units.rst").read_text(encoding="utf-8")
    for told in (f"{excitation.STEPS} steps", f"{excitation.STEP} standard", f"{excitation.DECAY:.0%}".rstrip("%")):
        assert told in caption
    assert f"blur of {excitation.BLUR}" in " ".join(caption.split())
