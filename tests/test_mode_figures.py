"""Figures of modes of use are drawn from any tables; titles and panels say what the tables hold."""

import dataclasses
import itertools
import re
from functools import cache

import numpy as np
import pandas as pd
import pytest
from figure_looks import Tables, assert_drawn, drawn, svg, title_of
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from test_curve_figures import as_read
from test_figures import VISION, lab

from whypretrain import registry
from whypretrain.evidence import mode_map
from whypretrain.evidence.statistics import interval, not_worse_than_best
from whypretrain.figures import mode_map as mode_map_figure
from whypretrain.figures import modes_by_shots, transferability
from whypretrain.figures.plotting import choice, palette, wording
from whypretrain.figures.plotting.cells import cells_of
from whypretrain.figures.plotting.view import View
from whypretrain.files import schemas

REPORT = registry.PACKAGE.parent / "report"
FIGURES = ("mode-map", "modes-by-shots", "transferability")
SOURCES = {"glyphs-a": 0.12, "digits": 1.4, "textures": 1.98}  # with their distances
MEMBER = {"probe-L": "probe-2", "svm-L": "svm-4", "freeze-N": "freeze-3", "scratch": "finetune"}


def view_of(
    sources: list[str], shots: list[str], depths: dict[str, int], targets: tuple[str, ...] = ("glyphs-b",)
) -> View:
    """Return a study with a setting for each source, target and number of shots, and rules for some."""
    settings = [
        {"name": f"{s}-{t}-{n}", "source": s, "epoch": "8+anneal", "target": t, "shots": n}
        for t, s, n in itertools.product(targets, sources, shots)
    ]
    kinds = [("small and similar", "probe"), ("small and dissimilar", "svm-L"), ("large", "finetune")]
    rules = [
        {
            **{"setting": setting["name"], "claim": f"Q{number}", "quadrant": kind, "family": family},
            **{"architecture": next(iter(depths)), "statement": "It is so.", "modes": [MEMBER.get(family, family)]},
        }
        for setting, (number, (kind, family)) in zip(settings, itertools.cycle(enumerate(kinds)), strict=False)
    ]
    return View("modes", "Modes", settings, [], depths, "short", "scratch", seed=0, rules=rules)


FULL = view_of(list(SOURCES), ["1", "5", "30", "full"], {"plain": 4})


