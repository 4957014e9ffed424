"""From tables to verdicts: the evidence for each claim of a study, judged paper by paper.

A claim has a verdict in each of its settings, and one on the interaction of two of them.
Accuracies are compared each arm at its own selected learning rate; cosines at each rate
that both arms have, layer by layer, at the end of training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.analysis import ARM_KEYS, key_of, seed_values
from whypretrain.config import Claim, Difference, Margin, Setting, Study
from whypretrain.coordinates import Arm
from whypretrain.grid import Grid
from whypretrain.statistics import interval, paired
from whypretrain.verdict import ClaimEvidence, Component, judge

Values = dict[int, float]
DECIDED = ("component", "n", "effect", "low", "high", "p", "margin", "verdict", "reason")


@dataclass(frozen=True)
class Question:
    """One claim in one setting, or on the interaction of two, with the row that its verdict gets."""

    evidence: ClaimEvidence
    row: dict[str, Any]


@dataclass(frozen=True)
class Tables:
    """What the claims are decided on."""

    runs: pd.DataFrame
    selected: pd.DataFrame
    kernels: pd.DataFrame


def _mean_of(arms: Sequence[Values]) -> Values:
    """Average arms seed by seed; a seed that one lacks is left out, and `paired` then complains."""
    seeds = set.intersection(*(set(values) for values in arms))
    return {seed: float(np.mean([values[seed] for values in arms])) for seed in seeds}


class Judge:
    """Gathers the evidence of one study's claims."""

    def __init__(self, grid: Grid, name: str, tables: Tables) -> None:
        self.grid, self.name, self.tables = grid, name, tables
        self.study: Study = grid.config.studies[name]
        self.top1 = seed_values(tables.runs, tables.selected, "top1_test")
        self.edges = {
            tuple(row[key] for key in ARM_KEYS): bool(row["grid_edge"])
            for row in tables.selected.to_dict(orient="records")
        }
        # a run that diverged ended early: what it had by then is no final cosine
        run = [*ARM_KEYS, "learning_rate", "seed"]
        kernels = tables.kernels.merge(tables.runs[[*run, "diverged"]], on=run)
        kernels.loc[kernels["diverged"], "cosine_mean"] = np.nan
        last = kernels["target_epoch"] == kernels.groupby(run, observed=True)["target_epoch"].transform("max")
        self.cosines = {
            keys: dict(zip(group["seed"].tolist(), group["cosine_mean"].tolist(), strict=True))
            for keys, group in kernels[last].groupby([*ARM_KEYS, "learning_rate", "layer"], observed=True)
        }

    def _controls(self, claim: Claim, setting: Setting) -> tuple[Arm, Arm]:
        intact = Difference.model_validate({"of": {"treatment": "intact"}, "minus": {"treatment": "intact"}})
        (arm,), _ = self.grid.contrast_arms(self.name, claim, setting, intact)
        return arm, self.grid.scratch_arm(self.study, claim.architecture, setting.target)

    def _gain(self, claim: Claim, setting: Setting) -> np.ndarray:
        intact, scratch = self._controls(claim, setting)
        return paired(self.top1[key_of(intact)], self.top1[key_of(scratch)])

    def _margin(self, margin: Margin, claim: Claim, settings: Sequence[Setting]) -> float:
        if margin.value is not None:
            return margin.value
        gains = [interval(self._gain(claim, setting)).mean for setting in settings]
        return max(0.0, float(margin.share_of_gain or 0) * min(gains))

    def _top1_differences(self, claim: Claim, setting: Setting, difference: Difference) -> dict[str, np.ndarray]:
        of, minus = self.grid.contrast_arms(self.name, claim, setting, difference)
        a, b = (_mean_of([self.top1[key_of(arm)] for arm in arms]) for arms in (of, minus))
        return {_words(difference): paired(a, b)}

    def _cosine_differences(self, claim: Claim, setting: Setting, difference: Difference) -> dict[str, np.ndarray]:
        (of,), (minus,) = self.grid.contrast_arms(self.name, claim, setting, difference)
        found = {}
        for keys, values in self.cosines.items():
            rate, layer = keys[-2:]
            if keys[:-2] == key_of(of) and (other := self.cosines.get((*key_of(minus), rate, layer))):
                found[f"{_words(difference)}, rate {rate:g}, layer {layer}"] = paired(values, other)
        return found

    def _differences(self, claim: Claim, setting: Setting) -> dict[str, np.ndarray]:
        measure = self._cosine_differences if claim.measure == "cosine_mean" else self._top1_differences
        found: dict[str, np.ndarray] = {}
        for difference in claim.components:
            found |= measure(claim, setting, difference)
        return found

    def _at_edge(self, claim: Claim, settings: Sequence[Setting], rests_on_gain: bool) -> bool:
        """Return whether any arm that a verdict rests on has its rate at the edge of its grid.

        With `rests_on_gain`, for its margin or its sensitivity, these are intact and scratch too.
        """
        if claim.measure == "cosine_mean":  # compared at every rate: nothing is selected
            return False
        arms: list[Arm] = []
        for setting in settings:
            for difference in claim.components:
                of, minus = self.grid.contrast_arms(self.name, claim, setting, difference)
                arms += [*of, *minus]
            if rests_on_gain:
                arms += self._controls(claim, setting)
        return any(self.edges[key_of(arm)] for arm in arms)

    def _sensitive(self, claim: Claim, settings: Sequence[Setting], margin: float) -> bool:
        """Return whether there was something to lose, in every setting.

        For accuracy: intact beats scratch by more than twice the margin (lower limit of the interval).
        For the cosine: scratch's differs from intact's by more than the margin, in some layer at some
        rate common to both (the interval lies beyond it).
        """
        for setting in settings:
            if claim.measure == "top1_test":
                if not interval(self._gain(claim, setting)).low > 2 * margin:
                    return False
                continue
            intact, scratch = self._controls(claim, setting)
            gaps = [
                interval(paired(values, other))
                for keys, values in self.cosines.items()
                if keys[:-2] == key_of(intact) and (other := self.cosines.get((*key_of(scratch), *keys[-2:])))
            ]
            if not any(gap.low > margin or gap.high < -margin for gap in gaps):
                return False
        return True

    def _question(
        self,
        name: str,
        claim: Claim,
        setting: str,
        settings: Sequence[Setting],
        test: Any,
        limits: Margin,
        differences: dict[str, np.ndarray],
    ) -> Question:
        margin = self._margin(limits, claim, settings)
        needs_sensitivity = test in ("non-inferiority", "equivalence")
        evidence = ClaimEvidence(
            name=f"{self.name}: {name}, {setting}",
            components=[Component(words, values, test, margin) for words, values in differences.items()],
            grid_edge=self._at_edge(claim, settings, needs_sensitivity or limits.share_of_gain is not None),
            sensitivity=self._sensitive(claim, settings, margin) if needs_sensitivity else None,
        )
        row = {
            "claim": name,
            "paper": claim.paper,
            "study": self.name,
            "setting": setting,
            "statement": claim.statement,
            "test": test,
        }
        return Question(evidence, row)

    def questions(self) -> list[Question]:
        """Return every claim in every setting, and the interactions."""
        asked = []
        for name in self.study.claims:
            claim = self.grid.config.claims[name]
            for setting_name in claim.settings:
                setting = self.study.settings[setting_name]
                found = self._differences(claim, setting)
                asked.append(self._question(name, claim, setting_name, [setting], claim.test, claim.margin, found))
            if claim.interaction:
                first = claim.model_copy(
                    update={"components": claim.components[:1], "statement": claim.interaction.statement}
                )
                pair = [self.study.settings[each] for each in claim.interaction.settings]
                here, there = (self._differences(first, setting) for setting in pair)
                found = {words: here[words] - there[words] for words in here if words in there}
                label = " minus ".join(claim.interaction.settings)
                asked.append(
                    self._question(name, first, label, pair, claim.interaction.test, claim.interaction.margin, found)
                )
        return asked


def _words(difference: Difference) -> str:
    def side(treatment: str, span: str) -> str:
        return treatment if treatment == "intact" else f"{treatment}.{span}"

    return (
        f"{side(difference.of.treatment, difference.of.span)} minus "
        f"{side(difference.minus.treatment, difference.minus.span)}"
    )


def judge_claims(grid: Grid, tables: Tables) -> pd.DataFrame:
    """Return the table of verdicts: the family of Holm's correction is all claims of one paper."""
    asked = [question for study in grid.config.studies for question in Judge(grid, study, tables).questions()]
    rows = []
    for paper in dict.fromkeys(question.row["paper"] for question in asked):
        family = [question for question in asked if question.row["paper"] == paper]
        for question, verdict in zip(family, judge([q.evidence for q in family]), strict=True):
            decided = {name: getattr(verdict, name) for name in DECIDED}
            rows.append(question.row | decided)
    return pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)
