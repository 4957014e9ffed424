"""Simulate studies with a known truth through the verdicts' own code: the table `calibration`."""

from whypretrain.command import Job, log, run_stage
from whypretrain.evidence.calibration import calibrate
from whypretrain.files.schemas import write_table


def main(job: Job) -> None:
    """Write `calibration`."""
    found = calibrate(job.spec["scale"])
    for row in found[~found["as_promised"]].itertuples():
        log.warning("not as promised: %s", row)
    log.info("%d of %d rows are as promised", int(found["as_promised"].sum()), len(found))
    write_table(job.file("calibration"), "calibration", found, job.origin())


if __name__ == "__main__":
    run_stage(main)