def tables_of(view: View, seeds: int, families: tuple[str, ...] = mode_map.FAMILIES) -> Tables:
    """Return plausible tables: modes that part with shots and distance, and some rows of another study."""
    rng = np.random.default_rng(0)
    modes, starts, arms, verdicts = [], [], [], []
    luck = rng.normal(size=seeds)
    for setting, architecture in itertools.product(view.settings, view.depths):
        x = ["1", "5", "30", "full"].index(setting["shots"]) / 3
        far = SOURCES.get(setting["source"], 1.0)
        cell = {"setting": setting["name"], "architecture": architecture}
        place = {"target": setting["target"], "shots": setting["shots"]}
        scores = np.array(
            [
                0.35 + 0.5 * x - 0.06 * far * (family != "scratch") + 0.02 * number * (2 * x - 1)
                - 0.08 * (family == "scratch") + 0.03 * luck + 0.01 * rng.normal(size=seeds)
                for number, family in enumerate(families)
            ]
        )  # fmt: skip
        p = not_worse_than_best(scores) if len(scores) > 1 else np.ones(len(scores))
        for study, (number, family) in itertools.product((view.study, "another"), enumerate(families)):
            estimate = interval(scores[number])
            low, high = choice.limits(estimate)
            modes.append(
                {
                    **{"study": study, **cell, **place},
                    **{"source": "none" if family == "scratch" else setting["source"], "family": family},
                    **{"mode": MEMBER.get(family, family), "recipe": "short", "learning_rate": 0.1, "members": 3},
                    **{"grid_edge": False, "top1_validation": 0.5, "mean": estimate.mean, "low": low, "high": high},
                    **{
                        "n": seeds,
                        "balanced": 0.5,
                        "largest_class": 0.1,
                        "behind": 0.0,
                        "p": p[number],
                        "best": number == scores.mean(1).argmax(),
                    },
                    "not_worse": bool(p[number] > 0.05),
                }
            )
        start = {"architecture": architecture, "source": setting["source"], "epoch": setting["epoch"]}
        start |= {"treatment": "intact", "span": "all", **place}
        for seed in range(seeds):
            scored = {"log_me": -far + 0.3 * rng.normal(), "leep": -1 - far / 2 - 0.1 * rng.random()}
            scored["proxy_a_distance"] = float(np.clip(far + 0.02 * rng.normal(), -2, 2))
            probe = {f"probe_top1_{part}": 0.5 for part in schemas.PARTS}
            others = {"source_top1_stored": 0.9, "source_top1_reestimated": 0.9, "probe_strength": 1.0}
            starts.append({**start, "seed": seed, **others, **probe, "probe_converged": True, **scored})
        for family, study in itertools.product(families, (view.study, "another")):
            values = interval(scores[families.index(family)])
            low, high = choice.limits(values)
            mode = {"mode": MEMBER.get(family, family), "recipe": "none" if "probe" in family else "short"}
            begin = start | ({"source": "none", "epoch": "0"} if family == "scratch" else {})
            arm = {"study": study, **begin, **mode, "relation": "different", "learning_rate": 0.1, "grid_edge": False}
            counts = {"n": seeds, "diverged": 0, "collapsed": 0, "unconverged": 0}
            numbers = {f"{what}_{part}": values.mean for what in ("top1", "loss") for part in schemas.PARTS}
            numbers |= {"top1_test_low": low, "top1_test_high": high, "balanced_test": 0.5, "largest_class": 0.1}
            arms.append({**arm, **counts, **numbers, "source_networks": seeds})
    told = itertools.cycle(("supported", "contradicted", "inconclusive"))
    for rule, verdict in zip(view.rules, told, strict=False):
        row = {"claim": rule["claim"], "paper": "Course", "study": view.study, "setting": rule["setting"]}
        row |= {"statement": "It is so.", "test": "non-inferiority", "one_source": False, "component": "1", "n": seeds}
        row |= {"effect": 0.0, "low": -0.1, "high": 0.1, "coverage": 0.9, "p": 0.5, "margin": 0.01, "unit": "points"}
        verdicts.append({**row, "verdict": verdict, "reason": ""})
    made = {"modes": modes, "starts": starts, "arms": arms, "verdicts": verdicts}
    frames = {name: pd.DataFrame(rows) for name, rows in made.items()}
    frames["arms"] = frames["arms"].drop_duplicates(["study", *schemas.KEY_COLUMNS])
    return as_read(frames)


def with_holes(tables: Tables) -> Tables:
    """Return tables in which families, cells, scores and verdicts are missing."""
    rng = np.random.default_rng(1)
    found = {name: table[rng.random(len(table)) > 0.25].reset_index(drop=True) for name, table in tables.items()}
    found["starts"].loc[rng.random(len(found["starts"])) < 0.3, ["log_me", "proxy_a_distance"]] = np.nan
    found["starts"]["leep"] = np.nan
    found["modes"].loc[rng.random(len(found["modes"])) < 0.2, ["low", "high"]] = np.nan
    return found


def near(tables: Tables) -> Tables:
    """Return tables in which scores hardly differ: their axis has long numbers."""
    starts = tables["starts"]
    kept = starts[starts["source"] != "textures"]
    return tables | {"starts": kept.assign(leep=-2.3 + 0.0005 * kept["leep"], log_me=-0.26 + 0.002 * kept["log_me"])}


def tied(tables: Tables) -> Tables:
    """Return tables in which all modes are equal: none is worse."""
    modes = tables["modes"].assign(mean=0.5, low=0.5, high=0.5, p=1.0, not_worse=True)
    return tables | {
        "modes": modes,
        "arms": tables["arms"].assign(top1_test=0.5, top1_test_low=0.5, top1_test_high=0.5),
    }


