"""Anneal one checkpoint, with every seed of a block: a short branch with the learning rate going to zero."""

from functools import cache

from whypretrain.command import Job, StageError, run_stage
from whypretrain.files.storage import read_tensors, write_columns, write_tensors
from whypretrain.learning.data import Columns, append
from whypretrain.learning.pretraining import anneal
from whypretrain.learning.sources import set_up_torch, source_data
from whypretrain.running.provenance import hardware


def main(job: Job) -> None:
    """Train each seed's branch and write its end and the one row of its history: the outputs, seed after seed."""
    device = set_up_torch(job.spec)
    read = cache(read_tensors)
    snapshot = job.snapshot(hardware(device), "outputs", "dataset", "checkpoints")
    outputs = job.files("outputs")
    files = zip(job.files("checkpoints"), outputs[::2], outputs[1::2], strict=True)
    for seed, (checkpoint, annealed, history_path) in zip(job.spec["seeds"], files, strict=True):
        if snapshot.restore(f"s{seed}", [annealed, history_path]):
            continue
        dataset = job.of_seed("dataset", seed)
        own = job.origin(dataset, checkpoint, seeds=[seed])
        progress = snapshot.begin(f"s{seed}")
        try:
            data = source_data(job.spec, seed, read(dataset), device)
            end = anneal(job.spec, seed, data, read_tensors(checkpoint), progress)
        except ValueError as error:
            raise StageError(f"seed {seed}: {error}") from error
        history: Columns = {}
        append(history, end.row)
        assert end.weights is not None  # the end is the branch's one mark
        write_tensors(annealed, end.weights, own)
        write_columns(history_path, history, own)
        snapshot.keep(f"s{seed}", [annealed, history_path])
    snapshot.remove()


if __name__ == "__main__":
    run_stage(main, ["dataset", "checkpoints"], ["outputs"], keeps=True)
