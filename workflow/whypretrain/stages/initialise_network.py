"""Initialise one untrained network: the source `none`, without a head."""

from whypretrain.command import Job, run_stage
from whypretrain.files.storage import write_tensors
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.initialisation import initialise
from whypretrain.randomness import stream


def main(job: Job) -> None:
    """Draw the weights from the scratch stream, independent of every source."""
    name = job.spec["architecture"]["name"]
    weights = initialise(of_spec(job.spec, job.files("card")), stream("scratch-init", job.spec["seed"], name))
    write_tensors(job.file("checkpoint"), weights, job.origin())


if __name__ == "__main__":
    run_stage(main)
