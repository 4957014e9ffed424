"""Pool the kernels of several sources into a bank, with every seed of a block: what some starts draw from."""

from whypretrain.command import Job, log, run_stage
from whypretrain.files.storage import read_tensors, write_tensors
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.banks import layer_kernels, pool_kernels


def main(job: Job) -> None:
    """Read each seed's checkpoints, those of one seed after those of another; write its bank."""
    spec, card = job.spec, of_spec(job.spec, job.files("card"))
    for seed, path in zip(spec["seeds"], job.files("banks"), strict=True):
        networks = [read_tensors(file) for file in job.own("checkpoints", seed)]
        bank = pool_kernels(networks, card, spec["prune"])
        for name, kernels in bank.items():
            there = sum(len(layer_kernels(weights, card)[name]) for weights in networks)
            log.info("seed %d, %s: %d of %d kernels kept", seed, name, len(kernels), there)
        write_tensors(path, bank, job.origin(seed))


if __name__ == "__main__":
    run_stage(main)
