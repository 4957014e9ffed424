"""What stands in docs is what the code says."""

import json
import re
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "workflow"))

import columns


def test_the_page_of_columns_is_that_of_the_schemas():
    told = (ROOT / "docs/results.md").read_text()
    assert told == columns.page(), "make it again: python workflow/columns.py > docs/results.md"


def test_the_page_of_config_names_every_key():
    keys = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())["properties"]
    named = set(re.findall(r"`(\w+)`", (ROOT / "config/README.md").read_text()))
    assert set(keys) <= named
