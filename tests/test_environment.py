"""The pins, and what the pipeline relies on in them."""

import subprocess
import sys
from pathlib import Path

import yaml

from whypretrain.plan import pinned_versions

ROOT = Path(__file__).parents[1]
# what runs Snakemake or the tests, but no job
OUTSIDE_JOBS = {
    "snakemake",
    "snakemake-logger-plugin-rich",
    "pytest",
    "hypothesis",
    "ruff",
    "snakefmt",
    "mypy",
    "pandas-stubs",
    "types-PyYAML",
}


def test_the_conda_environment_has_the_pins_of_the_requirements():
    pins = pinned_versions(ROOT / "envs" / "requirements.txt")
    environment = yaml.safe_load((ROOT / "envs" / "whypretrain.yaml").read_text())
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert dict(line.split("==") for line in pip) == {k: v for k, v in pins.items() if k not in OUTSIDE_JOBS}
    assert set(pins) >= OUTSIDE_JOBS


HEAVY = ("torch", "torchvision", "sklearn", "pandas", "pandera", "matplotlib", "scipy", "pyarrow", "statsmodels")
PARSE = f"""
import sys
from pathlib import Path
from whypretrain import setup
from whypretrain.config import read_yaml
file = Path("config/config.yaml")
plan = setup.make_plan(read_yaml(file), [file], Path())
assert plan.figures() and plan.tables()
sys.exit(", ".join(set({HEAVY}) & set(sys.modules)) or 0)
"""


def test_parsing_the_snakefile_imports_nothing_heavy():
    environment = {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", PARSE], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_rule_names_the_environment():
    for file in (ROOT / "workflow" / "rules").glob("*.smk"):
        text = file.read_text()
        assert text.count("conda:") == text.count("shell:"), file
