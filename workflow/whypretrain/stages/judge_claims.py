"""Judge the claims of all studies: the table `verdicts`."""

from whypretrain.analysis import select_learning_rates
from whypretrain.claims import Tables, judge_claims
from whypretrain.command import Job, log, run_stage
from whypretrain.planning import plan_of
from whypretrain.schemas import write_table
from whypretrain.storage import read_columns


def main(job: Job) -> None:
    """Read `runs` and `kernels`; write `verdicts`."""
    runs, kernels = (read_columns(job.file(name))[0].to_pandas() for name in ("runs", "kernels"))
    tables = Tables(runs, select_learning_rates(runs), kernels)
    verdicts = judge_claims(plan_of(job.spec).grid, tables)
    for row in verdicts.itertuples():
        log.info("%s, %s: %s (%s)", row.claim, row.setting, row.verdict, row.reason)
    write_table(job.file("verdicts"), "verdicts", verdicts, job.spec_text, job.code)


if __name__ == "__main__":
    run_stage(main, ["runs", "kernels", "verdicts"])
