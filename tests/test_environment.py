"""The pins, and what the pipeline relies on in them."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from whypretrain.command import StageError, check_versions
from whypretrain.config.models import read_yaml
from whypretrain.jobs import setup
from whypretrain.jobs.plan import NUMERICAL, pinned_versions

ROOT = Path(__file__).parents[1]
# what runs Snakemake or the tests, but no job
OUTSIDE_JOBS = {
    "snakemake",
    "snakemake-logger-plugin-rich",
    "snakemake-executor-plugin-slurm",
    "snakemake-executor-plugin-slurm-jobstep",
    "pytest",
    "pytest-xdist",
    "selenium",
    "hypothesis",
    "ruff",
    "snakefmt",
    "mypy",
    "pandas-stubs",
    "import-linter",
    "scikit-image",
    "types-PyYAML",
}


def test_the_conda_environment_has_the_pins_of_the_requirements():
    pins = pinned_versions(ROOT / "envs" / "requirements.txt")
    environment = yaml.safe_load((ROOT / "envs" / "whypretrain.yaml").read_text())
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert dict(line.split("==") for line in pip) == {k: v for k, v in pins.items() if k not in OUTSIDE_JOBS}
    assert set(pins) >= OUTSIDE_JOBS


def test_a_job_refuses_other_versions_than_its_spec_was_made_for():
    pins = pinned_versions(ROOT / "envs" / "requirements.txt")
    check_versions({package: pins[package] for package in NUMERICAL})
    with pytest.raises(
        StageError, match=r"numpy: .* is installed where this job runs, but the results are to be made with 1\.0"
    ):
        check_versions({"numpy": "1.0"})
    with pytest.raises(StageError, match="no-such-package: none is installed"):
        check_versions({"no-such-package": "1.0"})


def test_specs_have_the_installed_versions_and_the_pins_where_jobs_have_environments_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(setup, "installed", {"numpy": "9.9"}.get)
    file = ROOT / "config" / "config.yaml"
    raw = read_yaml(file) | {"results": "elsewhere"}
    pins = pinned_versions(ROOT / "envs" / "requirements.txt")
    here, apart = (setup.make_plan(raw, [file], ROOT, conda=conda).pins for conda in (False, True))
    assert here["numpy"] == "9.9"
    assert here["torch"] == pins["torch"], "what isn't installed has its pin"
    assert apart["numpy"] == pins["numpy"]


HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "sklearn",
    "pandas",
    "pandera",
    "matplotlib",
    "scipy",
    "pyarrow",
    "statsmodels",
)
PARSE = f"""
import sys
from pathlib import Path
from whypretrain.jobs import setup
from whypretrain.config.models import read_yaml
file = Path("config/config.yaml")
plan = setup.make_plan(read_yaml(file) | {{"results": "elsewhere"}}, [file], Path())
assert plan.figure_files() and plan.tables()
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


VISION = """
import torch
from whypretrain.networks.vision import torchvision
print(tuple(torchvision.models.squeezenet1_0().eval()(torch.zeros(1, 3, 64, 64)).shape))
"""


def test_torchvision_can_be_imported_beside_any_build_of_torch():
    environment = {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", VISION], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "(1, 1000)", done.stderr
