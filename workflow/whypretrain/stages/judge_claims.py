"""Judge the claims of all studies: the table `verdicts`."""

from whypretrain.command import Job, log, run_stage
from whypretrain.evidence.claims import judge_claims
from whypretrain.evidence.readings import Tables
from whypretrain.files.schemas import write_table
from whypretrain.files.storage import read_columns
from whypretrain.planning.from_spec import plan_of

READ = ("runs", "selected", "pilots", "kernels", "sources", "parts", "pairs", "history")


def main(job: Job) -> None:
    """Read what the claims are decided on; write `verdicts`."""
    grid = plan_of(job.spec).grid
    tables = Tables(**{name: read_columns(job.file(name))[0].to_pandas() for name in READ}, few=grid.config.few)
    missing = next((read_columns(path)[0].to_pandas() for path in job.files("stock")), None)
    verdicts = judge_claims(grid, tables, missing)
    for row in verdicts.itertuples():
        log.info("%s, %s: %s (%s)", row.claim, row.setting, row.verdict, row.reason)
    write_table(job.file("verdicts"), "verdicts", verdicts, job.origin(*(job.file(name) for name in READ)))


if __name__ == "__main__":
    run_stage(main, [*READ, "stock"], ["verdicts"])
