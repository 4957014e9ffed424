"""Take one read-out of an arm: its start and, at the selected learning rate, its final, with every seed of a block."""

from whypretrain import registry
from whypretrain.architectures.convnet import Parameters, layers
from whypretrain.command import Job, log, run_stage
from whypretrain.files.storage import read_tensors, write_columns
from whypretrain.learning.data import TargetData
from whypretrain.learning.models import first_layers
from whypretrain.learning.sources import set_up_torch
from whypretrain.learning.tasks import source_images, target_images
from whypretrain.readouts.measuring import Measured, selected_rate
from whypretrain.study import moding


def main(job: Job) -> None:
    """Read the weights of each seed and write its read-out, with the rate that was selected."""
    spec = job.spec
    device = set_up_torch(spec)
    module = registry.load("measures", spec["measure"])
    architecture = {key: value for key, value in spec["architecture"].items() if key != "name"}
    mode = moding.parse(spec["mode"])
    described = layers(Parameters(**architecture))[: mode.layer]
    target, source, constants = spec["target"], spec["source_task"], spec["normalisation"]
    rates, seeds = spec["learning_rates"], spec["seeds"]
    rate = selected_rate(job.files("scores"), rates, spec["all_seeds"])
    at = rates.index(rate) * len(seeds)
    finals = job.files("finals")[at : at + len(seeds)]
    tensors, *of_source = (read_tensors(path) for path in job.files("datasets"))
    weights = zip(job.files("starts"), job.files("initials"), finals, job.files("measured"), strict=True)
    for seed, (start, initial, final, output) in zip(seeds, weights, strict=True):
        images = target_images(tensors, target, seed)
        of_task = source_images(of_source[0], source, seed) if source else None
        measured = Measured(
            layers=described,
            start=first_layers(read_tensors(start), mode.layer),
            initial=first_layers(read_tensors(initial), mode.layer),
            final=read_tensors(final),
            mode=mode,
            target=TargetData.on(device, images, target["class_count"], constants),
            source=TargetData.on(device, of_task, source["class_count"], constants) if of_task else None,
            normalisation=constants,
            seed=seed,
            device=device,
        )
        columns = module.read_out(measured)
        count = len(next(iter(columns.values())))
        columns["learning_rate"] = [float("nan") if rate is None else rate] * count
        # a final is made with its scores, and can be gone by now
        own = job.origin(*job.files("datasets"), start, initial, *job.files("scores"), seeds=[seed])
        write_columns(output, columns, own)
        log.info("seed %d: %d rows at rate %s", seed, count, rate)


if __name__ == "__main__":
    run_stage(main, ["datasets", "starts", "initials", "finals", "scores"], ["measured"])
