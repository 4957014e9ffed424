"""Figures of layers, checkpoints, measures and pairs are drawn from any tables; titles say what these hold."""

import itertools
from functools import cache

import numpy as np
import pandas as pd
import pytest
from figure_looks import Tables, assert_drawn, drawn, svg

from whypretrain import registry
from whypretrain.evidence.statistics import interval
from whypretrain.figures import (
    barriers,
    checkpoint_maturity,
    co_adaptation,
    layer_transfer,
    source_accuracy,
    spectra,
)
from whypretrain.figures.plotting import choice, palette, wording
from whypretrain.figures.plotting.view import View
from whypretrain.files import schemas
from whypretrain.grid.coordinates import split_epoch

REPORT = registry.PACKAGE.parent / "report"
FIGURES = (
    "layer-transfer",
    "co-adaptation",
    "checkpoint-maturity",
    "source-accuracy",
    "spectra",
    "spectral-parts",
    "similarity-by-layer",
    "pairs-by-layer",
    "barriers",
    "criticality",
)
EPOCHS = (0, 0.125, 0.25, 0.5, 1, 2, 4, 6, 8, 12)
COPIED = (1, 3, 5, 7, 8)
SETTINGS = [
    {"name": name, "source": f"{name}-a", "epoch": "12+anneal", "target": "half-b", "shots": "full"}
    for name in ("random", "dissimilar")
]
PAIRS = ["intact and intact", "intact and shuffled kernels", "scratch and scratch", "intact and scratch"]
VIEW = View("maturity", "Maturity", SETTINGS, PAIRS, {"deep": 8, "plain": 8}, "short", "scratch", seed=0)
MEASURES = ("spectra", "parts", "similarity", "criticality")

CKA = ("cka", "cka_positions", "cka_pooled")
RATES = {"first_rate": 0.1, "second_rate": np.nan}  # of a pair


