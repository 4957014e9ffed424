"""Say which results are there and count, and which don't and why: the tables `missing` and `completeness`."""

from whypretrain.command import Job, StageError, log, run_stage
from whypretrain.evidence.missing import sentence
from whypretrain.files.schemas import write_table
from whypretrain.jobs.completeness import Checked, completeness_table, missing_table
from whypretrain.jobs.plan import Plan


def main(job: Job) -> None:
    """Look at every result; write both tables."""
    plan = Plan.of_spec(job.spec)
    missing = missing_table(Checked(plan, job.content))
    completeness = completeness_table(plan, missing)
    for row in missing.itertuples():
        log.info("%s: %s", row.path, row.reason)
    if not completeness["runs_there"].sum():
        raise StageError(
            f"nothing to show: of {len(plan.arms)} arms none has a run that counts. The first is "
            f"{missing.iloc[0]['path']}: {missing.iloc[0]['reason']}"
        )
    origin = job.origin()
    write_table(job.file("missing"), "missing", missing, origin)
    write_table(job.file("completeness"), "completeness", completeness, origin)
    log.info("%s", sentence(completeness))


if __name__ == "__main__":
    run_stage(main)
