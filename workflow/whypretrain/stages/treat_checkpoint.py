"""Treat one checkpoint: the start that target training begins from."""

from whypretrain.command import Job, run_stage
from whypretrain.storage import read_tensors, write_tensors
from whypretrain.treating import apply_treatment


def main(job: Job) -> None:
    """Read the checkpoint and, for some treatments, a reference; write the start."""
    spec = job.spec
    checkpoint, *reference = (read_tensors(path) for path in job.files("checkpoints"))
    weights = apply_treatment(checkpoint, spec["treatment"], tuple(spec["layers"]), spec["seed"], *reference)
    write_tensors(job.file("start"), weights, job.spec_text, job.code)


if __name__ == "__main__":
    run_stage(main, ["checkpoints", "start"])
