"""Curves over layers and over checkpoints: the tables `transfer`, `maturity` and `correlations`.

Means over seeds with 95 % t-intervals; these describe, `verdicts` decides.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.config.models import Setting
from whypretrain.evidence import values
from whypretrain.evidence.readings import Readings
from whypretrain.evidence.statistics import interval
from whypretrain.evidence.values import Values
from whypretrain.grid.coordinates import ANNEAL, UNTRAINED, Arm, write_number
from whypretrain.grid.grid import Grid

Row = dict[str, Any]
DIFFERENCES = {
    "co-adaptation": ("BnB", "base"),
    "specificity": ("AnB", "BnB"),
    "gain": ("AnB+", "base"),
    "own gain": ("BnB+", "base"),
    "transfer gain": ("AnB+", "BnB+"),
}


def _mean(found: Values) -> Row:
    estimate = interval(np.array([found[seed] for seed in sorted(found)]))
    limits = (estimate.low, estimate.high) if np.isfinite(estimate.low) else (np.nan, np.nan)
    return {"mean": estimate.mean, "low": limits[0], "high": limits[1], "n": estimate.n}


# --- over layers ---------------------------------------------------------------------------


class Transfer:
    """What one study has of Yosinski's arms, in one setting and architecture."""

    def __init__(self, grid: Grid, study: str, settings: Sequence[Setting], architecture: str) -> None:
        self.grid, self.study, self.settings, self.architecture = grid, study, settings, architecture
        self.own = set(grid.arms_of(study))

    def _arm(self, setting: Setting, source: str, **other: Any) -> Arm | None:
        study = self.grid.config.studies[self.study]
        coordinates = {"epoch": study.epoch, "treatment": "intact", "span": "all", "mode": "finetune"}
        coordinates |= {"recipe": study.recipe} | other
        arm = self.grid.arm(
            "transfer", architecture=self.architecture, source=source, target=setting.target, **coordinates
        )
        return arm if arm in self.own else None

    def _all(self, arms: list[Arm | None]) -> list[Arm] | None:
        found = [arm for arm in arms if arm is not None]
        return found if len(found) == len(arms) else None

    def arms(self) -> Iterator[tuple[int, str, list[Arm]]]:
        """Yield layers copied, the name of a curve, and its arms, one for each pair of source and target."""
        study = self.grid.config.studies[self.study]
        recipes = [study.scratch_recipe, *sorted({arm.recipe for arm in self.own} - {study.scratch_recipe, "none"})]
        for recipe in recipes:
            name = "base" if recipe == study.scratch_recipe else f"base {recipe}"
            if arms := self._all([self._arm(setting, UNTRAINED, recipe=recipe) for setting in self.settings]):
                yield 0, name, arms
        for n in range(1, self.grid.depth(self.architecture) + 1):
            copied = {"treatment": "reinit", "span": f"above-{n}"}
            frozen = {"mode": f"freeze-{n}"}
            curves: dict[str, tuple[str, dict[str, str]]] = {
                "AnB": ("source", copied | frozen),
                "BnB": ("own", copied | frozen),
                "AnB+": ("source", copied),
                "BnB+": ("own", copied),
                "random": (UNTRAINED, frozen | {"recipe": study.scratch_recipe}),
            }
            for name, (source, other) in curves.items():
                sources = [getattr(each, source) if source != UNTRAINED else source for each in self.settings]
                pairs = zip(self.settings, sources, strict=True)
                if arms := self._all([self._arm(setting, str(start), **other) for setting, start in pairs]):
                    yield n, name, arms

    def rows(self, readings: Readings) -> Iterator[tuple[int, str, Values]]:
        """Yield layers, quantity and its values by seed, averaged over the pairs; then differences of them."""
        found: dict[tuple[int, str], Values] = {}
        for n, name, arms in self.arms():
            found[n, name] = values.mean_of([readings.value("top1_test", arm) for arm in arms])
            yield n, name, found[n, name]
        if sources := self._source_values(readings):
            yield 0, "source", values.mean_of(sources)
        for n in range(1, self.grid.depth(self.architecture) + 1):
            for name, (of, minus) in DIFFERENCES.items():
                of_values, minus_values = found.get((n, of)), found.get((0 if minus == "base" else n, minus))
                if of_values and minus_values:
                    of_values, minus_values = values.common([of_values, minus_values])
                    yield n, name, values.combined([of_values], [minus_values])

    def _source_values(self, readings: Readings) -> list[Values]:
        """Return the own sources' scores, where the study has arms that start from all of them."""
        epoch = self.grid.config.studies[self.study].epoch
        found = []
        for setting in self.settings:
            name = self.grid.epoch(str(setting.own), epoch, "transfer")
            starts = [arm for arm in self.own if (arm.source, arm.epoch) == (setting.own, name)]
            starts = [arm for arm in starts if arm.architecture == self.architecture]
            if not starts:
                return []
            found.append(readings.source_accuracy(starts[0]))
        return found


