"""Anneal one checkpoint, with every seed of a block: a short branch with the learning rate going to zero."""

from whypretrain.command import Job, StageError, run_stage
from whypretrain.files.storage import write_columns, write_tensors
from whypretrain.running.provenance import hardware
from whypretrain.training.data import Columns, append
from whypretrain.training.learners import learners, named
from whypretrain.training.pretraining import anneal
from whypretrain.training.torch_setup import set_up_torch


def main(job: Job) -> None:
    """Train `replicas` seeds' branches at once; write the end of each and the one row of its history.

    The outputs are these two, seed after seed.
    """
    device = set_up_torch(job.spec)
    seeds: list[int] = job.spec["seeds"]
    checkpoints: dict[int, str | None] = dict(zip(seeds, job.files("checkpoints"), strict=True))
    outputs = {seed: job.files("outputs")[2 * place :][:2] for place, seed in enumerate(seeds)}
    snapshot = job.snapshot(hardware(device), "outputs")
    for own, start in learners(job, checkpoints, device):
        name, files = "s" + "-".join(map(str, own)), [path for seed in own for path in outputs[seed]]
        if snapshot.restore(name, files):
            continue
        progress = snapshot.begin(name)
        try:
            ends = anneal(job.spec, start(), progress)
        except ValueError as error:
            raise StageError(f"{named(own)}: {error}") from error
        for seed, end in zip(own, ends, strict=True):
            annealed, history_path = outputs[seed]
            origin = job.origin(seed)
            history: Columns = {}
            append(history, end.row)
            write_tensors(annealed, end.weights or {}, origin)
            write_columns(history_path, history, origin)
        snapshot.keep(name, files)
    snapshot.remove()


if __name__ == "__main__":
    run_stage(main, keeps=True)
