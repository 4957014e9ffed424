"""Treat one checkpoint, with every seed of a block: the starts that target training begins from."""

from whypretrain.command import Job, run_stage
from whypretrain.files.storage import read_tensors, write_tensors
from whypretrain.networks.architecture import of_spec
from whypretrain.treatments.treating import apply_treatment


def main(job: Job) -> None:
    """Read each seed's checkpoint and, for some treatments, its reference; write the start."""
    spec, card = job.spec, of_spec(job.spec, job.files("card"))
    references: list[str] | list[None] = job.files("references") or [None] * len(spec["seeds"])
    files = zip(job.files("checkpoints"), references, job.files("starts"), strict=True)
    for seed, (checkpoint, reference, start) in zip(spec["seeds"], files, strict=True):
        taken = read_tensors(reference) if reference else None
        layers = tuple(spec["layers"])
        weights = apply_treatment(read_tensors(checkpoint), spec["treatment"], layers, seed, card, taken)
        write_tensors(start, weights, job.origin(seed))


if __name__ == "__main__":
    run_stage(main)