def transfer_table(grid: Grid, readings: Readings) -> pd.DataFrame:
    """Return one row for each study, setting that names an own source, architecture, number of layers and quantity."""
    rows = []
    for study, settings in grid.config.studies.items():
        for name, pairs in settings.settings.items():
            if any(pair.own is None for pair in pairs):
                continue
            for architecture in sorted({arm.architecture for arm in grid.arms_of(study)}):
                key = {"study": study, "setting": name, "architecture": architecture}
                curves = Transfer(grid, study, pairs, architecture).rows(readings.of(study))
                rows += [
                    {**key, "layers": n, "quantity": quantity, **_mean(found)} for n, quantity, found in curves if found
                ]
    return pd.DataFrame(rows)


# --- over checkpoints ----------------------------------------------------------------------


Line = dict[float, Arm]  # by epoch


def _lines(grid: Grid, study: str, setting: Setting) -> Iterator[tuple[str, str, str, bool, Line]]:
    """Yield architecture, mode, recipe, if annealed, and the arms by epoch, of every curve of two points or more."""
    settings = grid.config.pretraining[grid.config.sources[setting.source].pretraining]
    own = [arm for arm in grid.arms_of(study) if (arm.source, arm.target) == (setting.source, setting.target)]
    intact = {arm for arm in own if arm.treatment == "intact"}
    for architecture, mode, recipe in sorted({(arm.architecture, arm.mode, arm.recipe) for arm in intact}):
        for ending in ("", ANNEAL):
            line: Line = {}
            for epoch in settings.checkpoints:
                name = write_number(epoch) + (ending if epoch else "")
                arm = Arm(architecture, setting.source, name, "intact", "all", setting.target, mode, recipe)
                if arm in intact:
                    line[epoch] = arm
            if len(line) > 1:
                yield architecture, mode, recipe, ending == ANNEAL, line


def _maturity(readings: Readings, line: Line) -> Iterator[Row]:
    validation = {epoch: readings.value("top1_validation", arm) for epoch, arm in line.items()}
    alike = dict(zip(validation, values.common([*validation.values()]), strict=True))
    peak = values.peak_place(alike) if all(alike.values()) else None  # of other seeds another one may be the highest
    for epoch, arm in sorted(line.items()):
        source = readings.source_accuracy(arm)
        chosen, found = float(np.mean(list(validation[epoch].values()))), _mean(readings.value("top1_test", arm))
        yield {
            "epoch": epoch,
            "peak": epoch == peak,
            "source_top1": float(np.mean(list(source.values()))) if source else np.nan,
            "top1_validation": chosen,
            **found,
            "gap": chosen - found["mean"],
        }


def _correlated(readings: Readings, lines: Sequence[Line]) -> tuple[Values, int]:
    """Return by seed the correlation of source and target top-1 over all checkpoints of all the lines."""
    points = [
        (readings.source_accuracy(arm), readings.value("top1_test", arm)) for line in lines for arm in line.values()
    ]
    seeds = sorted(set.intersection(*(set(source) & set(target) for source, target in points)))
    found = {
        seed: values.rank_correlation([source[seed] for source, _ in points], [target[seed] for _, target in points])
        for seed in seeds
    }
    return found, len(points)


def maturity_tables(grid: Grid, readings: Readings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `maturity`, one row for each checkpoint of each curve, and `correlations`, one for each curve.

    Across architectures all checkpoints of all of them are correlated together.
    """
    maturity, correlations = [], []
    for study, settings in grid.config.studies.items():
        for name, pairs in settings.settings.items():
            if len(pairs) > 1:
                continue
            key, own = {"study": study, "setting": name}, readings.of(study)
            together: dict[tuple[str, str, bool], list[Line]] = {}
            for architecture, mode, recipe, annealed, line in _lines(grid, study, pairs[0]):
                here = key | {"architecture": architecture, "mode": mode, "recipe": recipe, "annealed": annealed}
                maturity += [{**here, **row} for row in _maturity(own, line)]
                correlations += _correlation_rows(own, here, [line])
                together.setdefault((mode, recipe, annealed), []).append(line)
            for (mode, recipe, annealed), lines in together.items():
                if len(lines) > 1:
                    here = key | {"architecture": "all", "mode": mode, "recipe": recipe, "annealed": annealed}
                    correlations += _correlation_rows(own, here, lines)
    return pd.DataFrame(maturity), pd.DataFrame(correlations)


def _correlation_rows(readings: Readings, key: Mapping[str, Any], lines: Sequence[Line]) -> list[Row]:
    """Return the row of some lines; none where they have no seed in common."""
    found, points = _correlated(readings, lines)
    scope = "one architecture" if len(lines) == 1 else "all architectures"
    return [{**key, "scope": scope, "points": points, **_mean(found)}] if found else []
