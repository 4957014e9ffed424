"""Figures are drawn from any study's tables; titles say what the tables hold; colours can be told apart."""

import io
import itertools
from functools import cache

import docutils.core
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from figure_looks import drawn, overlap, svg, title_of
from jinja2 import Environment
from matplotlib.text import Text

from whypretrain import registry
from whypretrain.evidence.analysis import make_contrasts, make_design, summarise_arms
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.evidence.statistics import interval
from whypretrain.figures import accuracy_by_span, first_layer_kernels, kernel_cosine, learning_rates, source_history
from whypretrain.figures.plotting import choice, drawing, palette
from whypretrain.figures.plotting.view import View
from whypretrain.files import schemas
from whypretrain.grid.coordinates import Arm, key_columns
from whypretrain.registry import constants

# those of the new tables have tests of their own (test_curve_figures)
MADE = {"runs", "pilots", "history", "kernels", "design", "arms", "contrasts", "sources"}
FIGURES = tuple(name for name in registry.names("figures") if set(constants("figures", name)["TABLES"]) <= MADE)
DIFFERENT = {"name": "different", "source": "letters", "epoch": "4+anneal", "target": "digits", "shots": "5"}
SAME = {"name": "same-distribution", "source": "letters", "epoch": "4+anneal", "target": "letters-b", "shots": "full"}
LADDER = ("permute-channels", "shuffle-filters", "shuffle-kernels+affine-reset", "shuffle-weights", "gaussian", "mine")


def view_of(depths: dict[str, int], settings: list[dict[str, str]]) -> View:
    return View("order", "Order", settings, [], depths, "short", "scratch", seed=0)


FULL = view_of({"shallow": 3, "deep": 9}, [DIFFERENT, SAME])


def arms_of(view: View, *, scratch: bool = True) -> list[Arm]:
    """Return a study's arms: top spans, a ladder in the shallowest architecture, scratch and its longer recipe."""
    found = []
    for architecture, depth in view.depths.items():
        for setting in view.settings or [DIFFERENT]:
            target = f"{setting['target']}.{setting['shots']}"
            start = (architecture, setting["source"], setting["epoch"])
            end = (target, "finetune", view.recipe)
            found.append(Arm(*start, "intact", "all", *end))
            spans = ["all", *(f"top-{k}" for k in range(1, min(depth, 4)))]
            found += [Arm(*start, "shuffle-kernels", span, *end) for span in spans]
            if architecture == view.architectures[0]:
                found += [Arm(*start, treatment, "all", *end) for treatment in LADDER]
                found += [Arm(*start, "gabor", "bottom-1", *end), Arm(*start, "shuffle-filters", "top-1", *end)]
            if scratch:
                for recipe in (view.scratch_recipe, "scratch-long"):
                    found.append(Arm(architecture, "none", "0", "intact", "all", target, "finetune", recipe))
    return found