class Maker:
    """Makes plausible tables of a study, and some rows of another one."""

    def __init__(self, view: View, seeds: int) -> None:
        self.view, self.seeds = view, seeds
        self.rng = np.random.default_rng(0)
        self.settings = [str(setting["name"]) for setting in view.settings]

    def mean(self, value: float, spread: float = 0.01) -> dict[str, float]:
        """Return the columns of a mean over seeds about a value."""
        found = interval(value + spread * self.rng.normal(size=self.seeds))
        low, high = choice.limits(found)
        return {"mean": min(found.mean, 1.0), "low": low, "high": high, "n": self.seeds}

    def top1(self, value: float) -> float:
        """Return a fraction about a value."""
        return float(np.clip(value + 0.01 * self.rng.normal(), 0, 1))

    def transfer(self) -> pd.DataFrame:
        """Curves that fall with depth, as Yosinski et al. drew them."""
        rows = []
        for study, setting, architecture in itertools.product(
            (self.view.study, "another"), self.settings, self.view.depths
        ):
            depth = self.view.depths[architecture]
            flat = {"base": 0.62, "base halves-double": 0.635, "source": 0.66}
            curves = {
                "BnB": lambda x: 0.62 - 0.08 * np.sin(3 * x),
                "AnB": lambda x: 0.62 - 0.02 - 0.25 * x**2,
                "BnB+": lambda x: 0.62 + 0.005 * x,
                "AnB+": lambda x: 0.63 + 0.02 * x,
                "random": lambda x: 0.6 - 0.5 * x,
                "co-adaptation": lambda x: -0.08 * np.sin(3 * x),
                "specificity": lambda x: -0.01 - 0.22 * x**2,
                "gain": lambda x: 0.01 + 0.02 * x,
            }
            cells = [(quantity, 0, value) for quantity, value in flat.items()]
            for quantity, curve in curves.items():
                for n in sorted({min(n, depth) for n in COPIED}):
                    if quantity != "random" or n < depth:
                        cells.append((quantity, n, curve(n / depth)))
            rows += [
                {
                    **{"study": study, "setting": setting, "architecture": architecture, "layers": n},
                    **{"quantity": quantity, **self.mean(value)},
                }
                for quantity, n, value in cells
            ]
        return pd.DataFrame(rows)

    def maturity(self) -> pd.DataFrame:
        """A probe that peaks early, and fine-tuning that goes on rising."""
        rows = []
        for study, setting, architecture in itertools.product(
            (self.view.study, "another"), self.settings, self.view.depths
        ):
            for mode, annealed in itertools.product(("probe", "probe+source-norm", "finetune"), (False, True)):
                curve = []
                for place, epoch in enumerate(EPOCHS):
                    x = place / (len(EPOCHS) - 1)
                    value = {"probe": 0.3 + 0.6 * x * (1.4 - x), "finetune": 0.4 + 0.3 * x}.get(mode, 0.25 + 0.4 * x)
                    value += 0.02 if annealed and epoch else 0.0
                    curve.append(
                        {
                            **{"study": study, "setting": setting, "architecture": architecture, "mode": mode},
                            **{"recipe": "short" if mode == "finetune" else "none", "annealed": annealed},
                            **{"epoch": float(epoch), "peak": False, "source_top1": self.top1(0.05 + 0.8 * x**0.5)},
                            **{"top1_validation": self.top1(value), **self.mean(value), "gap": 0.01},
                        }
                    )
                max(curve, key=lambda row: row["top1_validation"])["peak"] = True
                rows += curve
        return pd.DataFrame(rows)

    def correlations(self) -> pd.DataFrame:
        """One for each architecture and one for all of them."""
        rows = []
        for setting, mode, annealed in itertools.product(
            self.settings, ("probe", "probe+source-norm", "finetune"), (False, True)
        ):
            scopes = [("one architecture", name) for name in self.view.depths] + [("all architectures", "all")]
            for scope, architecture in scopes:
                found = self.mean(0.5 if mode == "probe" else 0.9, 0.05)
                where = {"study": self.view.study, "setting": setting, "scope": scope, "architecture": architecture}
                recipe = "short" if mode == "finetune" else "none"
                how = {"mode": mode, "recipe": recipe, "annealed": annealed}
                rows.append({**where, **how, "points": len(EPOCHS), **found})
        return pd.DataFrame(rows)

    def arms(self) -> list[dict[str, str]]:
        """Intact networks from all checkpoints, fine-tuned and probed; shuffled ones; scratch."""
        found = []
        for architecture, setting in itertools.product(self.view.depths, self.view.settings):
            end = {"target": setting["target"], "shots": setting["shots"]}
            for epoch, mode in itertools.product(EPOCHS, ("finetune", "probe")):
                for text in dict.fromkeys((f"{epoch}", f"{epoch}+anneal" if epoch else "0")):
                    start = {"architecture": architecture, "source": setting["source"], "epoch": text}
                    how = {"treatment": "intact", "span": "all", **end, "mode": mode}
                    found.append({**start, **how, "recipe": "short" if mode == "finetune" else "none"})
            start = {"architecture": architecture, "source": setting["source"], "epoch": setting["epoch"]}
            shuffled = {"treatment": "shuffle-kernels", **end, "mode": "finetune", "recipe": "short"}
            found += [{**start, "span": span, **shuffled} for span in ("all", "top-1")]
        for architecture in self.view.depths:
            end = {"target": SETTINGS[0]["target"], "shots": SETTINGS[0]["shots"]}
            start = {"architecture": architecture, "source": "none", "epoch": "0", "treatment": "intact", "span": "all"}
            found.append({**start, **end, "mode": "finetune", "recipe": "scratch"})
        return [dict(arm) for arm in dict.fromkeys(tuple(each.items()) for each in found)]

    def runs(self) -> list[dict]:
        """Each arm with its selected rate and its seeds."""
        return [
            {**arm, "learning_rate": 0.1 if arm["mode"] == "finetune" else np.nan, "seed": seed}
            for arm in self.arms()
            for seed in range(self.seeds)
        ]

    def of_runs(self) -> Tables:
        """Return design and what is measured of its runs."""
        design, found = [], {name: [] for name in MEASURES}  # type: ignore[var-annotated]
        for key in self.runs():
            for study in (self.view.study, "another"):
                design.append({"study": study, **key, "relation": "different", "selected": True})
            depth = self.view.depths[key["architecture"]]
            at = split_epoch(key["epoch"])[0]
            x = EPOCHS.index(at) / (len(EPOCHS) - 1)
            if key["treatment"] == "intact" and key["source"] != "none":
                found["spectra"] += self._spectrum(key, x)
                found["parts"] += self._parts(key, x)
            for layer in range(1, depth + 1):
                lost = 0.3 / layer * (1 + x) + 0.02 * self.rng.normal()
                values = {"relative_l2": 0.3 + 0.1 * layer / depth + 0.5 * (1 - x) + 0.02 * self.rng.normal()}
                values |= {"cosine_mean": self.top1(0.9 - 0.3 * (1 - x) * layer / depth)}
                values |= dict.fromkeys(CKA, self.top1(0.97 - 0.5 * (1 - x) * (layer / depth) ** 2))
                found["similarity"].append({**key, "layer": layer, **values})
                for put_back, factor in (("start", 0.4), ("initialisation", 1.0)):
                    row = {"layer": layer, "put_back": put_back, "top1_lost": factor * lost}
                    found["criticality"].append({**key, **row})
        return {"design": pd.DataFrame(design), **{name: pd.DataFrame(rows) for name, rows in found.items()}}

    def _moments(self) -> list[tuple[str, str]]:
        return [(moment, images) for moment, images in map(str.split, choice.FEATURES)]

    def _spectrum(self, key: dict, x: float) -> list[dict]:
        rows = []
        for (moment, images), centred in itertools.product(self._moments(), (False, True)):
            values = np.exp(-(0.05 + 0.3 * x) * np.arange(32)) + 0.01 * self.rng.random(32)
            for number, value in enumerate(values, 1):
                row = {"moment": moment, "images": images, "centred": centred, "component": number}
                shares = {"share": value / values.sum(), "share_squared": value**2 / (values**2).sum()}
                rows.append({**key, **row, "singular_value": value, **shares})
        return rows

    def _parts(self, key: dict, x: float) -> list[dict]:
        rows = []
        for (moment, images), (part, factor) in itertools.product(
            self._moments(), (("all", 1.0), ("main", 0.85), ("residual", 0.7))
        ):
            top1 = self.top1(factor * (0.4 + 0.4 * x + (0.1 if moment == "final" else 0)))
            numbers = {"components": 5, "effective_rank": 4.0, **{f"top1_{name}": top1 for name in schemas.PARTS}}
            row = {"moment": moment, "images": images, "part": part, **numbers}
            rows.append({**key, **row, "strength": 1.0, "converged": True})
        return rows

    def pairs(self) -> pd.DataFrame:
        """CKA that falls with depth."""
        rows = []
        for number, name in enumerate([*self.view.pairs, "of another study"]):
            for (architecture, depth), seed in itertools.product(self.view.depths.items(), range(self.seeds)):
                for layer in range(1, depth + 1):
                    cka = self.top1(0.97 - 0.15 * number * (layer / depth))
                    values = {"relative_l2": 1.0, "cosine_mean": 0.1, **dict.fromkeys(CKA, cka), **RATES}
                    rows.append({"pair": name, "architecture": architecture, "seed": seed, "layer": layer, **values})
        return pd.DataFrame(rows)

    def barriers(self) -> pd.DataFrame:
        """Barriers that matching lowers."""
        rows = []
        for number, name in enumerate([*self.view.pairs, "of another study"]):
            for architecture, seed, images, matched, reestimated in itertools.product(
                self.view.depths, range(self.seeds), ("train", "test"), (False, True), (False, True)
            ):
                height = 0.4 * number * (0.5 if matched else 1) * (0.7 if reestimated else 1)
                where = {"pair": name, "architecture": architecture, "seed": seed, "images": images, **RATES}
                kind = {"matched": matched, "reestimated": reestimated}
                rows.append({**where, **kind, "barrier": height + 0.1 * self.rng.normal(), "position": 0.5})
        return pd.DataFrame(rows)

    def tables(self) -> Tables:
        """Return all tables, as they are read from their files."""
        made = {**self.of_runs(), "transfer": self.transfer(), "maturity": self.maturity()}
        made |= {"correlations": self.correlations(), "pairs": self.pairs(), "barriers": self.barriers()}
        return as_read(made)


