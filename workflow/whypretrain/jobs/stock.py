"""What is there of the studies and what isn't: the tables `missing` and `completeness` of a partial plan.

A result counts where it is whole and just what config, code and inputs would make now, as are those that it was made
from. A seed of an arm counts where all its runs do; none does before the arm's learning rate is selected.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from whypretrain.files.origins import Unreadable, read_origin
from whypretrain.files.storage import DamagedFile
from whypretrain.grid.coordinates import ARM_KEYS, Arm, key_of
from whypretrain.jobs import expected
from whypretrain.jobs.expected import Expected, staleness
from whypretrain.jobs.plan import KINDS, RUN_TABLES, Plan

Row = dict[str, Any]
ABSENT = "not there"
SET_ASIDE = "there, but another run of its seed is missing"
UNSELECTED = "its learning rate isn't selected yet: pilots are missing"
WITHOUT_RUN = "there, but a run that it is of is missing"
COORDINATES = (*ARM_KEYS, "pair")
OF_RUNS = tuple(kind for kind in KINDS if kind in RUN_TABLES.values())


class Stock:
    """Which results count; `content` gives the digest of a file, as `staleness` wants it."""

    def __init__(self, plan: Plan, content: Callable[[str], str]) -> None:
        self.plan = plan
        self.content = content
        self.expected = {result.path: result for result in expected.computed(plan)}
        self._faults: dict[str, str] = {}

    def fault(self, path: str) -> str:
        """Say why a result doesn't count; nothing where it does, and of what isn't a result."""
        if path not in self._faults:
            self._faults[path] = self._fault(self.expected[path]) if path in self.expected else ""
        return self._faults[path]

    def _fault(self, result: Expected) -> str:
        try:
            found = read_origin(result.path)
            for path in result.inputs:
                # one that is gone, as temporary files are, can't be looked at; what it was is known
                if (fault := self.fault(path)) and fault != ABSENT:
                    return f"made from {path}, which is {fault}"
            stale = staleness(result, found, self.content)
        except Unreadable as error:
            return f"damaged: {error}"
        except FileNotFoundError:
            return ABSENT
        except (DamagedFile, OSError):
            return "damaged: it, or what it was made from, can't be read"
        return f"stale: {stale}" if stale else ""

    def run(self, arm: Arm, rate: float | None, seed: int) -> str:
        """Say why a run doesn't count by itself: it has a file for each table, and all are whole."""
        kinds = [kind for kind in OF_RUNS if self.plan.run_file(kind, arm, rate, seed) in self.expected]
        return next(filter(None, (self.fault(self.plan.run_file(kind, arm, rate, seed)) for kind in kinds)), "")

    def missing_runs(self) -> Iterator[tuple[Arm, float | None, int, str]]:
        """Yield every run that doesn't count, and why."""
        for arm in self.plan.arms:
            rates = self.plan.rates(arm)
            for seed in self.plan.config.seeds:
                faults = {rate: self.run(arm, rate, seed) for rate in rates} or {None: UNSELECTED}
                if any(faults.values()):
                    yield from ((arm, rate, seed, fault or SET_ASIDE) for rate, fault in faults.items())


def _row(what: str, path: str, coordinates: Mapping[str, Any], studies: Iterable[str], reason: str) -> Row:
    return {
        "what": what,
        "studies": ", ".join(sorted(studies)),
        **dict.fromkeys(COORDINATES, ""),
        "learning_rate": float("nan"),
        "seed": -1,
        **{name: value for name, value in coordinates.items() if name in (*COORDINATES, "learning_rate", "seed")},
        "path": path,
        "reason": reason,
    }


def missing_table(stock: Stock, parts: Mapping[str, Iterable[tuple[Expected, Row]]]) -> pd.DataFrame:
    """Return a row for each run, source history and read-out that doesn't count; `parts` are those of each table."""
    plan, rows = stock.plan, []
    of_arm = {key_of(arm): studies for arm, studies in plan.grid.arms.items()}
    incomplete = set()
    for arm, rate, seed, reason in stock.missing_runs():
        path, rates = plan.run_file("scores", arm, rate, seed), {} if rate is None else {"learning_rate": rate}
        keys = key_of(arm)
        incomplete.add((keys, seed))
        rows.append(
            _row("runs", path, dict(zip(ARM_KEYS, keys, strict=True)) | rates | {"seed": seed}, of_arm[keys], reason)
        )
    rows += _networks(stock)
    uses = plan.grid.uses()
    for what, found in parts.items():
        for part, coordinates in found if what not in RUN_TABLES else ():
            keys = tuple(str(coordinates.get(key, "")) for key in ARM_KEYS)
            reason = stock.fault(part.path)
            if what == "selected" and Path(part.path).exists() and not reason.startswith("damaged"):
                reason = ""  # one that pilots would make anew says what the runs are that are there
            if not reason and (keys, coordinates.get("seed")) in incomplete:
                reason = WITHOUT_RUN
            if reason:
                rows.append(_row(what, part.path, coordinates, _studies(plan, uses, coordinates, of_arm, keys), reason))
    return pd.DataFrame(rows)


def _networks(stock: Stock) -> Iterator[Row]:
    """Yield a row for each start that is there and isn't what it should be: figures draw the weights of some."""
    names, plan = ("architecture", "source", "epoch", "treatment", "span"), stock.plan
    for start in plan.grid.starts:
        key = dict(zip(names, start, strict=True))
        for seed in plan.config.seeds:
            path = plan.paths.file("start", **key, seed=seed)
            if (reason := stock.fault(path)) and reason != ABSENT:
                studies = {name for arm, found in plan.grid.arms.items() if arm.start == start for name in found}
                yield _row("networks", path, key | {"seed": seed}, studies, reason)


def _studies(
    plan: Plan,
    uses: Iterable[tuple[str, str, str]],
    coordinates: Row,
    of_arm: Mapping[tuple[str, ...], tuple[str, ...]],
    keys: tuple[str, ...],
) -> set[str]:
    """Return the studies that a selection, a source, a read-out or a pair belongs to."""
    if "study" in coordinates:
        return {coordinates["study"]}
    if "pair" in coordinates:
        return {name for name, study in plan.config.studies.items() if coordinates["pair"] in study.pairs}
    if "target" not in coordinates:
        return {study for study, source, _ in uses if source == coordinates["source"]}
    if keys in of_arm:
        return set(of_arm[keys])
    known = [number for number, key in enumerate(keys) if key]
    return {
        study
        for arm, studies in of_arm.items()
        if all(arm[number] == keys[number] for number in known)
        for study in studies
    }


def completeness_table(plan: Plan, missing: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each arm of each study: its runs and seeds, and how many of them count."""
    lost: dict[tuple[str, ...], list[int]] = {}
    if len(missing):
        runs = missing[missing["what"] == "runs"]
        for keys, group in runs.groupby(ARM_KEYS):
            lost[tuple(map(str, keys))] = group["seed"].tolist()
    rows = []
    for study in plan.config.studies:
        for arm in plan.grid.arms_of(study):
            gone, seeds = lost.get(key_of(arm), []), len(plan.config.seeds)
            total = seeds * max(1, len(plan.rates(arm)))
            rows.append(
                {
                    "study": study,
                    **dict(zip(ARM_KEYS, key_of(arm), strict=True)),
                    "runs": total,
                    "runs_there": total - len(gone),
                    "seeds": seeds,
                    "seeds_there": seeds - len(set(gone)),
                }
            )
    return pd.DataFrame(rows)
