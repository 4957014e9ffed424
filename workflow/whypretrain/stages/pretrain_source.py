"""Pre-train one source, with every seed of a block: raw checkpoints, each with its head, and a history."""

from whypretrain.command import Job, StageError, run_stage
from whypretrain.files.storage import write_columns, write_tensors
from whypretrain.running.provenance import hardware
from whypretrain.training.data import Columns, append
from whypretrain.training.learners import learners, named
from whypretrain.training.pretraining import pretrain
from whypretrain.training.torch_setup import set_up_torch


def main(job: Job) -> None:
    """Train `replicas` seeds at once and write each checkpoint as it is reached; the histories go last.

    The outputs are each seed's checkpoints and then its history, seed after seed. A source that starts from another is
    given that one's last checkpoint of each seed as `parents`.
    """
    device = set_up_torch(job.spec)
    seeds: list[int] = job.spec["seeds"]
    parents: dict[int, str | None] = dict.fromkeys(seeds) | dict(zip(seeds, job.files("parents"), strict=False))
    each = len(job.files("outputs")) // len(seeds)
    outputs = {seed: job.files("outputs")[place * each :][:each] for place, seed in enumerate(seeds)}
    snapshot = job.snapshot(hardware(device), "outputs")
    for own, start in learners(job, parents, device):
        name, files = "s" + "-".join(map(str, own)), [path for seed in own for path in outputs[seed]]
        if snapshot.restore(name, files):
            continue
        *checkpoints, histories = zip(*(outputs[seed] for seed in own), strict=True)
        origins = [job.origin(seed) for seed in own]
        columns: list[Columns] = [{} for _ in own]
        written: list[tuple[str, ...]] = []
        progress = snapshot.begin(name, lambda: {"history": columns, "written": len(written)})  # noqa: B023
        if before := progress.resumed():
            written = checkpoints[: before["written"]]
            if all(snapshot.restore(f"{name}-{number}", paths) for number, paths in enumerate(written)):
                columns = before["history"]
            else:
                written = []
                progress.forget()
        try:
            for found in pretrain(job.spec, start(), progress):
                for rows, read_out in zip(columns, found, strict=True):
                    append(rows, read_out.row)
                if found[0].weights is None:
                    continue
                paths = checkpoints[len(written)]
                for path, read_out, origin in zip(paths, found, origins, strict=True):
                    write_tensors(path, read_out.weights or {}, origin)
                snapshot.keep(f"{name}-{len(written)}", paths)
                written.append(paths)
        except ValueError as error:
            raise StageError(f"{named(own)}: {error}") from error
        for path, rows, origin in zip(histories, columns, origins, strict=True):
            write_columns(path, rows, origin)
        snapshot.keep(name, files)
    snapshot.remove()


if __name__ == "__main__":
    run_stage(main, keeps=True)
