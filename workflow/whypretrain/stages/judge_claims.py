"""Judge the claims of all studies: the table `verdicts`."""

from whypretrain.command import Job, log, run_stage
from whypretrain.evidence.claims import judge_claims
from whypretrain.evidence.lookup import read_evidence
from whypretrain.files.schemas import write_table
from whypretrain.files.storage import read_columns
from whypretrain.jobs.plan import Plan


def main(job: Job) -> None:
    """Read what the claims are decided on; write `verdicts`."""
    grid = Plan.of_spec(job.spec).grid
    missing = next((read_columns(path)[0].to_pandas() for path in job.files("partial")), None)
    verdicts = judge_claims(grid, read_evidence(job.file, grid.config.few), missing)
    for row in verdicts.itertuples():
        log.info("%s, %s: %s (%s)", row.claim, row.setting, row.verdict, row.reason)
    write_table(job.file("verdicts"), "verdicts", verdicts, job.origin())


if __name__ == "__main__":
    run_stage(main)
