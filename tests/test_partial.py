"""What is shown of studies that aren't complete: what counts, what is said of it, and that it is marked everywhere."""

import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import NOWHERE, Project, at_every_rate, batch, curves, fresh, job, plan_of, put, tiny, told_to
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import every_run
from PIL import Image
from test_mode_map import Made, arm

from whypretrain.command import StageError
from whypretrain.evidence.analysis import make_contrasts
from whypretrain.evidence.claims import gap_of
from whypretrain.evidence.lookup import Lookup, Tables
from whypretrain.evidence.missing import sentence
from whypretrain.evidence.mode_map import mode_tables
from whypretrain.evidence.selection import select_learning_rates
from whypretrain.evidence.verdict import ClaimEvidence, Component, judge
from whypretrain.figures.plotting import drawing, palette, wording
from whypretrain.files.schemas import write_table
from whypretrain.files.storage import write_json
from whypretrain.grid.claim_arms import ClaimArms
from whypretrain.grid.coordinates import ARM_KEYS, key_columns, key_of
from whypretrain.jobs.completeness import SET_ASIDE, Checked, completeness_table, shown
from whypretrain.jobs.plan import Plan
from whypretrain.jobs.tables import collected_tables
from whypretrain.stages import collect_table, write_advice

pytestmark = pytest.mark.soak  # make test-cluster

PARTIAL = ("--config", "partial=true")
MAKING = ("find_missing", "collect_table", "summarise_", "contrast_arms", "judge_claims", "plot_", "write_", "all")


# --- what the switch changes ---------------------------------------------------------------


def test_the_switch_changes_no_result_and_makes_none_stale():
    complete, partial = plan_of(curves()), plan_of(put(curves(), "partial", True))

    def said(plan: Plan) -> list[tuple[str, str, str, tuple[str, ...]]]:
        made = ((result.path, result.made) for result in plan.computed())
        return [(path, made.spec, made.code, made.inputs) for path, made in made]

    assert said(complete) == said(partial)
    assert not [result for result in complete.results() if "partial" in result.path + result.made.spec]
    made = {result.path for result in partial.results()} - {each.path for each in partial.computed()}
    assert made
    assert all(path.startswith("results/partial/") for path in made)


# --- what can be said of what is there -----------------------------------------------------

DIFFERENCES = st.lists(st.floats(-0.02, 0.06), min_size=4, max_size=8)


@settings(max_examples=25)  # each computes how many seeds would do
@given(
    st.lists(st.tuples(DIFFERENCES, st.booleans()), min_size=2, max_size=6),
    st.sampled_from(["superiority", "equivalence"]),
)
def test_what_is_decided_without_the_others_stays_decided_when_they_come_in(
    family: list[tuple[list[float], bool]], kind: str
):
    def evidence(name: int, differences: list[float]) -> ClaimEvidence:
        return ClaimEvidence(str(name), [Component("d", np.array(differences), kind, 0.02)], False, True)  # type: ignore[arg-type]

    whole = judge([evidence(number, values) for number, (values, _) in enumerate(family)])
    part = judge([evidence(number, values if there else []) for number, (values, there) in enumerate(family)])
    for complete, partial, (_, there) in zip(whole, part, family, strict=True):
        if not there:
            assert partial.verdict == "inconclusive"
        elif partial.verdict != "inconclusive":
            assert partial.verdict == complete.verdict


def without(made: Made, gone: dict[tuple[str, int], bool]) -> pd.DataFrame:
    rows = []
    for each, rate, seed in every_run(made.plan):
        if not gone.get((each.mode, seed)) or each.source == "none":
            score = float(rate in (None, 0.1)) * made.test[each][seed]
            keys = {**key_columns(each), "learning_rate": math.nan if rate is None else rate, "seed": seed}
            rows.append(
                {**keys, "top1_validation": score, "top1_test": score, "loss_validation": 1.0, "loss_test": 1.0}
            )
            rows[-1]["balanced_test"] = score
    return pd.DataFrame(rows)


def test_ways_are_compared_on_the_seeds_that_all_have_and_arms_that_are_missing_on_none():
    made = Made()
    made.plan = plan_of(made.plan.config.model_dump(mode="json") | {"partial": True})
    runs = without(made, {("lpft", 3): True, ("svm-1", 0): True} | {("probe", seed): True for seed in range(5)})
    modes, advice = mode_tables(
        shown(made.plan, runs), Lookup(Tables(runs, select_learning_rates(runs), pd.DataFrame()))
    )
    assert set(modes["n"]) == set(advice["n"]) == {3}
    assert "probe" not in set(modes["family"])
    row = modes[(modes["setting"] == "letters-2") & (modes["family"] == "finetune")].iloc[0]
    assert row["mean"] == pytest.approx(made.test[arm("finetune")][[1, 2, 4]].mean())
    # where no seed is common nothing is compared
    nothing = without(
        made, {("lpft", seed): seed < 2 for seed in range(5)} | {("svm-1", seed): seed >= 2 for seed in range(5)}
    )
    lookup = Lookup(Tables(nothing, select_learning_rates(nothing), pd.DataFrame()))
    assert all(table.empty for table in mode_tables(shown(made.plan, nothing), lookup))


