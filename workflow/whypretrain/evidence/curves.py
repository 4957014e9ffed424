"""Curves over layers and over checkpoints: the tables `transfer`, `maturity` and `correlations`.

Means over seeds with 95 % t-intervals; these describe, `verdicts` decides.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.config.models import Setting
from whypretrain.evidence import values
from whypretrain.evidence.lookup import Lookup
from whypretrain.evidence.values import Values
from whypretrain.grid.coordinates import ANNEAL, NO_RECIPE, UNTRAINED, Arm, write_number
from whypretrain.grid.grid import Grid

Row = dict[str, Any]
Line = dict[float, Arm]  # by epoch
DIFFERENCES = {
    "co-adaptation": ("BnB", "base"),
    "specificity": ("AnB", "BnB"),
    "gain": ("AnB+", "base"),
    "own gain": ("BnB+", "base"),
    "transfer gain": ("AnB+", "BnB+"),
}


# --- over layers ---------------------------------------------------------------------------


def _transfer_arms(
    grid: Grid, name: str, settings: Sequence[Setting], architecture: str
) -> Iterator[tuple[int, str, list[Arm]]]:
    """Yield layers copied, the name of a curve, and its arms, one for each pair of source and target."""
    study, own = grid.config.studies[name], set(grid.arms_of(name))
    scratch = study.scratch_recipe
    curves: list[tuple[int, str, str, dict[str, str]]] = [(0, "base", UNTRAINED, {"recipe": scratch})]
    for recipe in sorted({arm.recipe for arm in own} - {scratch, NO_RECIPE}):
        curves.append((0, f"base {recipe}", UNTRAINED, {"recipe": recipe}))
    for n in range(1, grid.depth(architecture) + 1):
        copied, frozen = {"treatment": "reinit", "span": f"above-{n}"}, {"mode": f"freeze-{n}"}
        curves += [(n, "AnB", "source", copied | frozen), (n, "BnB", "own", copied | frozen)]
        curves += [(n, "AnB+", "source", copied), (n, "BnB+", "own", copied)]
        curves.append((n, "random", UNTRAINED, frozen | {"recipe": scratch}))
    plain = {"treatment": "intact", "span": "all", "mode": "finetune", "recipe": study.recipe}
    for n, curve, source, other in curves:
        arms = [
            grid.arm(
                "transfer",
                architecture=architecture,
                source=source if source == UNTRAINED else str(getattr(setting, source)),
                epoch=study.epoch,
                target=setting.target,
                **(plain | other),
            )
            for setting in settings
        ]
        if own.issuperset(arms):
            yield n, curve, arms


def _transfer(
    grid: Grid, study: str, settings: Sequence[Setting], architecture: str, lookup: Lookup
) -> Iterator[tuple[int, str, Values]]:
    """Yield layers, quantity and its values by seed, averaged over the pairs; then differences of them."""
    found: dict[tuple[int, str], Values] = {}
    for n, name, arms in _transfer_arms(grid, study, settings, architecture):
        found[n, name] = values.mean_of([lookup.value("top1_test", arm) for arm in arms])
        yield n, name, found[n, name]
    epoch = grid.config.studies[study].epoch
    own = {(arm.source, arm.epoch): arm for arm in grid.arms_of(study) if arm.architecture == architecture}
    starts = [own.get((str(pair.own), grid.epoch(str(pair.own), epoch, "transfer"))) for pair in settings]
    if all(starts):
        yield 0, "source", values.mean_of([lookup.source_accuracy(arm) for arm in starts if arm])
    for n in range(1, grid.depth(architecture) + 1):
        for name, (of, minus) in DIFFERENCES.items():
            sides = found.get((n, of)), found.get((0 if minus == "base" else n, minus))
            if sides[0] and sides[1]:
                yield n, name, values.paired(sides[0], sides[1])


def transfer_table(grid: Grid, lookup: Lookup) -> pd.DataFrame:
    """Return one row for each study, setting that names an own source, architecture, number of layers and quantity."""
    rows = []
    for study, settings in grid.config.studies.items():
        for name, pairs in settings.settings.items():
            if any(pair.own is None for pair in pairs):
                continue
            for architecture in sorted({arm.architecture for arm in grid.arms_of(study)}):
                key = {"study": study, "setting": name, "architecture": architecture}
                for n, quantity, found in _transfer(grid, study, pairs, architecture, lookup.of(study)):
                    if found:
                        rows.append({**key, "layers": n, "quantity": quantity, **values.summary(found)})
    return values.table(rows)


# --- over checkpoints ----------------------------------------------------------------------


def _lines(grid: Grid, study: str, setting: Setting) -> Iterator[tuple[Row, Line]]:
    """Yield the coordinates and the arms by epoch of every curve of two points or more."""
    settings = grid.config.pretraining[grid.config.sources[setting.source].pretraining]
    own = [arm for arm in grid.arms_of(study) if (arm.source, arm.target) == (setting.source, setting.target)]
    intact = {arm for arm in own if arm.treatment == "intact"}
    for architecture, mode, recipe in sorted({(arm.architecture, arm.mode, arm.recipe) for arm in intact}):
        for ending in ("", ANNEAL):
            names = {epoch: write_number(epoch) + (ending if epoch else "") for epoch in settings.checkpoints}
            line = {
                epoch: Arm(architecture, setting.source, name, "intact", "all", setting.target, mode, recipe)
                for epoch, name in names.items()
            }
            line = {epoch: arm for epoch, arm in line.items() if arm in intact}
            if len(line) > 1:
                key = {"architecture": architecture, "mode": mode, "recipe": recipe, "annealed": ending == ANNEAL}
                yield key, line


def _maturity(lookup: Lookup, line: Line) -> Iterator[Row]:
    validation = {epoch: lookup.value("top1_validation", arm) for epoch, arm in line.items()}
    alike = values.common(validation)  # of other seeds another one may be the highest
    peak = values.peak_place(alike) if alike else None
    for epoch, arm in sorted(line.items()):
        source = lookup.source_accuracy(arm)
        chosen, found = float(np.mean(list(validation[epoch].values()))), lookup.value("top1_test", arm)
        tested = values.summary(found)
        yield {
            "epoch": epoch,
            "peak": epoch == peak,
            "source_top1": float(np.mean(list(source.values()))) if source else np.nan,
            "top1_validation": chosen,
            **tested,
            "gap": chosen - tested["mean"],
        }


def _correlations(lookup: Lookup, key: Row, lines: Sequence[Line]) -> Iterator[Row]:
    """Yield the correlation of source and target top-1 over all checkpoints of some lines, if they share a seed."""
    arms = [arm for line in lines for arm in line.values()]
    source, target = map(lookup.source_accuracy, arms), (lookup.value("top1_test", arm) for arm in arms)
    if found := values.correlation(list(source), list(target)):
        scope = "one architecture" if len(lines) == 1 else "all architectures"
        yield {**key, "scope": scope, "points": len(arms), **values.summary(found)}


def maturity_tables(grid: Grid, lookup: Lookup) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `maturity`, one row for each checkpoint of each curve, and `correlations`, one for each curve.

    Across architectures all checkpoints of all of them are correlated together.
    """
    maturity: list[Row] = []
    correlations: list[Row] = []
    for study, settings in grid.config.studies.items():
        own = lookup.of(study)
        for name, pair in ((name, pairs[0]) for name, pairs in settings.settings.items() if len(pairs) == 1):
            of_setting = {"study": study, "setting": name}
            together: dict[tuple[str, ...], tuple[Row, list[Line]]] = {}
            for key, line in _lines(grid, study, pair):
                maturity += [of_setting | key | row for row in _maturity(own, line)]
                correlations += _correlations(own, of_setting | key, [line])
                every = key | {"architecture": "all"}
                together.setdefault(tuple(every.values()), (every, []))[1].append(line)
            for every, lines in together.values():
                if len(lines) > 1:
                    correlations += _correlations(own, of_setting | every, lines)
    return values.table(maturity), values.table(correlations)
