"""From tables to verdicts: the evidence for each claim of a study, judged paper by paper.

A claim has a verdict in each of its settings, and one on the interaction of two of them.
Accuracies are compared each arm at its own selected learning rate; cosines at each rate
that both arms have, layer by layer, at the end of training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.evidence import values
from whypretrain.evidence.readings import Readings, Tables
from whypretrain.evidence.statistics import interval, paired
from whypretrain.evidence.values import Values
from whypretrain.evidence.verdict import ClaimEvidence, Component, judge
from whypretrain.study.claim_arms import ClaimArms, group_of
from whypretrain.study.claim_config import (
    Choice,
    Claim,
    Difference,
    Interaction,
    Margin,
    Test,
    has_epochs,
    has_layers,
    runs_along,
)
from whypretrain.study.config import Setting
from whypretrain.study.coordinates import ARM_KEYS, Arm, key_of
from whypretrain.study.grid import Grid

DECIDED = ("component", "n", "effect", "low", "high", "p", "margin", "verdict", "reason")
# read at the selected rate
OF_SELECTED = ("top1_test", "loss_train", "loss_test", "loss_gap", "movement", "curve_area", "steps_to_95")
UNITS = {
    "cosine_mean": "of cosine",
    "cka": "of CKA",
    "movement": "of 1 − cosine",
    "loss_train": "nats",
    "loss_test": "nats",
    "loss_gap": "nats",
    "steps_to_95": "steps",
    "rate_width": "factors of ten",
}  # accuracies are in points, of which 100 are 1
Settings = Sequence[Setting]
Tested = tuple[Component, Margin]  # a component with the margin that it was given


@dataclass(frozen=True)
class Question:
    """One claim in one setting, or on the interaction of two, with the row that its verdict gets."""

    evidence: ClaimEvidence
    row: dict[str, Any]
    units: dict[str, str]  # of effect and margin, by the name of the component
    gap: str = ""  # what is missing to judge it


class Evidence:
    """Gathers what decides one claim in one study."""

    def __init__(self, arms: ClaimArms, readings: Readings) -> None:
        self.arms, self.claim, self.readings = arms, arms.claim, readings

    # --- one number a seed -----------------------------------------------------------------

    def _value(self, setting: Setting, choice: Choice, arm: Arm) -> Values:
        """Return what an arm comes to, in the measure and at the learning rate of a choice."""
        measure, rate = self.arms.measure(choice), choice.learning_rate
        if measure == "steps_to_95":
            return self.readings.steps_to(arm, self.arms.scratch(setting, choice), rate)
        if measure == "rate_width":
            return self.readings.rate_width(arm, self.arms.scratch(setting, choice))
        return self.readings.value(measure, arm, rate)

    def _side(self, setting: Setting, choice: Choice, arms: dict[float, Arm], over: str) -> Values:
        """Return the number that one side of a difference comes to."""
        if choice.pair is not None:
            architecture = self.arms.architecture(choice)
            layers = group_of(choice.layers, self.arms.grid.depth(architecture))
            return self.readings.likeness(choice.pair, architecture, layers)
        curve = {place: self._value(setting, choice, arm) for place, arm in arms.items()}
        if not runs_along(choice):
            single = curve[0.0]
            return dict.fromkeys(single, 0.0) if over == "slope" else single
        if over == "slope":
            return values.slope_of(*_doublings(curve) if has_epochs(choice) else (curve, float))
        if over in ("peak", "peak-position"):
            validation = {place: self.readings.value("top1_validation", arm) for place, arm in arms.items()}
            return values.peak_position(validation) if over == "peak-position" else curve[values.peak_place(validation)]
        if over == "reach":
            return values.reach_position(curve)
        if over == "correlation":
            return values.correlation(curve, {place: self.readings.source_accuracy(arm) for place, arm in arms.items()})
        return values.mean_of(list(curve.values()))

    def _difference(self, settings: Settings, part: Difference) -> np.ndarray:
        """Return D by seed, averaged over the pairs of source and target of a setting."""
        found = []
        for setting in settings:
            sides = self.arms.sides(setting, part)
            of, minus = (
                [self._side(setting, choice, sides.get(choice, {}), part.over) for choice in choices]
                for choices in (part.of, part.minus)
            )
            found.append(values.combined(of, minus))
        averaged = values.mean_of(found)
        return np.array([averaged[seed] for seed in sorted(averaged)])

    def _cosine_differences(self, settings: Settings, part: Difference) -> dict[str, np.ndarray]:
        ((setting,), (of,), (minus,)) = settings, part.of, part.minus
        here, there = (self.arms.side(setting, choice)[0.0] for choice in (of, minus))
        return {
            f"{words_of(part)}, rate {keys[-2]:g}, layer {keys[-1]}": paired(found, other)
            for keys, found, other in self._common_cosines(here, there)
        }

    def _common_cosines(self, here: Arm, there: Arm) -> list[tuple[Any, Values, Values]]:
        cosines = self.readings.cosines
        return [
            (keys, found, other)
            for keys, found in cosines.items()
            if keys[:-2] == key_of(here) and (other := cosines.get((*key_of(there), *keys[-2:])))
        ]

    def differences(self, settings: Settings, part: Difference) -> dict[str, np.ndarray]:
        """Return D by seed of a component; of the cosine, one for each common rate and layer."""
        if self.claim.measure == "cosine_mean":
            return self._cosine_differences(settings, part)
        return {words_of(part): self._difference(settings, part)}

    # --- margin, grid edge, sensitivity ----------------------------------------------------

    def _gain(self, settings: Settings) -> np.ndarray:
        gains = []
        for setting in settings:
            intact, scratch = (self.readings.value("top1_test", arm) for arm in self.arms.controls(setting))
            gains.append(values.combined([intact], [scratch]))
        averaged = values.mean_of(gains)
        return np.array([averaged[seed] for seed in sorted(averaged)])

    def margin(self, margin: Margin, groups: Sequence[Settings]) -> float:
        """Return a margin as a number; as a share of the gain, of the smallest gain of several settings."""
        if margin.value is not None:
            return margin.value
        gains = [interval(self._gain(settings)).mean for settings in groups]
        return max(0.0, float(margin.share_of_gain or 0) * min(gains))

    def at_edge(self, groups: Sequence[Settings], parts: Sequence[Difference], *, guarded: bool, shared: bool) -> bool:
        """Return whether any arm that a verdict rests on has its rate at the edge of its grid.

        For a margin that is a share of the gain (`shared`) these are intact and scratch too, and for sensitivity
        (`guarded`) as well, or those of the claim's control. Of starts, of cosines (compared at every rate) and of
        pairs nothing is selected here.
        """
        control = [self.claim.control] if guarded and self.claim.control else []
        shared = shared or (guarded and not control)
        arms: list[Arm] = []
        for setting in (setting for settings in groups for setting in settings):
            for part in [*parts, *control]:
                for choice, found in self.arms.sides(setting, part).items():
                    measure = choice.measure or self.claim.measure
                    if choice.learning_rate is None and (measure in OF_SELECTED or measure.endswith(".final")):
                        arms += self._decisive(found, part.over)
            if shared and self.claim.measure != "cosine_mean":
                arms += self.arms.controls(setting)
        return any(self.readings.at_edge(arm) for arm in arms)

    def _decisive(self, arms: dict[float, Arm], over: str) -> list[Arm]:
        """Return the arms of a side that a verdict rests on: of those that a peak is chosen from, the peak."""
        if over != "peak":
            return list(arms.values())
        return [arms[values.peak_place({n: self.readings.value("top1_validation", arm) for n, arm in arms.items()})]]

    def sensitive(self, groups: Sequence[Settings], margin: float) -> bool:
        """Return whether there was something to lose, in every setting.

        For accuracy: intact beats scratch, or the claim's control is, by more than twice the margin (lower limit of
        the interval). For the cosine: scratch's differs from intact's by more than the margin, in some layer at some
        rate common to both (the interval lies beyond it).
        """
        for settings in groups:
            if self.claim.measure != "cosine_mean":
                control = self.claim.control
                gain = self._difference(settings, control) if control else self._gain(settings)
                if not interval(gain).low > 2 * margin:
                    return False
                continue
            common = [pair for each in settings for pair in self._common_cosines(*self.arms.controls(each))]
            gaps = [interval(paired(found, other)) for _, found, other in common]
            if not any(gap.low > margin or gap.high < -margin for gap in gaps):
                return False
        return True

    # --- questions -------------------------------------------------------------------------

    def question(self, setting: str, groups: Sequence[Settings], tested: Sequence[Tested]) -> Question:
        """Return what is asked in a setting, with what guards it."""
        guarded = [part for part, _ in tested if part.kind in ("non-inferiority", "equivalence")]
        shared = any(margin.share_of_gain is not None for _, margin in tested)
        parts = self.claim.components[:1] if len(groups) > 1 else self.claim.components
        evidence = ClaimEvidence(
            name=f"{self.arms.study}: {self.arms.name}, {setting}",
            components=[part for part, _ in tested],
            grid_edge=self.at_edge(groups, parts, guarded=bool(guarded), shared=shared),
            sensitivity=self.sensitive(groups, max(part.margin for part in guarded)) if guarded else None,
        )
        interaction = self.claim.interaction if len(groups) > 1 else None
        row = self._row(setting, [part.kind for part, _ in tested], interaction)
        units = {
            component.name: unit_of(self.claim, part)
            for part in self.claim.components
            for component, _ in tested
            if component.name.startswith(words_of(part))
        }
        return Question(evidence, row, units)

    def questions(self, missing: pd.DataFrame | None = None) -> list[Question]:
        """Return the claim in every setting, and its interaction; unanswered where it rests on what is missing."""
        asked = []
        for name in self.claim.settings:
            if missing is not None and (gap := gap_of(self.arms, [name], missing)):
                asked.append(self._unanswered(name, self.claim.components, gap))
                continue
            settings = self.arms.pairs(name)
            tested = []
            for part in self.claim.components:
                limits = part.margin or self.claim.margin
                margin = self.margin(limits, [settings])
                test = part.test or self.claim.test
                found = self.differences(settings, part)
                tested += [(Component(words, each, test, margin), limits) for words, each in found.items()]
            asked.append(self.question(name, [settings], tested))
        if self.claim.interaction:
            names = self.claim.interaction.settings
            if missing is not None and (gap := gap_of(self.arms, names, missing)):
                return [*asked, self._unanswered(" minus ".join(names), self.claim.components[:1], gap)]
            asked.append(self._interaction(self.claim.interaction.test, self.claim.interaction.margin))
        return asked

    def _unanswered(self, setting: str, parts: Sequence[Difference], gap: str) -> Question:
        """Return a question without evidence: it counts in its family as one that nothing speaks for."""
        interaction = self.claim.interaction if setting not in self.claim.settings else None
        components, units, nothing = [], {}, np.array([])
        for part in parts:
            test = interaction.test if interaction else part.test or self.claim.test
            components.append(Component(words_of(part), nothing, test))
            units[words_of(part)] = unit_of(self.claim, part)
        evidence = ClaimEvidence(f"{self.arms.study}: {self.arms.name}, {setting}", components, False, None)
        return Question(evidence, self._row(setting, [each.kind for each in components], interaction), units, gap)

    def _row(self, setting: str, tests: Sequence[str], interaction: Interaction | None) -> dict[str, Any]:
        return {
            "claim": self.arms.name,
            "paper": self.claim.paper,
            "study": self.arms.study,
            "setting": setting,
            "statement": interaction.statement if interaction else self.claim.statement,
            "test": " and ".join(dict.fromkeys(tests)),
        }

    def _interaction(self, test: Test, limits: Margin) -> Question:
        assert self.claim.interaction is not None  # asked only of claims that have one
        names = self.claim.interaction.settings
        groups = [self.arms.pairs(name) for name in names]
        here, there = (self.differences(settings, self.claim.components[0]) for settings in groups)
        margin = self.margin(limits, groups)
        tested = [
            (Component(words, here[words] - there[words], test, margin), limits) for words in here if words in there
        ]
        return self.question(" minus ".join(names), groups, tested)


def _doublings(curve: values.Curve) -> tuple[values.Curve, Any]:
    """Return a curve over checkpoints without epoch 0, and what its slope is on: the doublings of the epoch."""
    return {place: found for place, found in curve.items() if place > 0}, math.log2


def unit_of(claim: Claim, part: Difference) -> str:
    """Return the unit that a component's effect and margin are in."""
    if part.over in ("peak-position", "reach"):
        return "checkpoints"
    if part.over == "correlation":
        return "of rank correlation"
    unit = UNITS.get(part.of[0].measure or claim.measure, "points")
    if part.over != "slope":
        return unit
    return f"{unit} a doubling" if any(has_epochs(choice) for choice in (*part.of, *part.minus)) else f"{unit} a layer"