def as_read(tables: Tables) -> Tables:
    """Return tables checked, their texts as categories."""
    found = {}
    for name, table in tables.items():
        checked = schemas.check_table(name, table)
        texts = [column for column in checked if pd.api.types.is_string_dtype(checked[column])]
        found[name] = checked.astype(dict.fromkeys(texts, "category"))
    return found


def with_holes(tables: Tables) -> Tables:
    """Return tables that lack rows, and in which numbers that may be undefined are."""
    rng = np.random.default_rng(1)
    found = {}
    for name, table in tables.items():
        kept = table[rng.random(len(table)) > 0.1].reset_index(drop=True) if name != "design" else table.copy()
        for column, kind in schemas.TABLES[name].items():
            if kind.nullable and column != "learning_rate":
                kept.loc[rng.random(len(kept)) < 0.2, column] = np.nan
        if "mean" in kept:
            kept.loc[kept["mean"].isna(), ["low", "high"]] = np.nan
        if "cka" in kept:
            kept.loc[kept["layer"] == 3, "cka"] = np.nan
        found[name] = kept
    return found


MANY = View(
    "maturity",
    "Maturity",
    [{**setting, "name": f"{setting['name']}-{n}"} for setting in SETTINGS for n in range(2)],
    [f"a pair of networks with a long name, number {n}" for n in range(9)],
    {f"network-{n}": n + 1 for n in range(4)},
    "short",
    "scratch",
    seed=0,
)
UNSET = View("maturity", "Maturity", [], [], {"deep": 8}, "short", "scratch", seed=0)


