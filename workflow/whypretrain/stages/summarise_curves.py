"""Summarise the arms along layers, checkpoints and modes: `transfer`, `maturity`, `correlations`, `modes`, `advice`."""

from whypretrain.command import Job, log, run_stage
from whypretrain.evidence.curves import maturity_tables, transfer_table
from whypretrain.evidence.lookup import Lookup, Tables
from whypretrain.evidence.mode_map import mode_tables
from whypretrain.files.schemas import write_table
from whypretrain.files.storage import read_columns
from whypretrain.jobs.completeness import shown
from whypretrain.jobs.plan import Plan

READ = ("runs", "selected", "sources")


def main(job: Job) -> None:
    """Read `runs`, `selected` and `sources`; write the five tables."""
    runs, selected, sources = (read_columns(job.file(name))[0].to_pandas() for name in READ)
    plan = Plan.of_spec(job.spec)
    grid = shown(plan, runs)
    lookup = Lookup(Tables(runs, selected, sources=sources, few=plan.config.few))
    maturity, correlations = maturity_tables(grid, lookup)
    modes, advice = mode_tables(grid, lookup)
    made = {"transfer": transfer_table(grid, lookup), "maturity": maturity, "correlations": correlations}
    made |= {"modes": modes, "advice": advice}
    for name, table in made.items():
        write_table(job.file(name), name, table, job.origin())
        log.info("%s: %d rows", name, len(table))


if __name__ == "__main__":
    run_stage(main)
