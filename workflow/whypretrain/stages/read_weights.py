"""Read the weights that somebody else trained, from a file of theirs into one of ours."""

from whypretrain.command import Job, StageError, run_stage
from whypretrain.files.storage import write_tensors
from whypretrain.networks.foreign import read_weights


def main(job: Job) -> None:
    """Take the tensors as they are; whether they are those of a network is seen where one takes them."""
    try:
        weights = read_weights(job.file("file"))
    except ValueError as error:
        raise StageError(f"pretraining.{job.spec['pretraining']}.file: {error}") from None
    write_tensors(job.file("weights"), weights, job.origin(job.file("file")))


if __name__ == "__main__":
    run_stage(main, ["file"], ["weights"])
