"""Contrast the arms seed by seed: the table `contrasts`."""

from whypretrain.command import Job, run_stage
from whypretrain.evidence.analysis import make_contrasts
from whypretrain.files.schemas import write_table
from whypretrain.files.storage import read_columns
from whypretrain.jobs.completeness import shown
from whypretrain.jobs.plan import Plan

READ = ("runs", "selected")


def main(job: Job) -> None:
    """Read `runs` and `selected`; write `contrasts`."""
    plan = Plan.of_spec(job.spec)
    runs, selected = (read_columns(job.file(name))[0].to_pandas() for name in READ)
    grid = shown(plan, runs)
    studies = {name: (grid.arms_of(name), study.scratch_recipe) for name, study in plan.config.studies.items()}
    contrasts = make_contrasts(runs, selected, studies, plan.config.few)
    write_table(job.file("contrasts"), "contrasts", contrasts, job.origin())


if __name__ == "__main__":
    run_stage(main)