def tables_of(
    view: View, seeds: int, arms: list[Arm] | None = None, rates: tuple[float, ...] = (0.01, 0.1, 1.0)
) -> dict:
    """Return the tables of such a study as the pipeline makes them, from random scores."""
    rng = np.random.default_rng(0)
    arms = arms_of(view) if arms is None else arms
    runs, history, kernels = [], [], []
    for arm, rate, seed in itertools.product(arms, rates, range(seeds)):
        key = {**key_columns(arm), "learning_rate": rate, "seed": seed}
        scores = {f"top1_{part}": rng.uniform(0.1, 0.9) for part in (*schemas.PARTS, *schemas.FEW)}
        scores |= {f"loss_{part}": rng.uniform(0.1, 2.0) for part in (*schemas.PARTS, *schemas.FEW)} | {
            "balanced_test": 0.5
        }
        runs.append({**key, "diverged": rate == 1.0 and seed == 0, "collapsed": False, **scores, "steps": 40})
        runs[-1] |= {"converged": True, "strength": float("nan"), "strength_few": float("nan")}
        for epoch in range(3):
            losses = {"loss_train": rng.uniform(0, 3), "loss_validation": rng.uniform(0, 3)}
            tops = {"top1_train": rng.uniform(), "top1_validation": rng.uniform()}
            history.append({**key, "target_epoch": epoch, "step": 20 * epoch, **losses, **tops})
            for layer in range(1, view.depths[arm.architecture] + 1):
                cosines = {c: rng.uniform(0.9, 1) for c in schemas.TABLES["kernels"] if c.startswith("cosine")}
                counts = {"kernels": 9, "kernels_excluded": 0}
                kernels.append({**key, "target_epoch": epoch, "layer": layer, **cosines, **counts})
    frame = pd.DataFrame(runs)
    selected = select_learning_rates(frame)
    design = make_design(frame, selected, {arm: ["order", "another"] for arm in arms}, dict.fromkeys(arms, "different"))
    studies = dict.fromkeys(("order", "another"), (arms, view.scratch_recipe))
    sources = [
        {
            **{"architecture": name, "source": "letters", "seed": seed, "epoch": epoch, "annealed": annealed},
            **{"step": 7, "loss_train": 1.0, "loss_validation": 1.0, "loss_test": 1.0, "top1_validation": 0.5},
            "top1_test": rng.uniform(0.5, 0.9),
            "objective": "labels",
            **dict.fromkeys(
                ("top1_train", "layer", *(f"reconstruction_{part}" for part in schemas.PARTS)), float("nan")
            ),
        }
        for name in view.depths
        for seed in range(seeds)
        for epoch, annealed in ((0.0, False), (0.5, False), (4.0, False), (4.0, True))
    ]
    made = {
        "runs": frame,
        "pilots": frame,
        "history": pd.DataFrame(history),
        "kernels": pd.DataFrame(kernels),
        "design": design,
        "arms": summarise_arms(frame, design, selected, dict.fromkeys(frame["target"], 0.1)),
        "contrasts": make_contrasts(frame, selected, studies),
        "sources": pd.DataFrame(sources),
    }
    return {name: as_read(schemas.check_table(name, table)) for name, table in made.items()}


