"""Pre-train one source: its raw checkpoints, each with the source's head, and its history."""

from whypretrain.command import Job, StageError, run_stage
from whypretrain.pretraining import pretrain
from whypretrain.runs import Columns, append
from whypretrain.sources import set_up_torch, source_data
from whypretrain.storage import write_columns, write_tensors


def main(job: Job) -> None:
    """Train once and write each checkpoint as it is reached; the history goes last."""
    device = set_up_torch(job.spec)
    data = source_data(job.spec, job.file("dataset"), device)
    history: Columns = {}
    paths = iter(job.files("checkpoints"))
    try:
        for found in pretrain(job.spec, data):
            append(history, found.row)
            if found.weights is not None:
                write_tensors(next(paths), found.weights, job.spec_text, job.code)
    except ValueError as error:
        raise StageError(str(error)) from error
    write_columns(job.file("history"), history, job.spec_text, job.code)


if __name__ == "__main__":
    run_stage(main, ["dataset", "checkpoints", "history"])
