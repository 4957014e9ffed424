"""Pre-train one source, with every seed of a block: raw checkpoints, each with its head, and a history."""

from whypretrain.command import Job, run_stage
from whypretrain.training.learners import train_sources
from whypretrain.training.pretraining import pretrain


def main(job: Job) -> None:
    """Train; a source that starts from another is given that one's last checkpoint of each seed as `parents`."""
    train_sources(job, pretrain, dict(zip(job.spec["seeds"], job.files("parents"), strict=False)))


if __name__ == "__main__":
    run_stage(main, keeps=True)