@cache
def tables_of(case: str) -> tuple[Tables, View]:
    """Return the tables of a case, and the study's view."""
    if case == "empty":
        return as_read({name: pd.DataFrame() for name in schemas.TABLES}), VIEW
    if case == "one seed":
        return Maker(VIEW, 1).tables(), VIEW
    if case == "holes":
        return with_holes(tables_of("full")[0]), VIEW
    if case == "many":
        return Maker(MANY, 2).tables(), MANY
    if case == "no settings, no pairs":
        return tables_of("full")[0], UNSET
    return Maker(VIEW, 5).tables(), VIEW


CASES = ("full", "empty", "one seed", "holes", "many", "no settings, no pairs")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_from_any_tables_and_no_text_hides_another(name: str, case: str) -> None:
    assert_drawn(name, *tables_of(case))


@pytest.mark.parametrize("name", FIGURES)
def test_other_studies_change_nothing_and_the_same_rows_give_the_same_bytes(name: str) -> None:
    tables, view = tables_of("full")
    alone = {table: rows[rows["study"] == view.study] if "study" in rows else rows for table, rows in tables.items()}
    alone |= {table: tables[table][tables[table]["pair"].isin(view.pairs)] for table in ("pairs", "barriers")}
    assert svg(drawn(name, alone, view)) == svg(drawn(name, tables, view))


# --- what titles say -------------------------------------------------------------------------


def small(tables: Tables, name: str, *architectures: str) -> tuple[pd.DataFrame, View]:
    """Return a table's rows of the study in one setting, and a view of few architectures."""
    depths = dict.fromkeys(architectures, 8)
    view = View("maturity", "", SETTINGS[:1], PAIRS[:1], depths, "short", "scratch", 0)
    rows = choice.of_study(tables[name], view) if "study" in tables[name] else tables[name]
    return (rows[rows["setting"] == "random"] if "setting" in rows else rows), view


def value(rows: pd.DataFrame, column: str, **where: object) -> float:
    """Return the one value of the rows that are so."""
    for key, wanted in where.items():
        rows = rows[rows[key] == wanted]
    assert len(rows) == 1
    return float(rows[column].iloc[0])


def test_titles_of_layer_transfer_give_what_the_table_holds() -> None:
    rows, view = small(tables_of("full")[0], "transfer", "deep")
    lost = {
        name: value(rows, "mean", architecture="deep", quantity=name, layers=8)
        - value(rows, "mean", architecture="deep", quantity="base")
        for name in ("AnB", "AnB+")
    }
    said = layer_transfer.title(rows, view)
    assert f"{wording.points(lost['AnB'], signed=True)} (deep, random, n = 8)" in said
    assert f"{wording.points(lost['AnB+'], signed=True)} (deep, random, n = 8)" in said
    assert said.endswith("(n = 5)")
    said = co_adaptation.title(rows, view)
    for name in ("co-adaptation", "specificity"):
        told = value(rows, "mean", architecture="deep", quantity=name, layers=8)
        assert f"{name} is {wording.points(told, signed=True)} (deep, random, n = 8)" in said


def test_titles_of_maturity_give_the_peak_on_validation() -> None:
    rows, view = small(tables_of("full")[0], "maturity", "deep")
    mine = rows[(rows["architecture"] == "deep") & (rows["mode"] == "probe") & rows["annealed"]]
    best = mine.loc[mine["top1_validation"].idxmax()]
    gain = best["mean"] - value(mine, "mean", epoch=12.0)
    said = checkpoint_maturity.title(rows, view)
    assert f"probe at epoch {best['epoch']:g} by {wording.points(gain, signed=True)} (deep, random)" in said


