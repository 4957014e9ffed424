"""Hold all results against config and code, without Snakemake's records: which are stale, damaged, or foreign.

    python workflow/audit.py [--configfile FILE ...] [--config KEY=VALUE ...] [--remove]

It names each such file and why, and ends with status 1 if there is one. `unused` files belong to no study of this
config; `foreign` ones were not made by this pipeline. With --remove it removes what is stale, damaged or left over by
killed jobs, so that the next run makes it again; it never removes unused or foreign files, nor what is `kept` for a
stopped job to go on from. Files of jobs that run now are passed over.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import yaml
from snakemake.utils import update_config

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from whypretrain.config.models import ConfigError, read_yaml  # noqa: E402
from whypretrain.jobs import auditing, setup  # noqa: E402
from whypretrain.running.locking import Held, Lock  # noqa: E402


def main() -> int:
    """Print each finding and a count; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    files = parser.add_argument("--configfile", type=Path, nargs="+", help="the study, as Snakemake is told it")
    files.default = [ROOT / "config/config.yaml"]
    parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE", help="values to change in it")
    parser.add_argument("--conda", action="store_true", help="jobs ran in conda environments (--sdm conda)")
    parser.add_argument("--remove", action="store_true", help="remove what is stale, damaged or left over")
    asked = parser.parse_args()
    try:
        changes = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in asked.config)}
        raw: dict[str, object] = {}
        for more in (*map(read_yaml, asked.configfile), changes):
            update_config(raw, more)  # as Snakemake does
    except (OSError, ConfigError, yaml.YAMLError) as error:
        print(f"{' '.join(map(str, asked.configfile))}: {error}", file=sys.stderr)
        return 2
    plan = setup.make_plan(raw, asked.configfile, ROOT, conda=asked.conda)
    lock = Lock(Path(plan.config.results) / ".lock")
    try:
        if asked.remove:
            lock.acquire()
    except Held as held:
        sys.exit(f"{plan.config.results} is in use by snakemake: {held}. Nothing was removed.")
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}. Nothing was removed.")
    try:
        return report(auditing.audit(plan), plan.config.results, remove=asked.remove)
    finally:
        lock.release()


def report(found: auditing.Audit, results: str, *, remove: bool) -> int:
    """Print what was found, remove what may go if that was asked for, and return the exit status."""
    for finding in found.findings:
        print(f"{finding.what:9} {finding.path}: {finding.why}")
        if remove and finding.removable:
            auditing.remove(finding)
    counts = Counter(finding.what for finding in found.findings)
    told = [f"{found.fresh} fresh", *(f"{count} {what}" for what, count in sorted(counts.items()))]
    print(f"{results}: {', '.join(told)}; {found.missing} not made yet.")
    removable = sum(finding.removable for finding in found.findings)
    if remove:
        print(f"{removable} removed; the next run makes again what it needs.")
    elif removable:
        print("Remove what is stale, damaged or left over with --remove (make audit REMOVE=1), then run again.")
    return 1 if any(finding.what != auditing.KEPT for finding in found.findings) else 0


if __name__ == "__main__":
    sys.exit(main())
