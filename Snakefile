# Why does pre-training work in convolutional networks?
# Reads config, includes the rules of each stage, names the targets. The logic is in workflow/whypretrain.
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

BASE = Path(workflow.basedir)
sys.path.insert(0, str(BASE / "workflow"))

from whypretrain import registry
from whypretrain.jobs import hooks, setup
from whypretrain.running import internals

if not workflow.overwrite_configfiles:

    configfile: BASE / "config" / "config.yaml"


own_environments = "conda" in map(str, workflow.deployment_settings.deployment_method)
plan = setup.make_plan(config, workflow.configfiles, BASE, conda=own_environments)
paths = plan.paths

shell.prefix(setup.prefix(plan, BASE))

if workflow.is_main_process:
    setup.refuse_stale(plan, workflow.configfiles, workflow.config_settings.config, conda=own_environments)


# with --cache: whether sources are taken from, and put into, a store that others use too
shared = setup.is_shared(workflow.workflow_settings.cache, os.environ)


report: "workflow/report/snakemake.rst"


RATE = r"none|[0-9.]+(e-?[0-9]+)?"


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
    learning_rate=RATE,
    first_rate=RATE,
    second_rate=RATE,
    pretraining="[a-z0-9-]+",
    recipe="[a-z0-9-]+",
    seed="[0-9]+",
    dataset="[a-z0-9-]+",
    table="[a-z]+",
    study="[a-z0-9-]+",


rule all:
    default_target: True
    input:
        [] if plan.config.partial else plan.source_files(),
        plan.tables(),
        plan.figure_files(),
        paths["report"],
        paths["advice"] if plan.advised() else [],


include: "workflow/rules/jobs.smk"


# of what is partial only the tables, figures and pages are made
if not plan.config.partial:

    include: "workflow/rules/select.smk"


internals.drop_refused_benchmarks(workflow)


onstart:
    hooks.begin(plan, workflow)


onerror:
    hooks.tell_failures(plan, workflow)
