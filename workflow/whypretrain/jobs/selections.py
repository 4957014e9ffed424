"""The learning rates that pilot seeds selected, study by study: what the fresh runs of each arm are trained at.

Known only when a study's pilots are trained, so Snakemake finds the runs that follow from it then (a checkpoint).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whypretrain.grid.coordinates import Arm


@dataclass(frozen=True)
class Selection:
    """The rate that validation selected for an arm in a study, and all rates that its fresh seeds train at.

    Those are the selected one, those of arms that it is compared with at common rates, and those that a claim names.
    A rate is None for a mode that has none.
    """

    rate: float | None
    rates: tuple[float | None, ...]


class Selections:
    """Reads what `select_rates` wrote.

    `wait`, where there is one, is called with a study before its selection is read: Snakemake's way of being told that
    a job's inputs depend on it.
    """

    def __init__(self, path: Callable[[str], str]) -> None:
        self.path = path
        self.wait: Callable[[str], Any] | None = None
        self._read: dict[str, tuple[int, dict[Arm, Selection]]] = {}

    def of(self, study: str) -> dict[Arm, Selection]:
        """Return the selections of a study by arm; none before its pilots are done, and of a file that is damaged."""
        if self.wait:
            self.wait(study)
        path = Path(self.path(study))
        try:
            changed = path.stat().st_mtime_ns
            if study not in self._read or self._read[study][0] != changed:
                self._read[study] = changed, _parse(json.loads(path.read_text(encoding="utf-8"))["arms"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return self._read[study][1]


def _parse(rows: list[dict[str, Any]]) -> dict[Arm, Selection]:
    return {Arm.of(row): Selection(row["learning_rate"], tuple(row["learning_rates"])) for row in rows}
