"""Every rule is the same form, filled in: what each job says, takes and leaves beside its results."""

import json
import re

import pytest
from conftest import ROOT, Project, curves, plan_of

STAGES = ROOT / "workflow/whypretrain/stages"
FORM = {"output", "log", "benchmark", "conda", "params", "shell"}
# the rules as they are written; one in a loop is many
RULES = [
    (file.stem, text)
    for file in sorted((ROOT / "workflow/rules").glob("*.smk"))
    for text in re.split(r"^ *(?:rule|checkpoint)\b.*:$", file.read_text(), flags=re.MULTILINE)[1:]
]


@pytest.mark.parametrize("rule", [text for _, text in RULES], ids=[name for name, _ in RULES])
def test_every_rule_has_a_log_a_benchmark_and_an_environment(rule: str):
    assert set(re.findall(r"^ +(\w+):", rule, re.MULTILINE)) >= FORM


def test_each_form_has_a_stage_and_those_with_torch_say_what_they_need():
    plan = plan_of(curves())
    assert {form.stage for form in plan.forms} <= {path.stem for path in STAGES.glob("*.py")}
    for form in plan.forms:
        text = (STAGES / f"{form.stage}.py").read_text()
        with_torch = "set_up_torch(" in text or "train_sources(" in text
        # what trains goes to the cluster and says what it needs; what is light stays
        assert (bool(form.needs), bool(form.resources)) == (with_torch, with_torch), form.name
        assert form.benchmark == form.log.replace("/logs/", "/benchmarks/").removesuffix(".log") + ".jsonl"


def test_every_job_has_left_a_log_and_a_benchmark(finished: Project):
    results = finished.path / "results"
    left = {
        kind: {path.relative_to(results / kind).with_suffix("") for path in (results / kind).rglob(f"*.{ending}")}
        for kind, ending in (("logs", "log"), ("benchmarks", "jsonl"))
    }
    assert left["logs"] == left["benchmarks"]
    assert len(left["logs"]) > 20
    for path in left["benchmarks"]:
        (line,) = (results / "benchmarks" / path).with_name(f"{path.name}.jsonl").read_text().splitlines()
        measured = json.loads(line)
        assert measured["s"] > 0
        assert {"max_rss", "cpu_time", "mean_load"} <= measured.keys()
