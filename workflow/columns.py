"""Write the tables and their columns, from their schemas: python workflow/columns.py > docs/results.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from whypretrain.files.schemas import TABLES

HEAD = """# Tables and their columns

Written by `python workflow/columns.py` from `workflow/whypretrain/files/schemas.py`; nothing here is typed. A table is
`results/tables/NAME.parquet`, but `calibration` and `bench`, which are in `results/benchmarks`; each column carries its
description there too. All are long: one fact a row.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for name in sorted(TABLES):
        parts += [f"\n## `{name}`\n", "| column | type | what it is |", "|---|---|---|"]
        for column, settings in TABLES[name].items():
            kind = "text" if str(settings.dtype).startswith("str") else str(settings.dtype)
            empty = ", may be empty" if settings.nullable else ""
            parts.append(f"| `{column}` | {kind}{empty} | {str(settings.description).replace('|', '/')} |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
