"""Pre-train one source, with every seed of a block: raw checkpoints, each with its head, and a history."""

from whypretrain.command import Job, StageError, run_stage
from whypretrain.data import Columns, append
from whypretrain.pretraining import pretrain
from whypretrain.sources import set_up_torch, source_data
from whypretrain.storage import canonical, read_tensors, write_columns, write_tensors


def main(job: Job) -> None:
    """Train once for each seed and write each checkpoint as it is reached; the history goes last."""
    device = set_up_torch(job.spec)
    tensors = read_tensors(job.file("dataset"))
    paths = iter(job.files("checkpoints"))
    for seed, history_path in zip(job.spec["seeds"], job.files("histories"), strict=True):
        own = canonical({**job.spec, "seeds": [seed]})
        history: Columns = {}
        try:
            for found in pretrain(job.spec, seed, source_data(job.spec, seed, tensors, device)):
                append(history, found.row)
                if found.weights is not None:
                    write_tensors(next(paths), found.weights, own, job.code)
        except ValueError as error:
            raise StageError(f"seed {seed}: {error}") from error
        write_columns(history_path, history, own, job.code)


if __name__ == "__main__":
    run_stage(main, ["dataset", "checkpoints", "histories"])
