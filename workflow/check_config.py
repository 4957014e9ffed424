"""Look at a config before Snakemake does: python workflow/check_config.py FILE.

Snakemake evaluates a file that says `__use_yte__` as Python while it reads it, before any check of a workflow.
This reads plain values alone, so it may be asked about a file that somebody else wrote. It prints where the file's
results go.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from whypretrain.config.reading import read_yaml, with_includes  # noqa: E402
from whypretrain.config.strict import ConfigError  # noqa: E402


def main() -> None:
    """Read each file named on the command line, and what it includes; a mistake ends with one message and status 1."""
    try:
        for name in sys.argv[1:]:
            print(with_includes(read_yaml(Path(name)), ROOT).get("results", "results"))
    except ConfigError as error:
        sys.exit(f"Mistake in config: {error}")


if __name__ == "__main__":
    main()
