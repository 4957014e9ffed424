"""Initialise one untrained network: the source `none`, without a head."""

from whypretrain.command import Job, run_stage
from whypretrain.files.storage import write_tensors
from whypretrain.networks.convnet import Parameters, layers
from whypretrain.networks.initialisation import initialise_layers
from whypretrain.randomness import stream


def main(job: Job) -> None:
    """Draw the weights from the scratch stream, independent of every source."""
    architecture = dict(job.spec["architecture"])
    name = architecture.pop("name")
    weights = initialise_layers(layers(Parameters(**architecture)), stream("scratch-init", job.spec["seed"], name))
    write_tensors(job.file("checkpoint"), weights, job.origin())


if __name__ == "__main__":
    run_stage(main, [], ["checkpoint"])
