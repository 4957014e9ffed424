"""Pre-train one source, with every seed of a block: raw checkpoints, each with its head, and a history."""

from functools import cache

from whypretrain.command import Job, StageError, run_stage
from whypretrain.files.storage import read_tensors, write_columns, write_tensors
from whypretrain.learning.data import Columns, append
from whypretrain.learning.pretraining import pretrain
from whypretrain.learning.sources import set_up_torch, source_data
from whypretrain.running.provenance import hardware


def main(job: Job) -> None:
    """Train once for each seed and write each checkpoint as it is reached; the history goes last.

    The outputs are each seed's checkpoints and then its history, seed after seed. A source that starts from another is
    given that one's last checkpoint of each seed as `parents`.
    """
    device = set_up_torch(job.spec)
    read = cache(read_tensors)
    parents: list[str] | list[None] = job.files("parents") or [None] * len(job.spec["seeds"])
    each = len(job.files("outputs")) // len(job.spec["seeds"])
    snapshot = job.snapshot(hardware(device), "outputs", "dataset", "parents")
    for place, (seed, parent) in enumerate(zip(job.spec["seeds"], parents, strict=True)):
        *checkpoints, history_path = job.files("outputs")[place * each :][:each]
        if snapshot.restore(f"s{seed}", [*checkpoints, history_path]):
            continue
        dataset = job.of_seed("dataset", seed)
        own = job.origin(dataset, *([parent] if parent else []), seeds=[seed])
        history: Columns = {}
        written: list[str] = []
        progress = snapshot.begin(f"s{seed}", lambda: {"history": history, "written": len(written)})  # noqa: B023
        if before := progress.resumed():
            written = checkpoints[: before["written"]]
            if all(snapshot.restore(f"s{seed}-{number}", [path]) for number, path in enumerate(written)):
                history = before["history"]
            else:
                written = []
                progress.forget()
        try:
            data, start = source_data(job.spec, seed, read(dataset), device), read_tensors(parent) if parent else None
            for found in pretrain(job.spec, seed, data, start, progress):
                append(history, found.row)
                if found.weights is not None:
                    path = checkpoints[len(written)]
                    write_tensors(path, found.weights, own)
                    snapshot.keep(f"s{seed}-{len(written)}", [path])
                    written.append(path)
        except ValueError as error:
            raise StageError(f"seed {seed}: {error}") from error
        write_columns(history_path, history, own)
        snapshot.keep(f"s{seed}", [*checkpoints, history_path])
    snapshot.remove()


if __name__ == "__main__":
    run_stage(main, ["dataset", "parents"], ["outputs"], keeps=True)
