"""Hold all results against config and code, without Snakemake's records: which are stale, damaged, or foreign.

    python workflow/audit.py [--configfile FILE] [--config KEY=VALUE ...] [--remove]

It names each such file and why, and ends with status 1 if there is one. `unused` files belong to no study of this
config; `foreign` ones were not made by this pipeline. With --remove it removes what is stale, damaged or left over by
killed jobs, so that the next run makes it again; it never removes unused or foreign files.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import yaml
from snakemake.utils import update_config

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from whypretrain import auditing, setup  # noqa: E402
from whypretrain.config import ConfigError, read_yaml  # noqa: E402


def main() -> int:
    """Print each finding and a count; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", type=Path, default=ROOT / "config/config.yaml", help="the study")
    parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE", help="values to change in it")
    parser.add_argument("--remove", action="store_true", help="remove what is stale, damaged or left over")
    asked = parser.parse_args()
    try:
        changes = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in asked.config)}
        raw = read_yaml(asked.configfile)
        update_config(raw, changes)  # as Snakemake does
    except (OSError, ConfigError, yaml.YAMLError) as error:
        print(f"{asked.configfile}: {error}", file=sys.stderr)
        return 2
    plan = setup.make_plan(raw, [asked.configfile], ROOT)
    found = auditing.audit(plan)
    for finding in found.findings:
        print(f"{finding.what:9} {finding.path}: {finding.why}")
        if asked.remove and finding.removable:
            auditing.remove(finding)
    counts = Counter(finding.what for finding in found.findings)
    told = [f"{found.fresh} fresh", *(f"{count} {what}" for what, count in sorted(counts.items()))]
    print(f"{plan.config.results}: {', '.join(told)}; {found.missing} not made yet.")
    removable = sum(finding.removable for finding in found.findings)
    if asked.remove:
        print(f"{removable} removed; the next run makes again what it needs.")
    elif removable:
        print("Remove what is stale, damaged or left over with --remove (make audit REMOVE=1), then run again.")
    return 1 if found.findings else 0


if __name__ == "__main__":
    sys.exit(main())
