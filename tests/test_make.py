"""What make hands to Snakemake: the report stands beside the results, wherever those go."""

from pathlib import Path

import pytest
from conftest import ROOT, TINY, fresh, put, tiny

SNAKEMAKE = '#!/bin/sh\necho "snakemake $*"\n'


@pytest.mark.parametrize(
    ("target", "given", "report", "config"),
    [
        ("run", (), "results/report.html", ""),
        ("run", (f"CONFIG={TINY}",), "elsewhere/report.html", ""),
        ("run", (f"CONFIG={TINY}", "RESULTS=other"), "other/report.html", " --config results=other"),
        ("partial", (f"CONFIG={TINY}",), "elsewhere/partial/report.html", " --config partial=true"),
        (
            "partial",
            (f"CONFIG={TINY}", "RESULTS=other", "SEEDS=[[0]]"),
            "other/partial/report.html",
            " --config partial=true seed_blocks=[[0]] results=other",
        ),
    ],
)
def test_the_report_is_beside_the_results(
    target: str, given: tuple[str, ...], report: str, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = fresh(tmp_path / "project")
    project.write_config(put(tiny(), "results", "elsewhere"))
    (project.path / "Makefile").write_text((ROOT / "Makefile").read_text())
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "snakemake").write_text(SNAKEMAKE)
    (programs / "snakemake").chmod(0o755)
    path = f"{programs}:{project.environment()['PATH']}"
    told = project.run(
        "env", f"PATH={path}", "make", "--silent", target, "READY=envs/requirements.txt", *given, status=0
    )
    made, reported = (line for line in told.splitlines() if line.startswith("snakemake "))
    assert f"--report {report}" in reported
    assert made.endswith(config)
    assert reported.endswith(config)
