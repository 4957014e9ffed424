"""What the pipeline touches of Snakemake and its executor for SLURM that isn't public is still there."""

import ast
import inspect
import re
from pathlib import Path

import snakemake_executor_plugin_slurm
from snakemake.rules import Rule
from snakemake.scheduling.job_scheduler import JobScheduler

from whypretrain.running import internals

PACKAGE = Path(internals.__file__).parents[1]


def set_in(kind: type) -> set[str]:
    """Return the attributes that a class gives itself."""
    return set(re.findall(r"self\.(\w+)(?:: [^=\n]+)? =", inspect.getsource(kind)))


def test_the_names_are_there():
    assert "_benchmark" in set_in(Rule)
    assert {"job_rate_limiter", "global_resources", "resources", "_executor"} <= set_in(JobScheduler)
    assert {"wildcards", "input", "attempt", "skip_evaluation"} <= set(
        inspect.signature(Rule.expand_resources).parameters
    )
    assert "run_uuid" in set_in(snakemake_executor_plugin_slurm.Executor)
    assert inspect.iscoroutinefunction(snakemake_executor_plugin_slurm.query_job_status)


def test_no_other_module_that_meets_snakemake_touches_what_begins_with_an_underscore_of_anything_but_itself():
    for path in (path for folder in ("jobs", "running") for path in (PACKAGE / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                of_itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "other")
                of_ours = isinstance(node.value, ast.Attribute) and isinstance(node.value.value, ast.Name)
                public = node.attr == "_fields"  # of a syntax tree
                assert of_itself or of_ours or public or path.name == "internals.py", f"{path}: {ast.unparse(node)}"
