"""Take one read-out of an arm: its start and its final, with every seed of a block."""

from functools import cache

from whypretrain import registry
from whypretrain.command import Job, log, run_stage
from whypretrain.data.tasks import source_images, target_images
from whypretrain.files.batches import read_finals
from whypretrain.files.storage import read_tensors, write_columns
from whypretrain.measures.measuring import Measured
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.initialisation import without_head
from whypretrain.training import moding
from whypretrain.training.data import Columns, TargetData, append
from whypretrain.training.torch_setup import set_up_torch


def main(job: Job) -> None:
    """Read the weights of each seed and write what is read out of them, one seed under another."""
    spec = job.spec
    device = set_up_torch(spec)
    module = registry.load("measures", spec["measure"])
    card, mode = of_spec(spec, job.files("card")), moding.parse(spec["mode"])
    target, source, constants = spec["target"], spec["source_task"], spec["normalisation"]
    read = cache(read_tensors)
    finals = read_finals(job.file("finals"))
    columns: Columns = {}
    for seed, start, initial in zip(spec["seeds"], job.files("starts"), job.files("initials"), strict=True):
        datasets = [job.of_seed(name, seed) for name in ("target_dataset", "source_dataset") if job.files(name)]
        tensors, *of_source = map(read, datasets)
        images = target_images(tensors, target, seed)
        of_task = source_images(of_source[0], source, seed) if source else None
        measured = Measured(
            card=card,
            start=without_head(card, read_tensors(start), mode.layer),
            initial=without_head(card, read_tensors(initial), mode.layer),
            final=finals[f"lr-{spec['learning_rate']}.s{seed}"],
            mode=mode,
            target=TargetData.on(device, images, target["class_count"], constants, card.channels),
            source=TargetData.on(device, of_task, source["class_count"], constants, card.channels) if of_task else None,
            normalisation=constants,
            seed=seed,
            device=device,
        )
        rows = list(module.read_out(measured))
        for row in rows:
            append(columns, {"seed": seed, **row})
        log.info("seed %d: %d rows", seed, len(rows))
    write_columns(job.file("measured"), columns, job.origin())


if __name__ == "__main__":
    run_stage(main)