def as_read(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it comes from its file: texts as categories."""
    texts = [column for column in table if pd.api.types.is_string_dtype(table[column])]
    return table.astype(dict.fromkeys(texts, "category"))


def weights_of(view: View, filters: int = 40) -> drawing.Loaded:
    """Return starts and finals of the two arms that the pictures of kernels show."""
    rng = np.random.default_rng(0)
    found = []
    for architecture, treatment in itertools.product(view.depths, ("intact", "shuffle-kernels")):
        label = {"architecture": architecture, "treatment": treatment}
        start = rng.normal(size=(filters, 1, 5, 5)).astype(np.float32)
        found.append(({**label, "what": "start"}, {"layer1.weight": start}))
        for rate in ("0.01", "0.1", "1.0"):
            found.append(({**label, "what": "final", "learning_rate": rate}, {"layer1.weight": 2 * start}))
    return found


@pytest.fixture(scope="module")
def full() -> dict[str, pd.DataFrame]:
    return tables_of_case("two architectures, two settings")


ONE = view_of({"only": 1}, [DIFFERENT])
CASES = {
    "two architectures, two settings": (FULL, 3, None, True),
    "one layer, one seed": (ONE, 1, None, True),
    "no settings": (view_of({"only": 2}, []), 2, None, False),
    "scratch alone": (ONE, 2, [arm for arm in arms_of(ONE) if arm.source == "none"], False),
    "no scratch": (ONE, 2, arms_of(ONE, scratch=False), True),
    "five architectures, four settings": (
        view_of(
            {f"network-{n}": n for n in range(1, 6)},
            [{**DIFFERENT, "name": f"a-rather-long-name-of-a-setting-{n}", "shots": str(n)} for n in range(1, 5)],
        ),
        2,
        None,
        True,
    ),
}


@cache
def tables_of_case(case: str) -> dict[str, pd.DataFrame]:
    view, seeds, arms, _ = CASES[case]
    return tables_of(view, seeds, arms)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_from_any_study(name: str, case: str) -> None:
    view, _, _, weighed = CASES[case]
    figure = drawn(name, tables_of_case(case), view, weights_of(view) if weighed else [])
    assert title_of(figure).strip()
    assert len(svg(figure)) > 1000
    assert figure.get_size_inches()[0] == drawing.WIDTH


@pytest.mark.parametrize("name", FIGURES)
def test_titles_and_labels_stay_on_the_page_and_off_each_other(name: str, full: dict[str, pd.DataFrame]) -> None:
    figure = drawn(name, full, FULL, weights_of(FULL))
    figure.draw_without_rendering()
    page = figure.bbox
    boxes = []
    for axes in figure.get_axes():
        words = [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]  # type: ignore[attr-defined]
        boxes += [(each.get_text(), each.get_window_extent()) for each in words if each.get_text()]
        # nor do tick labels of one axis
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [
                (tick.label1.get_text(), tick.label1)
                for tick in axis.get_major_ticks()
                if low <= tick.get_loc() <= high
            ]
            extents = [label.get_window_extent() for text, label in ticks if text and label.get_visible()]
            assert not any(overlap(one, other) for one, other in itertools.combinations(extents, 2)), ticks
    suptitle: Text = figure._suptitle  # type: ignore[attr-defined]
    boxes.append((suptitle.get_text(), suptitle.get_window_extent()))
    if figure._supxlabel:  # type: ignore[attr-defined]
        boxes.append(("below", figure._supxlabel.get_window_extent()))  # type: ignore[attr-defined]
    boxes += [("legend", each.get_window_extent()) for each in figure.legends]
    for text, box in boxes:
        assert box.x0 >= page.x0 - 1, text
        assert box.x1 <= page.x1 + 1, text
        assert box.y1 <= page.y1 + 1, text
    for (text, a), (other, b) in itertools.combinations(boxes, 2):
        assert not overlap(a, b), (text, other)


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_rows_give_the_same_bytes_whatever_other_studies_are_there(
    name: str, full: dict[str, pd.DataFrame]
) -> None:
    alone = {table: frame[frame["study"] == "order"] if "study" in frame else frame for table, frame in full.items()}
    figure = drawn(name, full, FULL, weights_of(FULL))
    assert svg(drawn(name, alone, FULL, weights_of(FULL))) == svg(figure)
    for axes in figure.get_axes():  # the layout's last digits differ from process to process: none may be left
        bounds = axes.get_position(original=True).bounds
        np.testing.assert_allclose(bounds, np.round(bounds, 5), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", registry.names("figures"))
def test_a_figure_names_its_tables_and_has_a_caption(name: str) -> None:
    declared = constants("figures", name)["TABLES"]
    assert declared == registry.load("figures", name).TABLES
    assert set(declared) <= set(schemas.TABLES)
    caption = (ROOT / "workflow" / "report" / f"{name}.rst").read_text(encoding="utf-8")
    assert "n " in caption
    assert "interval" in caption or "n = 1" in caption
    snakemake = type("S", (), {"wildcards": type("W", (), {"study": "kernel-order"})})
    text = Environment().from_string(caption).render(snakemake=snakemake)
    assert warnings_of(text)[0] == ""
    assert "*kernel-order*" in text


def warnings_of(text: str) -> tuple[str, str]:
    """Return docutils' warnings on a text, and its HTML."""
    stream = io.StringIO()
    settings = {"warning_stream": stream, "report_level": 2}
    html = docutils.core.publish_parts(text, writer="html", settings_overrides=settings)["html_body"]
    return stream.getvalue(), html


# --- colours ---------------------------------------------------------------------------

# Machado, Oliveira, Fernandes 2009: what deuteranopes and protanopes see, in linear RGB
VISION = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}


