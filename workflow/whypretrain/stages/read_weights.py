"""Read the weights that somebody else trained, from where they are published into a file of ours."""

from whypretrain.command import Job, StageError, log, run_stage
from whypretrain.files.storage import write_tensors
from whypretrain.networks.published import class_names, read_published


def main(job: Job) -> None:
    """Take the tensors as they are; whether they are those of a network is seen where one takes them."""
    files = job.files("file")
    taken = files[0] if files else job.spec["weights"]
    try:
        weights = read_published(taken)
    except ValueError as error:
        raise StageError(f"pretraining.{job.spec['pretraining']}.weights: {error}") from None
    if names := class_names(taken):
        log.info("its %d logits are those of: %s", len(names), ", ".join(names))
    write_tensors(job.file("weights"), weights, job.origin())


if __name__ == "__main__":
    run_stage(main)
