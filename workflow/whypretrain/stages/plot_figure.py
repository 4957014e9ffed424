"""Draw one figure of a study from the tables, as SVG and as PNG."""

import matplotlib

from whypretrain import registry
from whypretrain.command import Job, run_stage
from whypretrain.storage import read_columns, read_tensors, write_whole
from whypretrain.view import View


def main(job: Job) -> None:
    """Read the figure's tables (only its study's rows) and weights, and write both formats."""
    matplotlib.use("Agg")
    # the same bytes each time: no date, and ids in the SVG from a fixed salt
    matplotlib.rcParams["svg.hashsalt"] = "whypretrain"
    module = registry.load("figures", job.spec["figure"])
    tables = {
        name: read_columns(path)[0].to_pandas()
        for name, path in zip(module.TABLES, job.files("tables"), strict=True)
    }
    weights = list(zip(job.spec["weights"], map(read_tensors, job.files("weights")), strict=True))
    figure = module.draw(tables, View(**job.spec["view"]), weights)
    for suffix, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 160, "metadata": {"Software": None}})):
        path = job.file(suffix)
        write_whole(path, lambda part, s=suffix, o=options: figure.savefig(part, format=s, bbox_inches="tight", **o))


if __name__ == "__main__":
    run_stage(main, ["tables", "weights", "svg", "png"])