def lab(colour: str, vision: str) -> np.ndarray:
    """Return a colour's CIE L*a*b* as a kind of vision sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_colours_can_be_told_apart(vision: str) -> None:
    for (one, a), (other, b) in itertools.combinations(palette.COLOURS.items(), 2):
        together = {one, other} <= {"intact", "shuffle-kernels", "scratch"}
        assert np.linalg.norm(lab(a, vision) - lab(b, vision)) > (40 if together else 15), (one, other)


def test_every_treatment_has_a_colour_and_suffixes_keep_it() -> None:
    assert set(registry.names("treatments")) <= set(palette.COLOURS)
    assert palette.colour("shuffle-kernels+affine-reset") == palette.colour("shuffle-kernels")
    assert palette.colour("one-that-is-new") not in palette.COLOURS.values()


# --- what titles and pictures say ----------------------------------------------------------


def test_a_cost_is_only_told_where_its_interval_excludes_zero() -> None:
    lost, unclear, gained = interval([-0.1, -0.11, -0.12]), interval([-0.1, 0.1, 0.02]), interval([0.05, 0.06, 0.07])
    said = accuracy_by_span.cost_sentence("It", [("a", lost), ("b", unclear), ("c", gained)])
    assert "costs 11.0 (a)" in said
    assert "gains 6.0 (c)" in said
    assert "no clear difference (b: +0.7)" in said
    assert said.endswith("(n = 3)")
    alone = accuracy_by_span.cost_sentence("It", [("a", interval([-0.5]))])
    assert "no clear difference (a: −50.0)" in alone


def test_titles_count_what_the_tables_hold(full: dict[str, pd.DataFrame]) -> None:
    chosen = [choice.in_panel(choice.of_study(full["arms"], FULL), FULL, architecture, choice.Setting(**setting))
              for architecture in FULL.depths for setting in FULL.settings]  # fmt: skip
    edges, arms = sum(int(rows["grid_edge"].sum()) for rows in chosen), sum(map(len, chosen))
    assert learning_rates.title(chosen).endswith(f"for {edges} of {arms} arms")
    ends = full["sources"][full["sources"]["annealed"]].groupby("architecture", observed=True)["top1_test"].mean()
    said = source_history.title(full["sources"], FULL)
    assert said.startswith(f"Sources end at {100 * ends['shallow']:.1f} % (shallow")
    assert f"{100 * ends['deep']:.1f} % (deep" in said
    assert said.endswith("(n = 3)")


def test_the_kernel_cosine_is_compared_at_one_rate_that_nobody_diverged_at(full: dict[str, pd.DataFrame]) -> None:
    runs = choice.of_runs(choice.of_study(full["design"], FULL), full["runs"])
    arms = choice.main_arms(choice.in_panel(runs, FULL, "shallow", choice.Setting(**DIFFERENT)), FULL)
    assert {arm.name for arm in arms} == {"intact", "all kernels shuffled", "scratch", "scratch-long"}
    assert kernel_cosine.common_rate(arms) == 0.01  # 1.0 diverged; of two the lower
    assert kernel_cosine.common_rate([]) is None


@pytest.mark.parametrize(
    ("treatment", "span", "layers"),
    [("intact", "all", 0), ("shuffle-kernels", "all", 8), ("shuffle-kernels", "top-3", 3)],
)
def test_spans_are_counted_from_the_top(treatment: str, span: str, layers: int) -> None:
    assert choice.top_layers(treatment, span, 8) == layers
    assert np.isnan(choice.top_layers("shuffle-kernels", "bottom-2", 8))


def test_a_mosaic_shows_every_filter_in_its_place() -> None:
    kernels = np.arange(20 * 9, dtype=float).reshape(20, 3, 3)
    picture = first_layer_kernels.mosaic(kernels, columns=16)
    assert picture.shape == (7, 63)
    np.testing.assert_array_equal(picture[0:3, 4:7], kernels[1])
    np.testing.assert_array_equal(picture[4:7, 0:3], kernels[16])
    assert np.isnan(picture[3]).all()
    weights = {"layer1.weight": np.zeros((40, 3, 5, 5))}
    assert first_layer_kernels.first_layer(weights).shape == (32, 5, 5)
    assert first_layer_kernels.mean_cosine(kernels, 3 * kernels) == pytest.approx(1)


def test_stages_of_the_report_import_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys; sys.path.insert(0, 'workflow')\n"
    code += "".join(f"import whypretrain.figures.{name.replace('-', '_')}\n" for name in FIGURES)
    code += "import whypretrain.stages.plot_figure, whypretrain.stages.write_report\n"
    code += "sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_note_above_a_figure_hides_nothing():
    figure = drawing.new_figure(1.2, "Something")
    drawing.below(figure, [palette.Look("intact", "#000000")], "n = 2")
    drawing.settle(figure)
    drawing.note(figure, "photos: one source network, the same with every seed. " * 4)
    note = figure.texts[-1].get_window_extent()
    assert note.y0 > figure.bbox.y1
    assert note.x1 < figure.bbox.x1