MANY = view_of(list(SOURCES), ["5", "full"], {"plain": 4, "deep": 9}, ("glyphs-b", "letters-with-a-long-name"))
LONE = view_of(["digits"], ["5"], {"plain": 4})
TWO = view_of(list(SOURCES), ["5", "full"], {"plain": 4})


@cache
def case_of(name: str) -> tuple[Tables, View]:
    if name == "empty":
        return as_read({table: pd.DataFrame() for table in schemas.TABLES}), FULL
    if name == "no settings":
        return case_of("full")[0], View("modes", "Modes", [], [], {"plain": 4}, "short", "scratch", seed=0)
    views = {
        "many": MANY,
        "one setting": LONE,
        "one seed": TWO,
        "two shots": TWO,
        "near scores": TWO,
        "few families": TWO,
    }
    view = views.get(name, FULL)
    families = ("probe", "lpft", "scratch") if name == "few families" else mode_map.FAMILIES
    tables = tables_of(view, {"one seed": 1, "many": 2}.get(name, 5), families)
    return {"holes": with_holes, "ties": tied, "near scores": near}.get(name, lambda each: each)(tables), view


CASES = (
    *(
        "full",
        "two shots",
        "one setting",
        "one seed",
        "few families",
        "holes",
        "ties",
        "near scores",
        "many",
        "no settings",
        "empty",
    ),
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_from_any_tables_and_no_text_hides_another(name: str, case: str) -> None:
    assert_drawn(name, *case_of(case))


@pytest.mark.parametrize("name", FIGURES)
def test_other_studies_change_nothing_and_the_same_rows_give_the_same_bytes(name: str) -> None:
    tables, view = case_of("two shots")
    alone = {table: rows[rows["study"] == view.study] if "study" in rows else rows for table, rows in tables.items()}
    assert svg(drawn(name, alone, view)) == svg(drawn(name, tables, view))


# --- the mode map ------------------------------------------------------------------------


def panels_of(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left").replace("\n", " ").replace("\u00a0", " ") for axes in figure.get_axes()]


def test_rows_are_sources_from_near_to_far_and_columns_are_shots() -> None:
    titles = panels_of(drawn("mode-map", *case_of("full")))
    assert len(titles) == 12
    heads = [re.match(r"(\S+) → glyphs-b, distance (\d\.\d+), (1 shot|\d+ shots|all images)", text) for text in titles]
    assert [head.group(1) for head in heads] == [source for source in SOURCES for _ in range(4)]  # type: ignore[union-attr]
    assert [head.group(3) for head in heads] == ["1 shot", "5 shots", "30 shots", "all images"] * 3  # type: ignore[union-attr]
    assert [round(float(head.group(2)), 1) for head in heads[::4]] == [0.1, 1.4, 2.0]  # type: ignore[union-attr]


def test_a_source_that_was_not_measured_stands_last_and_has_no_distance() -> None:
    tables, view = case_of("two shots")
    starts = tables["starts"][tables["starts"]["source"] != "glyphs-a"]
    titles = panels_of(drawn("mode-map", tables | {"starts": starts}, view))
    assert titles[-1].startswith("glyphs-a → glyphs-b, all images")


def test_full_dots_are_the_set_that_is_not_worse_and_rings_the_course() -> None:
    tables, view = case_of("one setting")
    modes = choice.of_study(tables["modes"], view)
    modes = modes.assign(not_worse=modes["family"].isin(["lpft", "finetune"]))
    figure = drawn("mode-map", tables | {"modes": modes}, view)
    (axes,) = figure.get_axes()
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("probe", "probe-2", "svm-4", "freeze-3", "lpft", "finetune", "scratch"),
    ]
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    rings = [line for line in lines if line.get_markersize() > 6]
    filled = [line for line in lines if line not in rings and to_hex(line.get_markerfacecolor()) != "#ffffff"]
    assert {int(line.get_ydata()[0]) for line in filled} == {4, 5}
    assert [line.get_ydata()[0] for line in rings] == [0]  # the rule is the probe
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["bold"] + ["normal"] * 6
    assert panels_of(figure)[0].endswith("small and similar: classifier only – supported")
    assert title_of(figure).startswith("More than one mode is not worse than the best in 1 of 1 cell (2 of up to 7")
    assert "what the course advises is among them in 0 of 1 cell it speaks of (claims: 1 supported)" in title_of(figure)


def test_the_title_counts_sets_and_verdicts() -> None:
    tables, view = case_of("full")
    said = title_of(drawn("mode-map", tables, view))
    modes = choice.of_study(tables["modes"], view)
    sizes = modes.groupby("setting", observed=True)["not_worse"].sum()
    assert f"({sizes.min()} to {sizes.max()} of up to 7 modes)" in said
    assert f"best in {wording.counted(int((sizes > 1).sum()), 12, 'cell')} (" in said
    assert "(claims: 4 contradicted, 4 inconclusive, 4 supported)" in said
    assert said.endswith("(n = 5)")


def test_what_the_course_advises_and_was_not_run_is_said() -> None:
    tables, view = case_of("few families")
    titles = panels_of(drawn("mode-map", tables, view))
    assert any("middle layer + SVM, not run – " in text for text in titles)


def ruled(rows: pd.DataFrame, starts: pd.DataFrame, verdicts: pd.DataFrame, view: View) -> list[tuple]:
    return [(cell, mode_map_figure.rules_of(cell, verdicts, view)) for cell in cells_of(rows, starts, view)]


def test_a_layer_that_the_course_does_not_mean_is_not_what_it_advises() -> None:
    tables, view = case_of("full")
    meant = [rule | ({"modes": ["svm-6"]} if rule["family"] == "svm-L" else {}) for rule in map(dict, view.rules)]
    titles = panels_of(drawn("mode-map", tables, dataclasses.replace(view, rules=meant)))
    assert sum("middle layer + SVM, validation chose another" in text for text in titles) == 4
    rows, verdicts = (choice.of_study(tables[name], view) for name in ("modes", "verdicts"))
    given = ruled(rows, tables["starts"], verdicts, dataclasses.replace(view, rules=meant))
    found = {rule["family"]: len(mode_map_figure.advised(cell, rule)) for cell, rules in given for rule, _ in rules}
    assert found == {"probe": 1, "svm-L": 0, "finetune": 1}


def test_a_rule_is_drawn_for_the_architecture_of_its_claim_alone() -> None:
    tables, view = case_of("many")
    rows, verdicts = (choice.of_study(tables[name], view) for name in ("modes", "verdicts"))
    given = ruled(rows, tables["starts"], verdicts, view)
    assert {cell.architecture for cell, rules in given if rules} == {"plain"}


def test_what_is_compared_over_all_sources_is_no_panel() -> None:
    tables, view = case_of("two shots")
    modes = tables["modes"].astype({"setting": str})
    more = pd.concat([modes, modes.assign(setting=mode_map.ANY)])
    for name in ("mode-map", "modes-by-shots"):
        assert panels_of(drawn(name, tables | {"modes": more}, view)) == panels_of(drawn(name, tables, view))


# --- the other two ------------------------------------------------------------------------


def test_the_title_of_modes_by_shots_takes_the_probe_off_fine_tuning() -> None:
    tables, view = case_of("two shots")
    rows = modes_by_shots.points(choice.of_study(tables["modes"], view), tables["starts"], view)
    told = []
    for shots in ("5", "full"):
        table = rows[rows["shots"] == shots].pivot_table(
            index="setting", columns="family", values="mean", observed=True
        )
        gaps = (table["finetune"] - table["probe"]).sort_values()
        told.append(" to ".join(dict.fromkeys(wording.points(gaps.iloc[end], signed=True) for end in (0, -1))))
    said = title_of(drawn("modes-by-shots", tables, view))
    assert f"Fine-tuning minus probe, in points of test top-1: with 5 shots {told[0]} (3 panels)" in said
    assert f"with all images {told[1]} (3 panels)" in said
    alone = rows[rows["family"] != "probe"]
    assert modes_by_shots.title(alone).startswith("Fine-tuning minus scratch")


def test_shots_are_in_the_order_of_numbers_and_all_images_last() -> None:
    assert wording.in_order(["full", "30", "5", "1", "5"]) == ["1", "5", "30", "full"]
    assert [wording.shots_text(each) for each in ("1", "5", "full")] == [
        "1 shot",
        "5 shots",
        "all images",
    ]


def test_a_dot_is_a_settings_source_and_the_correlation_is_spearmans() -> None:
    tables, view = case_of("many")
    dots = transferability.dots_of(tables["starts"], choice.of_study(tables["arms"], view), view)
    assert len(dots) == len(view.settings) * len(view.depths) * 2  # fine-tuned and probed
    here = dots[(dots["target"] == "glyphs-b") & (dots["shots"] == "5")]
    starts = tables["starts"]
    for mode, (rho, count) in transferability.correlations(here, "log_me").items():
        scores, tops = [], []
        for row in here[here["mode"] == mode].to_dict("records"):
            mine = np.logical_and.reduce([starts[key] == row[key] for key in transferability.START])
            scores.append(starts.loc[mine, "log_me"].mean())
            tops.append(row["top1_test"])
        assert count == 6
        assert rho == pytest.approx(spearmanr(scores, tops).statistic)


def test_missing_scores_are_left_out_and_few_dots_have_no_correlation() -> None:
    tables, view = case_of("two shots")
    starts = tables["starts"].copy()
    starts.loc[starts["source"] == "digits", "leep"] = np.nan
    starts["log_me"] = np.nan
    figure = drawn("transferability", tables | {"starts": starts}, view)
    titles = panels_of(figure)
    assert "ρ finetune: undefined (2 dots)" in titles[2]
    assert "ρ" not in titles[1]
    assert "(3 dots)" in titles[0]
    two = starts.assign(**dict.fromkeys(("log_me", "leep"), np.nan))[starts["source"] != "digits"]
    said = title_of(drawn("transferability", tables | {"starts": two}, view))
    assert said == "No rank correlation of scores and test top-1 is defined (n = 5)"
    assert [text.get_text() for text in figure.get_axes()[1].texts] == ["no such score"]


# --- colours --------------------------------------------------------------------------------


def test_families_are_those_of_the_mode_map_and_their_colours_stay_apart() -> None:
    shades = palette.MODES
    assert tuple(name for name in shades if name != "probe+source-norm") == mode_map.FAMILIES
    assert set(mode_map_figure.WORDS) == set(mode_map.FAMILIES)
    assert set(shades.values()) <= set(palette.COLOURS.values())
    for vision in VISION:
        for (one, a), (other, b) in itertools.combinations(shades.items(), 2):
            assert np.linalg.norm(lab(a, vision) - lab(b, vision)) > 25, (one, other)


@pytest.mark.parametrize("name", ["mode-map", "modes-by-shots"])
def test_what_always_guessing_the_largest_class_gives_is_drawn_and_said(name: str) -> None:
    tables = tables_of(LONE, 3)
    tables["modes"]["largest_class"] = share = float(tables["modes"]["mean"].mean())
    figure = drawn(name, tables, LONE)
    legends = " ".join(each.get_title().get_text() for each in figure.legends).translate({10: " ", 160: " "})
    assert f"always guessing the largest class, {100 * share:.1f} %" in legends
    (line,) = [line for axes in figure.get_axes() for line in axes.lines if line.get_linestyle() == ":"]
    assert 100 * share in [*line.get_xdata(), *line.get_ydata()]
