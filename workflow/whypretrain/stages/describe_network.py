"""Describe a network whose card isn't shipped: its layers, head and images, found in one forward pass."""

from whypretrain.command import Job, StageError, run_stage
from whypretrain.files.storage import write_card
from whypretrain.networks.describing import describe


def main(job: Job) -> None:
    """Write the card."""
    try:
        card = describe(job.spec["network"])
    except ValueError as error:
        raise StageError(str(error)) from None
    write_card(job.file("described"), {"card": card.write()}, job.origin())


if __name__ == "__main__":
    run_stage(main)
