"""Summarise the arms at their selected learning rates: the tables `design` and `arms`."""

from whypretrain.command import Job, log, run_stage
from whypretrain.evidence.analysis import make_design, summarise_arms
from whypretrain.files.schemas import write_table
from whypretrain.files.storage import read_columns
from whypretrain.jobs.plan import Plan

READ = ("runs", "selected")


def main(job: Job) -> None:
    """Read `runs` and `selected`; write `design` and `arms`."""
    plan = Plan.of_spec(job.spec)
    runs, selected = (read_columns(job.file(name))[0].to_pandas() for name in READ)
    relations = {arm: plan.grid.relation(arm.source, arm.task) for arm in plan.arms}
    design = make_design(runs, selected, plan.grid.arms, relations)
    largest = {task: plan.grid.largest_class(task) for task in {arm.task for arm in plan.arms}}
    one_network = [source for source in plan.config.sources if plan.grid.is_one_network(source)]
    arms = summarise_arms(runs, design, selected, largest, plan.config.few, one_network)
    write_table(job.file("design"), "design", design, job.origin())
    write_table(job.file("arms"), "arms", arms, job.origin())
    log.info("%d arms, %d with the learning rate at the edge of its grid", len(arms), int(arms["grid_edge"].sum()))


if __name__ == "__main__":
    run_stage(main)
