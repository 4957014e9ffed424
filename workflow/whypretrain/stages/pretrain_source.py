"""Pre-train one source, with every seed of a block: raw checkpoints, each with its head, and a history."""

from whypretrain.command import Job, StageError, run_stage
from whypretrain.data import Columns, append
from whypretrain.pretraining import pretrain
from whypretrain.sources import set_up_torch, source_data
from whypretrain.storage import canonical, read_tensors, write_columns, write_tensors


def main(job: Job) -> None:
    """Train once for each seed and write each checkpoint as it is reached; the history goes last.

    A source that starts from another is given that one's last checkpoint of each seed as `parents`.
    """
    device = set_up_torch(job.spec)
    tensors = read_tensors(job.file("dataset"))
    paths = iter(job.files("checkpoints"))
    parents: list[str] | list[None] = job.files("parents") or [None] * len(job.spec["seeds"])
    for seed, parent, history_path in zip(job.spec["seeds"], parents, job.files("histories"), strict=True):
        own = canonical({**job.spec, "seeds": [seed]})
        history: Columns = {}
        try:
            data, start = source_data(job.spec, seed, tensors, device), read_tensors(parent) if parent else None
            for found in pretrain(job.spec, seed, data, start):
                append(history, found.row)
                if found.weights is not None:
                    write_tensors(next(paths), found.weights, own, job.code)
        except ValueError as error:
            raise StageError(f"seed {seed}: {error}") from error
        write_columns(history_path, history, own, job.code)


if __name__ == "__main__":
    run_stage(main, ["dataset", "parents", "checkpoints", "histories"])