def words_of(part: Difference) -> str:
    """Return a component in words: `reinit.above-N, freeze-N minus scratch`."""
    sides = [" plus ".join(_choice_words(choice) for choice in side) for side in (part.of, part.minus) if side]
    words = " minus ".join(sides)
    return words if part.over == "mean" else f"{part.over} of {words}"


def _choice_words(choice: Choice) -> str:
    if choice.pair is not None:
        return ", ".join(
            [choice.pair, *([choice.architecture] if choice.architecture else []), f"{choice.layers} layers"]
        )
    words = {"source": "", "none": "untrained "}.get(choice.source, f"{choice.source} ")
    words += choice.treatment if choice.treatment == "intact" else f"{choice.treatment}.{choice.span}"
    if choice.source == "none" and choice.treatment == "intact" and choice.mode == "finetune":
        words = "scratch"
    words += f", {' or '.join(choice.recipe)}" if choice.recipe else ""
    words += "" if choice.learning_rate is None else f", rate {choice.learning_rate:g}"
    words += "" if choice.mode == "finetune" else f", {choice.mode}"
    words += "" if choice.architecture is None else f", {choice.architecture}"
    words += f", {choice.layers} N" if has_layers(choice) and choice.layers != "all" else ""
    words += "" if choice.epoch is None else f", epoch {choice.epoch}"
    return words if choice.measure is None else f"{words}, {choice.measure}"


