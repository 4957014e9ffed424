# Why does pre-training work in convolutional networks?
# Reads config, includes the rules of each stage, names the targets. The logic is in workflow/whypretrain.
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

BASE = Path(workflow.basedir)
sys.path.insert(0, str(BASE / "workflow"))

from whypretrain import registry, setup

if not workflow.overwrite_configfiles:

    configfile: BASE / "config" / "config.yaml"


plan = setup.make_plan(config, workflow.configfiles, BASE)
paths = plan.paths

# `set -euo pipefail` is what Snakemake sets by itself where no prefix is given.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={setup.quoted(BASE / 'workflow')}; ")


# with --cache: whether sources are taken from, and put into, a store that others use too
shared = setup.is_shared(workflow.workflow_settings.cache, os.environ)


report: Path.cwd() / paths["summary"]


wildcard_constraints:
    architecture="[a-z0-9-]+",
    source="[a-z0-9-]+",
    epoch=r"[0-9.]+(e-[0-9]+)?(\+anneal)?",
    treatment=r"[a-z0-9+-]+",
    span="[a-z0-9-]+",
    target=r"[a-z0-9-]+\.([0-9]+|full)",
    mode="[a-z0-9+-]+",
    measure="|".join(registry.names("measures")),
    pair="[a-z0-9-]+",
    pretraining="[a-z0-9-]+",
    recipe="[a-z0-9-]+",
    seed="[0-9]+",
    dataset="[a-z0-9-]+",
    table="[a-z]+",
    study="[a-z0-9-]+",


rule all:
    default_target: True
    input:
        plan.source_files(),
        plan.tables(),
        plan.figures.files(),
        paths["summary"],
        plan.figures.advice_files(),


include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/treat.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/report.smk"


for each in workflow.rules:
    if each.cache.output:  # Snakemake refuses a benchmark of what may come from a store
        each._benchmark = None


onstart:
    setup.record(plan)
    # Snakemake 9.27's rate limiter leaves one more timer behind with every finished job, each of which wakes the
    # scheduler once a second: after some hundred short jobs that costs more than the jobs. Local jobs need no limit.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