def test_a_correlation_that_is_undefined_is_said_to_be_so() -> None:
    rows, view = small(tables_of("full")[0], "correlations", "deep")
    rows = rows[rows["architecture"] == "deep"].copy()
    told = value(rows, "mean", mode="finetune", annealed=True)
    assert f"finetune {told:.2f} (deep, random)" in source_accuracy.title(rows, view)
    rows.loc[:, ["mean", "low", "high"]] = np.nan
    assert "probe undefined" in source_accuracy.title(rows, view)
    assert {text.split(": ")[1] for text in source_accuracy.correlation_lines(rows)} == {"undefined"}
    assert source_accuracy.correlation_text(0.5, np.nan, np.nan) == "0.50 (no interval)"


def test_components_are_counted_where_the_curve_reaches_80_percent() -> None:
    key = {"architecture": "deep", "moment": "start", "images": "target", "at": 0.0}
    shares = [0.5, 0.2, 0.2, 0.1]
    rows = pd.DataFrame(
        [{**key, "seed": s, "component": c, "share": v} for s in (0, 1) for c, v in enumerate(shares, 1)]
    )
    curve = spectra.cumulative(rows)
    np.testing.assert_allclose(curve["cumulative"], np.cumsum(shares))
    assert spectra.components_to_main(curve, "deep", "target", 0.0) == 3
    assert spectra.components_to_main(curve, "deep", "source", 0.0) is None
    rows.loc[0, "share"] = np.nan  # a seed without a spectrum leaves the other's
    np.testing.assert_allclose(spectra.cumulative(rows)["cumulative"], np.cumsum(shares))


def test_the_title_of_barriers_tells_means_on_test_images() -> None:
    rows, view = small(tables_of("full")[0], "barriers", "deep")
    rows = rows[rows["pair"].isin(view.pairs)]
    mine = rows[(rows["architecture"] == "deep") & (rows["images"] == "test") & rows["reestimated"]]
    plain = wording.plain(mine.loc[~mine["matched"], "barrier"].mean())
    assert f"{plain} (deep, intact and intact) as the networks are" in barriers.title(rows, view)


# --- which arms, and what they are called --------------------------------------------------------


def test_runs_of_probes_are_found_though_they_have_no_learning_rate() -> None:
    tables, view = tables_of("full")
    rows = choice.measured(tables["design"], tables["parts"], view)
    assert len(rows) == len(tables["parts"])
    assert rows.loc[rows["mode"] == "probe", "learning_rate"].isna().all()


def test_arms_are_few_and_named_by_what_differs() -> None:
    tables, view = tables_of("full")
    arms = choice.courses(choice.measured(tables["design"], tables["similarity"], view), view)
    names = list(choice.course_names(arms).values())
    assert len(arms) == len(set(names)) == choice.MOST_ARMS
    assert {arm.mode for arm in arms} == {"finetune"}
    assert names[-1] == "scratch"
    one = choice.Course("a", "12+anneal", "intact", "all", "b", "full", "finetune", "short")
    assert choice.course_names([one]) == {one: "intact"}
    two = one._replace(treatment="shuffle-kernels", span="top-1")
    assert list(choice.course_names([one, two]).values()) == ["intact", "shuffle-kernels top-1"]
    looks = choice.course_looks([one, two])
    assert looks[two].shade == palette.colour("shuffle-kernels")
    early = one._replace(epoch="0.125")
    assert choice.course_names([early, one])[early] == "epoch ⅛"


def test_an_undefined_cka_leaves_a_gap() -> None:
    rows = pd.DataFrame({"layer": [1, 1, 2, 2, 3], "cka": [0.5, 0.7, np.nan, np.nan, 0.1]})
    found = choice.means(rows, "layer", "cka")
    assert list(found["n"]) == [2, 0, 1]
    assert found["mean"].isna().tolist() == [False, True, False]


def test_curves_have_colours_that_are_known_to_stay_apart() -> None:
    for shades in (
        palette.SHADES,
        [look.shade for look in layer_transfer.looks_of(tables_of("full")[0]["transfer"]).values()],
    ):
        assert len(set(shades)) == len(shades)
        assert set(shades) <= set(palette.COLOURS.values())


def test_epochs_are_written_as_fractions() -> None:
    assert [wording.epoch_text(e) for e in (0, 0.125, 0.5, 1, 1.5, 12, 0.1)] == [
        "0",
        "⅛",
        "½",
        "1",
        "1½",
        "12",
        "0.1",
    ]
