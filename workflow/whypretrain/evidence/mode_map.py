"""The mode map: which way of using a source is best on a target, and what isn't worse: the tables `modes` and `advice`.

Within a family (`svm-L`, `probe-L`, `freeze-N`) validation chooses L or N; families are compared on test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.config.models import Setting
from whypretrain.evidence import values
from whypretrain.evidence.advising import ANY, SCRATCH
from whypretrain.evidence.lookup import Lookup
from whypretrain.evidence.statistics import Interval, beyond, not_worse_than_best, repeated_splits
from whypretrain.evidence.values import Array, Values
from whypretrain.grid.coordinates import NO_RECIPE, Arm
from whypretrain.grid.grid import Grid
from whypretrain.training import moding

Row = dict[str, Any]
FAMILIES = ("probe", "probe-L", "svm-L", "freeze-N", "lpft", "finetune", SCRATCH)  # the cheapest first
LEVEL = 0.05  # of the comparison with the best


@dataclass(frozen=True)
class Candidate:
    """A family in one setting: the member that validation chose out of some, and its scores by seed."""

    family: str
    arm: Arm
    members: int
    validation: float
    test: Values

    def words(self) -> str:
        """Return a way of using a source in words: `svm-4 of glyphs`."""
        return SCRATCH if self.family == SCRATCH else f"{self.arm.mode} of {self.arm.source}"


def family_of(mode: str) -> str:
    """Return the family of a mode, as tables have it; nothing for one that keeps the source's statistics."""
    found = moding.parse(mode)
    if found.source_norm:
        return ""
    return {"freeze": "freeze-N", "svm": "svm-L"}.get(found.name, f"{found.name}-L" if found.layer else found.name)