def gap_of(arms: ClaimArms, settings: Sequence[str], missing: pd.DataFrame) -> str:
    """Say what a claim lacks in some settings to be judged; nothing where all that it rests on is there."""
    asked = arms.needed(settings)
    keys = {key_of(arm) for arm in asked}
    rows = [(str(row["what"]), tuple(str(row[key]) for key in ARM_KEYS), row) for row in missing.to_dict("records")]
    runs = [row for what, key, row in rows if what == "runs" and key in keys]
    if runs:
        total = len(arms.grid.config.seeds) * sum(max(1, len(arms.rates(arm))) for arm in asked)
        return f"missing: {len(runs)} of the {total} runs that it rests on"
    sources = {(arm.architecture, arm.source) for arm in asked} if arms.reads("sources") else set()
    read = [
        row
        for what, key, row in rows
        if (what == "parts" and key in keys and arms.reads("parts"))
        or (what == "sources" and (row["architecture"], row["source"]) in sources)
        or (what == "pairs" and (row["architecture"], row["pair"]) in arms.pairs_read)
    ]
    return f"missing: {len(read)} of the read-outs that it rests on" if read else ""


def judge_claims(grid: Grid, tables: Tables, missing: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the table of verdicts: the family of Holm's correction is all claims of one paper.

    Of studies that aren't complete, `missing` says what is. A claim that rests on any of it is inconclusive, and counts
    in its family with p = 1. So what is decided now stays decided when the rest comes in, which can
    only bring a claim to a less strict level.
    """
    readings = Readings(tables)
    asked = [
        question
        for study, settings in grid.config.studies.items()
        for name in settings.claims
        for question in Evidence(ClaimArms(grid, study, name), readings).questions(missing)
    ]
    rows = []
    for paper in dict.fromkeys(question.row["paper"] for question in asked):
        family = [question for question in asked if question.row["paper"] == paper]
        for question, verdict in zip(family, judge([q.evidence for q in family]), strict=True):
            decided = {name: getattr(verdict, name) for name in DECIDED}
            if question.gap:
                decided |= {"margin": np.nan, "reason": question.gap}
            rows.append(question.row | decided | {"unit": question.units[verdict.component]})
    return pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)