def test_contrasts_are_paired_over_the_seeds_that_both_arms_have():
    plan = plan_of(put(put(tiny(), "seed_blocks", [[0, 1, 2]]), "partial", True))
    rows = [
        {
            **key_columns(each),
            "learning_rate": rate,
            "seed": seed,
            "top1_test": seed / 10 + (each.treatment == "intact"),
        }
        | {"top1_validation": 0.5, "loss_validation": 1.0, "loss_test": 1.0}
        for each, rate, seed in every_run(plan)
        if (each.treatment, seed) != ("shuffle-kernels", 1) and each.source != "none"
    ]
    runs = pd.DataFrame(rows)
    arms = shown(plan, runs).arms_of("tiny")
    assert len(arms) == 2
    found = make_contrasts(runs, select_learning_rates(runs), {"tiny": (arms, "short")})
    assert set(found["n"]) == {2}
    assert found.loc[found["measure"] == "top1_test", "effect"].tolist() == pytest.approx([-1.0])


def missing_of(what: str, keys: tuple[str, ...] = ("",) * len(ARM_KEYS), pair: str = "") -> pd.DataFrame:
    return pd.DataFrame([{"what": what, **dict(zip(ARM_KEYS, keys, strict=True)), "pair": pair}])


def test_a_claim_is_held_to_all_that_it_rests_on_and_to_nothing_else():
    grid = plan_of(curves()).grid
    kept, apart, residual = (
        ClaimArms(grid, study, name) for study, name in (("tiny", "kept"), ("curves", "apart"), ("curves", "residual"))
    )
    for each in grid.arms:
        gap = gap_of(kept, ["different"], missing_of("runs", key_of(each)))
        # its two sides, and scratch, which says whether there was anything to lose
        rests = "tiny" in grid.arms[each] and each.mode == "finetune"
        assert gap == ("missing: 1 of the runs that it rests on" if rests else ""), each
    assert gap_of(apart, ["different"], missing_of("pairs", ("tiny", *[""] * 8), "sources"))
    assert not gap_of(apart, ["different"], missing_of("pairs", ("tiny", *[""] * 8), "trained"))
    (asked,) = residual.needed(["different"])
    assert gap_of(residual, ["different"], missing_of("parts", key_of(asked)))
    assert not gap_of(residual, ["different"], missing_of("spectra", key_of(asked)))


def test_the_mark_of_a_figure_hides_nothing_and_says_how_much_there_is():
    figure = drawing.new_figure(1.2, f"Something: {wording.ABSENT}")
    axes = figure.add_subplot()
    drawing.say(axes)
    drawing.below(figure, [palette.Look("intact", "#000000")], "n = 2")
    drawing.settle(figure)
    drawing.mark_partial(figure, "PARTIAL: " + "3 of 12 runs count; " * 20)
    mark = figure.texts[-1].get_window_extent()
    others = [text.get_window_extent() for text in [figure._suptitle, *axes.texts]]  # type: ignore[attr-defined]
    assert mark.y0 > figure.bbox.y1
    assert mark.x1 < figure.bbox.x1
    assert all(other.y1 <= figure.bbox.y1 for other in others)
    assert figure.get_suptitle() == "Something: no such arm so far"
    assert "".join(axes.texts[0].get_text().split()) == "nosucharmsofar"


