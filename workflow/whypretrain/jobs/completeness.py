"""What is there of the studies and what isn't: the tables `missing` and `completeness` of a partial plan.

A result counts where it is whole and just what config, code and inputs would make now, as are those that it was made
from. A seed of an arm counts where all its runs do; none does before the arm's learning rate is selected.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from whypretrain.files.origins import Unreadable, read_origin
from whypretrain.files.storage import DamagedFile
from whypretrain.grid.coordinates import ARM_KEYS, Arm, key_columns, key_of
from whypretrain.grid.grid import Grid
from whypretrain.jobs.form import At, Result
from whypretrain.jobs.plan import Plan
from whypretrain.jobs.runs import KINDS, TrainRun
from whypretrain.jobs.tables import RUN_TABLES, collected_tables

Row = dict[str, Any]
ABSENT = "not there"
SET_ASIDE = "there, but another run of its seed is missing"
UNSELECTED = "its learning rate isn't selected yet: pilots are missing"
WITHOUT_RUN = "there, but a run that it is of is missing"
COORDINATES = (*ARM_KEYS, "pair")
OF_RUNS = tuple(kind for kind in KINDS if kind in RUN_TABLES.values())


class Checked:
    """Which results count; `content` gives the digest of a file, as `staleness` wants it."""

    def __init__(self, plan: Plan, content: Callable[[str], str]) -> None:
        self.plan = plan
        self.content = content
        self.results = {result.path: result for result in plan.computed()}
        self._faults: dict[str, str] = {}

    def fault(self, path: str) -> str:
        """Say why a result doesn't count; nothing where it does, and of what isn't a result."""
        if path not in self._faults:
            self._faults[path] = self._fault(self.results[path]) if path in self.results else ""
        return self._faults[path]

    def _fault(self, result: Result) -> str:
        try:
            found = read_origin(result.path)
            for path in result.made.inputs:
                # one that is gone, as temporary files are, can't be looked at; what it was is known
                if (fault := self.fault(path)) and fault != ABSENT:
                    return f"made from {path}, which is {fault}"
            stale = result.staleness(found, self.content)
        except Unreadable as error:
            return f"damaged: {error}"
        except FileNotFoundError:
            return ABSENT
        except (DamagedFile, OSError):
            return "damaged: it, or what it was made from, can't be read"
        return f"stale: {stale}" if stale else ""

    def batch(self, form: TrainRun, at: At) -> str:
        """Say why a batch of runs doesn't count by itself: it has a file for each table, and all are whole."""
        ((_, outputs),) = form.made(at)
        return next(filter(None, (self.fault(outputs[kind][0]) for kind in OF_RUNS if kind in outputs)), "")

    def missing_runs(self) -> Iterator[tuple[Arm, float | None, int, str, str]]:
        """Yield every run that doesn't count, with the scores of its batch, and why."""
        batches: dict[Arm, list[tuple[TrainRun, At]]] = {}
        for form, at, arm in self.plan.batches():
            batches.setdefault(arm, []).append((form, at))
        for arm in self.plan.arms:
            if arm not in batches:
                yield from ((arm, None, seed, "", UNSELECTED) for seed in self.plan.config.seeds)
            faults = {(form.block.name, at.batch): self.batch(form, at) for form, at in batches.get(arm, ())}
            incomplete = {block for (block, _), fault in faults.items() if fault}
            for form, at in batches.get(arm, ()):
                fault = faults[form.block.name, at.batch] or SET_ASIDE
                for rate, seed in product(form.rates_of(at), form.block.seeds) if form.block.name in incomplete else ():
                    yield arm, rate, seed, form.one("scores", at).path, fault


def shown(plan: Plan, runs: pd.DataFrame) -> Grid:
    """Return the grid that tables are made of: of a partial plan the arms alone that have runs.

    So what isn't complete is summarised as if the studies asked for no more.
    """
    if not plan.config.partial:
        return plan.grid
    there = {tuple(map(str, keys)) for keys in runs[ARM_KEYS].drop_duplicates().itertuples(index=False, name=None)}
    arms = {arm: studies for arm, studies in plan.grid.arms.items() if key_of(arm) in there}
    return dataclasses.replace(plan.grid, arms=arms)


def _row(what: str, path: str, coordinates: Mapping[str, Any], studies: Iterable[str], reason: str) -> Row:
    row = {**dict.fromkeys(COORDINATES, ""), "learning_rate": float("nan"), "seed": -1}
    row |= {name: value for name, value in coordinates.items() if name in row}
    return {"what": what, "studies": ", ".join(sorted(studies)), **row, "path": path, "reason": reason}


def missing_table(checked: Checked) -> pd.DataFrame:
    """Return a row for each run, batch of pilots, source history and read-out that doesn't count."""
    plan, rows = checked.plan, []
    of_arm = {key_of(arm): studies for arm, studies in plan.grid.arms.items()}
    block_of = {seed: block.name for block in plan.blocks() for seed in block.seeds}
    incomplete = set()
    for arm, rate, seed, path, reason in checked.missing_runs():
        rates = {} if rate is None else {"learning_rate": rate}
        incomplete.add((key_of(arm), block_of[seed]))
        rows.append(_row("runs", path, key_columns(arm) | rates | {"seed": seed}, plan.grid.arms[arm], reason))
    rows += _networks(checked)
    uses, collector = plan.grid.uses(), plan.form("collect_table")
    for what in (table for table in collected_tables() if table == "pilots" or table not in RUN_TABLES):
        for part, coordinates in collector.parts_of(what):
            keys = tuple(str(coordinates.get(key, "")) for key in ARM_KEYS)
            reason = checked.fault(part.path)
            if what == "selected" and Path(part.path).exists() and not reason.startswith("damaged"):
                reason = ""  # one that pilots would make anew says what the runs are that are there
            if not reason and (keys, part.made.form.block.name) in incomplete:
                reason = WITHOUT_RUN
            if reason:
                rows.append(_row(what, part.path, coordinates, _studies(plan, uses, coordinates, of_arm, keys), reason))
    return pd.DataFrame(rows)


def _networks(checked: Checked) -> Iterator[Row]:
    """Yield a row for each start that is there and isn't what it should be: figures draw the weights of some."""
    plan = checked.plan
    for start in plan.grid.starts:
        key = dict(zip(ARM_KEYS, start, strict=False))
        for seed in plan.config.seeds:
            path = plan.paths.file("start", **key, seed=seed)
            if (reason := checked.fault(path)) and reason != ABSENT:
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
    alike = (arm for arm in of_arm if all(key in ("", own) for key, own in zip(keys, arm, strict=True)))
    return {study for arm in alike for study in of_arm[arm]}


def completeness_table(plan: Plan, missing: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each arm of each study: its runs and seeds, and how many of them count."""
    lost: dict[tuple[str, ...], list[int]] = {}
    if len(missing):
        runs = missing[missing["what"] == "runs"]
        for keys, group in runs.groupby(ARM_KEYS):
            lost[tuple(map(str, keys))] = group["seed"].tolist()
    rows, seeds = [], len(plan.config.seeds)
    for study, arm in ((name, arm) for name in plan.config.studies for arm in plan.grid.arms_of(name)):
        gone, runs_of = lost.get(key_of(arm), []), seeds * max(1, len(plan.rates(arm)))
        counts = {"runs": runs_of, "runs_there": runs_of - len(gone)}
        counts |= {"seeds": seeds, "seeds_there": seeds - len(set(gone))}
        rows.append({"study": study, **key_columns(arm), **counts})
    return pd.DataFrame(rows)