class ModeMap:
    """The modes that one study compares in one architecture."""

    def __init__(self, grid: Grid, lookup: Lookup, study: str, architecture: str) -> None:
        self.grid, self.lookup, self.architecture = grid, lookup.of(study), architecture
        self.name, self.study = study, grid.config.studies[study]
        self.own = [arm for arm in grid.arms_of(study) if arm.architecture == architecture]

    def _families(self, setting: Setting) -> dict[str, dict[float, Arm]]:
        """Return the members of each family by L or N."""
        epoch = self.grid.epoch(setting.source, self.study.epoch, f"studies.{self.name}.epoch")
        start = (self.architecture, setting.source, epoch, "intact", "all")
        found: dict[str, dict[float, Arm]] = {}
        for arm in self.own:
            family, mode = family_of(arm.mode), moding.parse(arm.mode)
            alike = arm.start == start and arm.target == setting.target
            if family and alike and arm.recipe in (self.study.recipe, NO_RECIPE):
                found.setdefault(family, {})[float(mode.layer or mode.frozen)] = arm
        scratch = self.grid.scratch_arm(self.study, self.architecture, setting.target)
        return found | ({SCRATCH: {0.0: scratch}} if scratch in self.own else {})

    def candidates(self, setting: Setting) -> list[Candidate]:
        """Return each family with the member that validation chooses, in the order of FAMILIES.

        All are compared on the seeds that all have; none is where that is no seed.
        """
        families = self._families(setting)
        members = [arm for arms in families.values() for arm in arms.values()]
        validation, test = (
            values.common({arm: self.lookup.value(measure, arm) for arm in members})
            for measure in ("top1_validation", "top1_test")
        )
        found = []
        for family in sorted(families, key=FAMILIES.index) if validation else ():
            arms = families[family]
            arm = arms[values.peak_place({place: validation[arm] for place, arm in arms.items()})]
            found.append(Candidate(family, arm, len(arms), float(np.mean(list(validation[arm].values()))), test[arm]))
        return found

    def cells(self) -> Iterator[tuple[str, str, list[Candidate]]]:
        """Yield each setting's name, target and candidates, and then for each target those of all its sources."""
        of_target: dict[str, list[dict[Arm, Candidate]]] = {}
        for name, (setting, *others) in self.study.settings.items():
            if not others and len(candidates := self.candidates(setting)) > 1:
                of_target.setdefault(setting.target, []).append({each.arm: each for each in candidates})
                yield name, setting.target, candidates
        for target, groups in of_target.items():
            found = {arm: candidate for group in groups for arm, candidate in group.items()}
            tests = values.common({arm: candidate.test for arm, candidate in found.items()})
            if len(groups) > 1 and tests:
                yield ANY, target, [replace(found[arm], test=test) for arm, test in tests.items()]

    def cell(self, setting: str, target: str, candidates: Sequence[Candidate]) -> tuple[list[Row], Row]:
        """Return a row of `modes` for each candidate of a cell, and its row of `advice`.

        Advised is the best on test; what is told of it is what that choice scores where it wasn't made.
        """
        task, _, shots = target.rpartition(".")
        key = {
            "study": self.name,
            "setting": setting,
            "architecture": self.architecture,
            "target": task,
            "shots": shots,
        }
        read = [each.test for each in candidates]
        read += [self.lookup.value("balanced_test", each.arm) for each in candidates]
        scores, balanced = np.split(np.stack([*values.lines(read).values()], axis=1), 2)  # both (candidates, seeds)
        p, best = not_worse_than_best(scores), int(scores.mean(1).round(9).argmax())
        ratio, largest, classes = self.grid.test_ratio(task), self.grid.largest_class(task), self.grid.class_count(task)
        rows = [
            {
                **key,
                **self._way(each),
                "members": each.members,
                "top1_validation": each.validation,
                **values.summary(each.test),
                "balanced": float(balanced[number].mean()),
                "largest_class": largest,
                # equal but for rounding is equal
                "behind": max(0.0, float(scores[best].mean() - scores[number].mean())),
                "p": float(p[number]),
                "best": number == best,
                "not_worse": bool(number == best or p[number] > LEVEL),
            }
            for number, each in enumerate(candidates)
        ]
        expected, alike = (repeated_splits(_chosen_elsewhere(scores, each), ratio) for each in (scores, balanced))
        others = [each.words() for number, each in enumerate(candidates) if number != best and p[number] > LEVEL]
        return rows, {
            **key,
            **self._way(candidates[best]),
            "expected": expected.mean,
            "low": expected.low,
            "high": expected.high,
            "n": expected.n,
            "largest_class": largest,
            "balanced": alike.mean,
            "balanced_low": alike.low,
            "balanced_high": alike.high,
            "classes": classes,
            "learnt": _above(expected, largest) or _above(alike, 1 / classes),
            "compared": len(rows),
            "not_worse": ", ".join(others),
        }

    def _way(self, candidate: Candidate) -> Row:
        arm = candidate.arm
        return {
            "source": arm.source,
            "family": candidate.family,
            "mode": arm.mode,
            "recipe": arm.recipe,
            "learning_rate": self.lookup.rate(arm),
            "grid_edge": self.lookup.at_edge(arm),
        }


def _above(found: Interval, guess: float) -> bool:
    """Say whether an interval lies above what guessing gives; of one seed, which has none, the value itself."""
    return beyond(found.low if np.isfinite(found.low) else found.mean, guess)


def _chosen_elsewhere(scores: Array, read: Array) -> Array:
    """Return for each seed what is read of the candidate that is best on all other seeds: the best, not by luck.

    `scores`, which choose, and `read` have shape (candidates, seeds). Of one seed it is the best there.
    """
    seeds = scores.shape[1]
    others = (scores.sum(1, keepdims=True) - scores) / (seeds - 1) if seeds > 1 else scores
    return read[others.round(9).argmax(0), np.arange(seeds)]


def mode_tables(grid: Grid, lookup: Lookup) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `modes`, one row for each family in each cell, and `advice`, one row for each cell."""
    modes: list[Row] = []
    advice: list[Row] = []
    for study in grid.config.studies:
        for architecture in sorted({arm.architecture for arm in grid.arms_of(study)}):
            found = ModeMap(grid, lookup, study, architecture)
            for cell in found.cells():
                rows, advised = found.cell(*cell)
                modes += rows
                advice.append(advised)
    return values.table(modes), values.table(advice)