def test_the_sentence_counts_each_run_once_though_two_studies_have_it():
    keys = dict.fromkeys(ARM_KEYS, "x")
    rows = [
        {"study": study, **keys, "mode": mode, "runs": 4, "runs_there": there, "seeds": 2, "seeds_there": there // 2}
        for study, mode, there in (("a", "probe", 4), ("b", "probe", 4), ("b", "lpft", 2), ("b", "svm-1", 0))
    ]
    told = sentence(pd.DataFrame(rows))
    assert told == "PARTIAL: 6 of 12 runs count (arms left out: 1 of 3; arms with fewer seeds: 1)."
    assert sentence(pd.DataFrame(rows), "a") == "PARTIAL: 4 of 4 runs count."


# --- real runs -----------------------------------------------------------------------------


def table(project: Project, name: str, folder: str = "results/partial/tables") -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(project.path / folder / f"{name}.parquet").to_pandas()
    return frame


def marks(project: Project) -> list[str]:
    """Return what stands in every page and figure, after holding each to its mark."""
    folder = project.path / "results/partial"
    figures = sorted(folder.rglob("*.svg"))
    assert figures
    for path in figures:
        assert json.loads(Image.open(path.with_suffix(".png")).info["Description"])["spec"].count('"partial":true') == 1
        assert "<!-- PARTIAL: " in path.read_text(), path
    for path in (folder / "tables").glob("*.parquet"):
        assert b'"partial":true' in pq.read_schema(path).metadata[b"spec"], path
    text = (folder / "report.html").read_text()
    assert "<h1>Why does pre-training work? (partial)</h1>" in text
    assert text.index("PARTIAL: ") < text.index("What was asked")
    return [path.read_text() for path in figures]


@pytest.fixture
def shared(both: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of both studies, complete."""
    project = fresh(tmp_path / "shared")
    for name in ("results", ".snakemake"):
        shutil.copytree(both.path / name, project.path / name, symlinks=True)
    project.write_config(curves())
    yield project
    shutil.rmtree(project.path)


def test_partial_results_are_the_complete_ones_but_for_the_mark_and_say_what_is_missing(shared: Project):
    assert all(rule.startswith(MAKING) for rule in shared.planned(*PARTIAL))
    shared.snakemake("--cores", "2", *PARTIAL)
    names = [path.stem for path in (shared.path / "results/tables").glob("*.parquet")]
    for name in names:
        pd.testing.assert_frame_equal(table(shared, name), table(shared, name, "results/tables"), obj=name)
    assert table(shared, "missing").empty
    assert all("PARTIAL: 58 of 58 runs count." in text or "PARTIAL: 6 of 6" in text for text in marks(shared))
    assert shared.planned(*PARTIAL) == {}
    assert shared.planned() == {}

    # the batches of two arms, a damaged file, a read-out
    plan = plan_of(curves())
    arms = {(each.source, each.treatment, each.mode, each.epoch): each for each in plan.arms}
    shuffled, probe = (
        arms["letters", "shuffle-kernels", "finetune", "1+anneal"],
        arms["letters", "intact", "probe", "0"],
    )
    damaged = shared.path / batch(plan, "scores", arms["letters", "intact", "probe", "1+anneal"], None)
    for each, rate in ((shuffled, 0.1), (probe, None)):
        shutil.rmtree((shared.path / batch(plan, "scores", each, rate)).parent)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    (shared.path / "results/measures/pairs/sources/tiny/lr-none-none/layers.s0.parquet").unlink()
    assert all(rule.startswith(MAKING) for rule in shared.planned(*PARTIAL))
    shared.snakemake("--cores", "2", *PARTIAL)

    missing = table(shared, "missing")
    runs = missing[missing["what"] == "runs"].astype({"reason": str})
    told = {
        (row["treatment"], row["mode"], row["learning_rate"], row["seed"]): row["reason"] for _, row in runs.iterrows()
    }
    assert len(told) == len(runs) == 6
    assert told["shuffle-kernels", "finetune", 0.1, 1] == "not there"
    assert sorted(reason.split(":")[0] for key, reason in told.items() if key[1] == "probe") == [
        "damaged",
        "damaged",
        "not there",
        "not there",
    ]
    assert set(missing.loc[missing["what"] == "pairs", "pair"]) == {"sources"}
    found = table(shared, "runs")
    arms_there = table(shared, "arms").set_index(["treatment", "mode", "epoch"]).index
    assert not {("shuffle-kernels", "finetune", "1+anneal"), ("intact", "probe", "0")} & {*arms_there}
    verdicts = table(shared, "verdicts").set_index("claim").astype({"reason": str, "verdict": str})
    assert verdicts.loc["kept", "reason"] == "missing: 2 of the runs that it rests on"
    assert verdicts.loc["peak", "reason"] == "missing: 4 of the runs that it rests on"
    assert verdicts.loc["apart", "reason"] == "missing: 1 of the read-outs that it rests on"
    complete = table(shared, "verdicts", "results/tables").set_index("claim")
    assert verdicts.loc["specific", "effect"] == complete.loc["specific", "effect"]
    assert any("PARTIAL: 4 of 6 runs count (arms left out: 1 of 3)." in text for text in marks(shared))
    # the complete tables are as they were
    assert len(table(shared, "runs", "results/tables")) == len(found) + 6


def test_a_seed_counts_where_all_its_runs_do(monkeypatch: pytest.MonkeyPatch):
    plan = at_every_rate(plan_of(put(put(tiny(), "seed_blocks", [[0, 1], [2]]), "partial", True)))
    checked, gone = Checked(plan, lambda path: ""), batch(plan, "kernels", plan.arms[0], 0.1)
    monkeypatch.setattr(checked, "fault", lambda path: "not there" if path == gone else "")
    found = [(rate, seed, reason) for _, rate, seed, _, reason in checked.missing_runs()]
    assert sorted(found) == [(0.01, 0, SET_ASIDE), (0.01, 1, SET_ASIDE), (0.1, 0, "not there"), (0.1, 1, "not there")]


def test_after_a_failed_source_what_rests_on_it_is_stale_and_the_rest_is_shown(again: Project):
    again.write_config(put(tiny(), "pretraining.brief.learning_rate", 0.05))
    for dataset in (again.path / "results/datasets/glyphs").glob("*.safetensors"):
        content = bytearray(dataset.read_bytes())
        content[-5] ^= 0xFF
        dataset.write_bytes(content)
    text = again.snakemake("--cores", "2", status=1)
    (command,) = [line.partition("there: ")[2] for line in text.splitlines() if line.startswith("Tables and figures")]
    assert command == "snakemake --cores 2 --configfile tests/config/tiny.yaml --config partial=true"
    again.snakemake(*command.split()[1:])
    assert set(table(again, "runs")["source"]) == {"none"}
    missing = table(again, "missing")
    reasons = missing.loc[missing["what"] == "runs", "reason"].astype(str)
    assert len(reasons) == 4
    assert reasons.str.contains("stale: it was made with other config values than there are now").all()
    assert table(again, "verdicts")["verdict"].tolist() == ["inconclusive"]
    marks(again)


def test_what_a_job_is_making_again_meanwhile_is_not_there_and_not_damaged(tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    plan = plan_of(put(tiny(), "partial", True))
    chosen = [{**each.columns(), "learning_rate": 0.1, "learning_rates": [0.1]} for each in plan.arms]
    write_json(plan.paths.file("selection", study="tiny"), {"arms": chosen})
    checked = Checked(plan, lambda path: "")
    suffixes = {Path(path).suffix for path in checked.results}
    assert suffixes == {".safetensors", ".json", ".parquet"}
    selection = plan.paths.file("selection", study="tiny")
    assert {checked.fault(path) for path in checked.results if path != selection} == {"not there"}

    gone = batch(plan, "scores", plan.arms[0], 0.1)
    monkeypatch.setattr(collect_table, "left_out", lambda paths: lambda path: path != gone)
    collect = job(told_to(plan, "collect_table", table="runs"), {"table": ["results/tables/runs.parquet"]})
    with pytest.raises(StageError, match=f"^{re.escape(gone)} was there a moment ago: .* Call once more$"):
        collect_table.main(collect)


def test_where_nothing_is_trained_there_is_one_message(tmp_path: Path):
    text = fresh(tmp_path / "empty").snakemake("--cores", "2", *PARTIAL, status=1)
    assert text.count("Nothing to show yet: of 3 arms none has a run in results.") == 1
    assert "Traceback" not in text
    assert "Mistake" not in text


def test_the_files_that_are_looked_at_are_all_that_tables_rest_on():
    plan = plan_of(put(curves(), "partial", True))
    collector = plan.form("collect_table")
    parts = {part.path for table in collected_tables() for part, _ in collector.parts_of(table)}
    every = {result.path: result.made for result in plan.results()}
    read, waiting = set[str](), [*parts]
    while waiting:
        if (path := waiting.pop()) in every and path not in read:
            read.add(path)
            waiting += every[path].inputs
    assert read >= parts
    assert read <= {result.path for result in plan.computed()}


def test_the_advice_says_on_top_that_it_is_partial(tmp_path: Path):
    frames = {"advice": pd.DataFrame(), "provenance": pd.DataFrame(), "missing": pd.DataFrame()}
    frames["completeness"] = completeness_table(plan_of(tiny()), pd.DataFrame())
    for name, frame in frames.items():
        write_table(tmp_path / f"{name}.parquet", name, frame, NOWHERE)
    paths: dict[str, list[Any]] = {name: [tmp_path / f"{name}.parquet"] for name in frames}
    partial = paths.pop("missing") + paths.pop("completeness")
    text, spec = tmp_path / "advice.rst", {"studies": [], "seeds": [0]}
    write_advice.main(job(spec, {"page": [text]}, **paths, partial=partial))
    assert "\nPARTIAL: 6 of 6 runs count. Ways whose runs are missing are not compared here" in text.read_text()
    write_advice.main(job(spec, {"page": [text]}, **paths))
    assert "PARTIAL" not in text.read_text()
