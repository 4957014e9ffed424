"""Prepare one dataset: a safetensors file of images and labels, and a JSON card."""

import numpy as np

from whypretrain import registry
from whypretrain.command import Job, StageError, log, run_stage
from whypretrain.data import partition
from whypretrain.data.problems import UnusableFiles
from whypretrain.files.storage import checksum, write_card, write_tensors


def main(job: Job) -> None:
    """Read nothing but the dataset's own source; write the file and its card."""
    spec = job.spec
    module = registry.load("datasets", spec["module"])
    parameters = module.Parameters(**spec["parameters"])
    try:
        if "files" in spec and spec["files"] != module.digest(parameters):
            raise StageError(f"datasets.{spec['dataset']}: files were added, removed or changed meanwhile; run again")
        own = {"seed": spec["seed"]} if "seed" in spec else {}
        images, labels, *groups = module.prepare(parameters, spec["size"], **own)
    except UnusableFiles as error:
        raise StageError(f"datasets.{spec['dataset']}.parameters.{error.parameter}: {error}") from None
    counts = module.class_counts(parameters)
    found = np.bincount(labels, minlength=len(counts)).tolist()
    if found != list(counts.values()):
        raise StageError(f"dataset {spec['dataset']} has {found} images per class, but its module says {counts}")
    tensors = {"images": images, "labels": labels, **dict(zip(["groups"], groups, strict=False))}
    if hasattr(module, "parts") and (given := module.parts(parameters)):
        tensors["parts"] = partition.given_parts(counts, given)
    means, deviations = _moments(images)
    card = {
        "dataset": spec["dataset"],
        "module": spec["module"],
        "source": module.SOURCE,
        "licence": module.LICENCE,
        "images": len(images),
        "channels": images.shape[1],
        "size": list(images.shape[2:]),
        "class_counts": counts,
        "channel_mean": means.tolist(),
        "channel_standard_deviation": deviations.tolist(),
        "sha256": checksum(tensors),
    }
    origin = job.origin_of(map(str, module.files(parameters)) if hasattr(module, "files") else ())
    write_tensors(job.file("dataset"), tensors, origin)
    write_card(job.file("card"), card, origin)
    log.info("%s: %d images of %s, %d classes", spec["dataset"], len(images), images.shape[1:], len(counts))


def _moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel of images scaled to 0…1."""
    levels = np.arange(256) / 255
    shares = np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])])
    shares = shares / shares.sum(1, keepdims=True)
    means = shares @ levels
    return means, np.sqrt(((levels - means[:, None]) ** 2 * shares).sum(1))


if __name__ == "__main__":
    run_stage(main)
