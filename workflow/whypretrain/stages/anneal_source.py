"""Anneal one checkpoint: a short branch with the learning rate going to zero."""

from whypretrain.command import Job, StageError, run_stage
from whypretrain.pretraining import anneal
from whypretrain.runs import Columns, append
from whypretrain.sources import set_up_torch, source_data
from whypretrain.storage import read_tensors, write_columns, write_tensors


def main(job: Job) -> None:
    """Train the branch and write its end with the one row of its history."""
    device = set_up_torch(job.spec)
    data = source_data(job.spec, job.file("dataset"), device)
    try:
        end = anneal(job.spec, data, read_tensors(job.file("checkpoint")))
    except ValueError as error:
        raise StageError(str(error)) from error
    history: Columns = {}
    append(history, end.row)
    assert end.weights is not None  # the end is the branch's one mark
    write_tensors(job.file("annealed"), end.weights, job.spec_text, job.code)
    write_columns(job.file("history"), history, job.spec_text, job.code)


if __name__ == "__main__":
    run_stage(main, ["dataset", "checkpoint", "annealed", "history"])
