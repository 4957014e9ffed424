"""Judge the claims again with learning rates that draws of the pilot seeds select: the table `stability`."""

from whypretrain.command import Job, log, run_stage
from whypretrain.evidence.claims import judge_again
from whypretrain.evidence.lookup import read_evidence
from whypretrain.files.schemas import write_table
from whypretrain.jobs.plan import Plan


def main(job: Job) -> None:
    """Read what the claims are decided on; write `stability`."""
    grid = Plan.of_spec(job.spec).grid
    stability = judge_again(grid, read_evidence(job.file, grid.config.few))
    for row in stability.to_dict("records"):
        log.info("%s, %s: %s in %.2f of the draws", row["claim"], row["setting"], row["verdict"], row["same"])
    write_table(job.file("stability"), "stability", stability, job.origin())


if __name__ == "__main__":
    run_stage(main)
