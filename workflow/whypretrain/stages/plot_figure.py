"""Draw one figure of a study from the tables, as SVG and as PNG."""

from functools import partial
from pathlib import Path

from whypretrain import drawing, registry
from whypretrain.command import Job, run_stage
from whypretrain.origins import BLANK, canonical
from whypretrain.storage import read_columns, read_tensors, write_sealed, write_whole
from whypretrain.view import View


def main(job: Job) -> None:
    """Read the figure's tables and weights, and write both formats, each with its spec and code."""
    module = registry.load("figures", job.spec["figure"])
    tables = {
        name: read_columns(path)[0].to_pandas() for name, path in zip(module.TABLES, job.files("tables"), strict=True)
    }
    weights = list(zip(job.spec["weights"], map(read_tensors, job.files("weights")), strict=True))
    figure = module.draw(tables, View(**job.spec["view"]), weights)
    drawing.settle(figure)
    origin = job.origin(*job.files("tables"), *job.files("weights")).columns()
    told = {"svg": canonical({**origin, "seal": BLANK.decode()}), "png": canonical(origin)}

    def save(part: Path, suffix: str, metadata: dict[str, str | None]) -> None:
        # no date and no version, so that the same figure is the same bytes
        figure.savefig(part, format=suffix, bbox_inches="tight", metadata={"Description": told[suffix]} | metadata)

    write_sealed(job.file("svg"), partial(save, suffix="svg", metadata={"Date": None, "Creator": None}))
    write_whole(job.file("png"), partial(save, suffix="png", metadata={"Software": None}))


if __name__ == "__main__":
    run_stage(main, ["tables", "weights"], ["svg", "png"])
