"""The mode map: which way of using a source is best on a target, and what isn't worse: the tables `modes` and `advice`.

Within a family (`svm-L`, `probe-L`, `freeze-N`) validation chooses L or N; families are compared on test.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.config.models import Setting
from whypretrain.evidence import values
from whypretrain.evidence.advising import ANY, SCRATCH
from whypretrain.evidence.readings import Readings
from whypretrain.evidence.statistics import Interval, beyond, interval, not_worse_than_best, repeated_splits
from whypretrain.evidence.values import Values
from whypretrain.grid.coordinates import NO_RECIPE, Arm
from whypretrain.grid.grid import Grid
from whypretrain.training import moding

Row = dict[str, Any]
FAMILIES = ("probe", "probe-L", "svm-L", "freeze-N", "lpft", "finetune", SCRATCH)  # the cheapest first


@dataclass(frozen=True)
class Candidate:
    """A family in one setting: the member that validation chose out of some, and its scores by seed."""

    source: str
    family: str
    arm: Arm
    members: int
    validation: float
    test: Values


def family_of(mode: str) -> str:
    """Return the family of a mode, as tables have it; nothing for one that keeps the source's statistics."""
    found = moding.parse(mode)
    if found.source_norm:
        return ""
    return {"freeze": "freeze-N", "svm": "svm-L"}.get(found.name, f"{found.name}-L" if found.layer else found.name)


