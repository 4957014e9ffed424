"""Anneal one checkpoint, with every seed of a block: a short branch with the learning rate going to zero."""

from whypretrain.command import Job, run_stage
from whypretrain.training.learners import train_sources
from whypretrain.training.pretraining import anneal


def main(job: Job) -> None:
    """Train each seed's branch from its checkpoint; its history has one row, that of its end."""
    checkpoints = dict(zip(job.spec["seeds"], job.files("checkpoints"), strict=True))
    train_sources(job, lambda *told: [anneal(*told)], checkpoints)


if __name__ == "__main__":
    run_stage(main, keeps=True)
