"""Contrast the arms seed by seed: the table `contrasts`."""

from whypretrain.command import Job, run_stage
from whypretrain.evidence.analysis import make_contrasts, select_learning_rates
from whypretrain.files.schemas import write_table
from whypretrain.files.storage import read_columns
from whypretrain.planning.from_spec import plan_of, shown


def main(job: Job) -> None:
    """Read `runs`; write `contrasts`."""
    plan = plan_of(job.spec)
    runs = read_columns(job.file("runs"))[0].to_pandas()
    grid = shown(plan, runs)
    studies = {name: (grid.arms_of(name), study.scratch_recipe) for name, study in plan.config.studies.items()}
    contrasts = make_contrasts(runs, select_learning_rates(runs), studies)
    write_table(job.file("contrasts"), "contrasts", contrasts, job.origin(job.file("runs")))


if __name__ == "__main__":
    run_stage(main, ["runs"], ["contrasts"])
