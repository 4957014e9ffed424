"""Say which way of using a pre-trained network is best for a folder of images: python workflow/advise.py FOLDER.

The folder holds one folder of images for each class; an archive of it (.zip, .tar, .tar.gz, …) will do. Every image is
looked at first; then the study of config/advise.yaml runs with the folder as its target, and what comes out is printed.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from whypretrain.data import archives, partition  # noqa: E402
from whypretrain.data.datasets import folder  # noqa: E402
from whypretrain.data.problems import UnusableFiles  # noqa: E402
from whypretrain.evidence import advising  # noqa: E402
from whypretrain.figures.plotting import fonts  # noqa: E402
from whypretrain.jobs.setup import LOOKED_AT  # noqa: E402

SHARES = {"validation": 0.2, "test": 0.3}


def results_of(data: Path) -> str:
    """Return the results folder of a folder of images: its name, and a digest of its path to tell namesakes apart."""
    name = re.sub(r"[^a-z0-9]+", "-", data.name.lower()).strip("-") or "images"
    return f"results/advise/{name}-{hashlib.sha256(str(data).encode()).hexdigest()[:6]}"


def look_at(data: Path) -> str:
    """Return what stands in a folder of images, in words. Raises UnusableFiles where it can't be used."""
    report = folder.check(str(data))
    if report.message:
        raise UnusableFiles(report.message)
    parts = partition.part_sizes(report.counts, SHARES, report.found.parts)
    told = [*report.notes, f"{data}: {sum(report.counts.values())} images of {len(report.counts)} classes."]
    told += advising.few_images(report.counts, parts)
    told.append(fonts.note(report.counts))
    return "\n\n".join(map(advising.wrapped, filter(None, told)))


def write_config(images: Path, results: str, template: str) -> Path:
    """Write the config of the study on a folder of images, and return its path below the working folder."""
    shares = {f"{part}_share": share for part, share in SHARES.items()}
    dataset = {"module": "folder", "parameters": {"path": str(images), "channels": 1}, **shares}
    config = {"include": [template], "results": results, "datasets": {"yours": dataset}}
    path = Path(results) / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def main() -> int:
    """Check the folder, unpacked if it is an archive, run the study, print the advice; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="one folder of images for each class, or an archive of it")
    parser.add_argument("--cores", default="all", help="how many cores to use")
    parser.add_argument("--config", default="config/advise.yaml", help="the study that is run")
    asked = parser.parse_args()
    data = asked.folder.expanduser().resolve()
    results = results_of(data)
    try:
        images = archives.unpacked(data, Path(results) / "images") if archives.is_archive(data) else data
        print(look_at(images), "\n", flush=True)
    except UnusableFiles as error:
        print(f"Can't use these images: {error}", file=sys.stderr)
        return 1
    config = write_config(images, results, asked.config)
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", str(config)]
    environment = {**os.environ, LOOKED_AT: str(images)}
    advice, cores = config.parent / "advice.rst", ["--cores", asked.cores]
    # the advice alone first: a figure that fails withholds none of it, and no older advice is taken for it
    if status := subprocess.run([*snakemake, *cores, "--", str(advice)], env=environment, check=False).returncode:
        return status
    status = subprocess.run([*snakemake, *cores], env=environment, check=False).returncode
    text = advice.read_text(encoding="utf-8")
    print("\n" + "\n".join(line for line in text.split("\n") if not line.startswith(".. ")).strip())
    if status:
        print(f"\nTables are in {config.parent / 'tables'}.", flush=True)
        failed = config.parent / "failures.txt"
        told = failed.read_text(encoding="utf-8") if failed.exists() else "Its message stands above."
        print(f"\nThe advice is complete, but not all figures or not the report. {told}", file=sys.stderr)
        return status
    print(f"\nMore in {config.parent / 'report.html'}, tables in {config.parent / 'tables'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
