"""What stands in docs is what the code says."""

import json
import re
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "workflow"))

import columns
import findings


def test_the_page_of_columns_is_that_of_the_schemas():
    told = (ROOT / "docs/results.md").read_text()
    assert told == columns.page(), "make it again: python workflow/columns.py > docs/results.md"


def test_the_page_of_config_names_every_key():
    keys = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())["properties"]
    named = set(re.findall(r"`(\w+)`", (ROOT / "config/README.md").read_text()))
    assert set(keys) <= named


def test_the_findings_are_those_of_the_tables_that_are_kept():
    again = "make it again: python workflow/findings.py"
    assert (ROOT / "docs/findings.md").read_text() == findings.page(), again
    assert findings.SECTION.findall((ROOT / "README.md").read_text()) == [findings.summary()], again


def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "config/README.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_every_make_target_that_readme_names_is_one():
    named = set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "advise", "test"} <= named <= targets