class ModeMap:
    """The modes that one study compares in one architecture."""

    def __init__(self, grid: Grid, readings: Readings, study: str, architecture: str) -> None:
        self.grid, self.readings, self.architecture = grid, readings.of(study), architecture
        self.name, self.study = study, grid.config.studies[study]
        self.own = [arm for arm in grid.arms_of(study) if arm.architecture == architecture]

    def settings(self) -> Iterator[tuple[str, Setting]]:
        """Yield the study's settings that are one pair of source and target."""
        for name, pairs in self.study.settings.items():
            if len(pairs) == 1:
                yield name, pairs[0]

    def _families(self, setting: Setting) -> dict[str, dict[float, Arm]]:
        """Return the members of each family by L or N."""
        epoch = self.grid.epoch(setting.source, self.study.epoch, f"studies.{self.name}.epoch")
        start = (self.architecture, setting.source, epoch, "intact", "all")
        found: dict[str, dict[float, Arm]] = {}
        for arm in self.own:
            if arm.start != start or arm.target != setting.target:
                continue
            if arm.recipe in (self.study.recipe, NO_RECIPE) and (family := family_of(arm.mode)):
                mode = moding.parse(arm.mode)
                found.setdefault(family, {})[float(mode.layer or mode.frozen)] = arm
        scratch = self.grid.scratch_arm(self.study, self.architecture, setting.target)
        return found | ({SCRATCH: {0.0: scratch}} if scratch in self.own else {})

    def candidates(self, setting: Setting) -> list[Candidate]:
        """Return each family with the member that validation chooses, in the order of FAMILIES.

        All are compared on the seeds that all have; none is where that is no seed.
        """
        found, families = [], self._families(setting)
        members = [arm for arms in families.values() for arm in arms.values()]
        chosen_by, tested = (self._read(measure, members) for measure in ("top1_validation", "top1_test"))
        for family, arms in families.items() if all(chosen_by.values()) else ():
            validation = {place: chosen_by[arm] for place, arm in arms.items()}
            chosen = values.peak_place(validation)
            mean = float(np.mean(list(validation[chosen].values())))
            test = tested[arms[chosen]]
            found.append(Candidate(arms[chosen].source, family, arms[chosen], len(arms), mean, test))
        return sorted(found, key=lambda candidate: FAMILIES.index(candidate.family))

    def _read(self, measure: str, arms: Sequence[Arm]) -> dict[Arm, Values]:
        return dict(zip(arms, values.common([self.readings.value(measure, arm) for arm in arms]), strict=True))

    def cells(self) -> Iterator[tuple[str, str, list[Candidate]]]:
        """Yield each setting's name, target and candidates, and then for each target those of all its sources."""
        of_target: dict[str, list[list[Candidate]]] = {}
        for name, setting in self.settings():
            if len(candidates := self.candidates(setting)) > 1:
                of_target.setdefault(setting.target, []).append(candidates)
                yield name, setting.target, candidates
        for target, groups in of_target.items():
            if len(groups) > 1:
                found = list({c.arm: c for group in groups for c in group}.values())
                tests = values.common([candidate.test for candidate in found])
                if all(tests):
                    yield ANY, target, [replace(c, test=test) for c, test in zip(found, tests, strict=True)]

    def rows(self, setting: str, target: str, candidates: Sequence[Candidate]) -> Iterator[Row]:
        """Yield a row for each candidate of a cell."""
        scores, balanced = self._scores(candidates)
        compared = not_worse_than_best(scores)
        best = int(np.argmax(scores.mean(1).round(9)))
        for number, candidate in enumerate(candidates):
            estimate = interval(scores[number])
            yield {
                **self._key(setting, target),
                **_coordinates(candidate),
                "learning_rate": self.readings.rate(candidate.arm),
                "members": candidate.members,
                "grid_edge": self.readings.at_edge(candidate.arm),
                "top1_validation": candidate.validation,
                "mean": estimate.mean,
                "low": estimate.low,
                "high": estimate.high,
                "n": estimate.n,
                "balanced": float(balanced[number].mean()),
                "largest_class": self.grid.largest_class(target.rpartition(".")[0]),
                "behind": max(
                    0.0, float(scores[best].mean() - scores[number].mean())
                ),  # equal but for rounding is equal
                "p": float(compared[number]),
                "best": number == best,
                "not_worse": bool(number == best or compared[number] > LEVEL),
            }

    def _scores(self, candidates: Sequence[Candidate]) -> tuple[np.ndarray, np.ndarray]:
        """Return test top-1 and balanced accuracy, both (candidates, seeds)."""
        balanced = [self.readings.value("balanced_test", candidate.arm) for candidate in candidates]
        seeds = [sorted(candidate.test) for candidate in candidates]
        return (
            np.array([[c.test[seed] for seed in own] for c, own in zip(candidates, seeds, strict=True)]),
            np.array([[found[seed] for seed in own] for found, own in zip(balanced, seeds, strict=True)]),
        )

    def advice(self, setting: str, target: str, candidates: Sequence[Candidate]) -> Row:
        """Return what is recommended in a cell: the best on test, and what that choice scores where it wasn't made."""
        rows = list(self.rows(setting, target, candidates))
        best = next(row for row in rows if row["best"])
        scores, balanced = self._scores(candidates)
        task = target.rpartition(".")[0]
        ratio, largest, classes = self.grid.test_ratio(task), self.grid.largest_class(task), self.grid.class_count(task)
        expected = repeated_splits(_chosen_elsewhere(scores, scores), ratio)
        alike = repeated_splits(_chosen_elsewhere(scores, balanced), ratio)
        others = [_words(row) for row in rows if row["not_worse"] and not row["best"]]
        return {
            **self._key(setting, target),
            **{name: best[name] for name in ("source", "family", "mode", "recipe", "learning_rate", "grid_edge")},
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

    def _key(self, setting: str, target: str) -> Row:
        task, _, shots = target.rpartition(".")
        return {
            "study": self.name,
            "setting": setting,
            "architecture": self.architecture,
            "target": task,
            "shots": shots,
        }


LEVEL = 0.05  # of the comparison with the best


def _coordinates(candidate: Candidate) -> Row:
    arm = candidate.arm
    return {"source": candidate.source, "family": candidate.family, "mode": arm.mode, "recipe": arm.recipe}


def _words(row: Mapping[str, Any]) -> str:
    """Return a way of using a source in words: `svm-4 of glyphs`."""
    return SCRATCH if row["family"] == SCRATCH else f"{row['mode']} of {row['source']}"


def _above(found: Interval, guess: float) -> bool:
    """Say whether an interval lies above what guessing gives; of one seed, which has none, the value itself."""
    return beyond(found.low if np.isfinite(found.low) else found.mean, guess)


def _chosen_elsewhere(scores: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Return for each seed what is read of the candidate that is best on all other seeds: the best, not by luck.

    `scores`, which choose, and `read` have shape (candidates, seeds). Of one seed it is the best there.
    """
    seeds = scores.shape[1]
    others = (scores.sum(1, keepdims=True) - scores) / (seeds - 1) if seeds > 1 else scores
    return read[others.round(9).argmax(0), np.arange(seeds)]


def mode_tables(grid: Grid, readings: Readings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `modes`, one row for each family in each cell, and `advice`, one row for each cell."""
    modes: list[Row] = []
    advice: list[Row] = []
    for study in grid.config.studies:
        for architecture in sorted({arm.architecture for arm in grid.arms_of(study)}):
            found = ModeMap(grid, readings, study, architecture)
            for cell in found.cells():
                modes += found.rows(*cell)
                advice.append(found.advice(*cell))
    return _finite(modes), _finite(advice)


def _finite(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)
