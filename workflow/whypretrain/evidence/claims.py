"""From tables to verdicts: the evidence for each claim of a study, judged paper by paper.

A claim has a verdict in each of its settings, and one on the interaction of two of them.
Accuracies are compared each arm at its own selected learning rate; losses and cosines, which the rate shifts, at each
rate that was selected for one of the arms, cosines layer by layer at every read-out of training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.config.claims import (
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
from whypretrain.config.models import Setting
from whypretrain.evidence import values
from whypretrain.evidence.readings import Readings, Tables
from whypretrain.evidence.selection import by_few, draw_seeds, select_again
from whypretrain.evidence.statistics import interval, one_sample, paired
from whypretrain.evidence.values import Values
from whypretrain.evidence.verdict import ClaimEvidence, Component, judge
from whypretrain.grid.claim_arms import ClaimArms, group_of
from whypretrain.grid.coordinates import ARM_KEYS, Arm, key_of
from whypretrain.grid.grid import Grid

VERDICTS = ("supported", "contradicted", "inconclusive")
DECIDED = ("component", "n", "effect", "low", "high", "coverage", "p", "margin", "verdict", "reason")
OF_SELECTED = (
    "top1_test",
    "loss_train",
    "loss_test",
    "loss_gap",
    "movement",
    "curve_area",
    "steps_to_95",
)  # read at the selected rate
COUNTED = ("peak-position", "reach", "correlation")  # places and ranks are counts
GUARDED = ("non-inferiority", "equivalence")  # ask that there was something to lose
GAIN = Difference.model_validate({"of": {"measure": "top1_test"}, "minus": {"source": "none", "measure": "top1_test"}})
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
Tested = tuple[Component, str]  # a component with the unit of its effect and margin


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

    def _value(self, setting: Setting, choice: Choice, arm: Arm, rate: float | None) -> Values:
        """Return what an arm comes to, in the measure and at the learning rate of a choice, or else at `rate`."""
        measure, rate = self.arms.measure(choice), choice.learning_rate or rate
        if measure == "steps_to_95":
            return self.readings.steps_to(arm, self.arms.scratch(setting, choice), rate)
        if measure == "rate_width":
            return self.readings.rate_width(arm, self.arms.scratch(setting, choice))
        return self.readings.value(measure, arm, rate)

    def _side(
        self, setting: Setting, choice: Choice, arms: dict[float, Arm], over: str, rate: float | None = None
    ) -> Values:
        """Return the number that one side of a difference comes to; without a `rate` at those selected."""
        if choice.pair is not None:
            architecture = self.arms.architecture(choice)
            layers = group_of(choice.layers, self.arms.grid.depth(architecture))
            return self.readings.likeness(choice.pair, architecture, layers)
        curve = {place: self._value(setting, choice, arm, rate) for place, arm in arms.items()}
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

    def _difference(self, settings: Settings, part: Difference, rate: float | None = None) -> np.ndarray:
        """Return D by seed, averaged over the pairs of source and target of a setting."""
        found = []
        for setting in settings:
            sides = self.arms.sides(setting, part)
            of, minus = (
                [self._side(setting, choice, sides.get(choice, {}), part.over, rate) for choice in choices]
                for choices in (part.of, part.minus)
            )
            found.append(values.combined(of, minus))
        averaged = values.mean_of(found)
        return np.array([averaged[seed] for seed in sorted(averaged)])

    def _common_cosines(self, here: Arm, there: Arm) -> dict[tuple[float, str], np.ndarray]:
        """Return the difference of two arms' cosines by seed, by rate selected for either, and layer and read-out."""
        found = {}
        for rate in sorted({self.readings.rate(here), self.readings.rate(there)}):
            others = self.readings.cosines(there, rate)
            for (layer, epoch), own in self.readings.cosines(here, rate).items():
                if (layer, epoch) in others:
                    found[rate, f"layer {layer}, epoch {epoch}"] = paired(own, others[layer, epoch])
        return found

    def _by_rate(self, settings: Settings, part: Difference) -> dict[tuple[float, str], np.ndarray]:
        """Return D by seed, by common rate and, of the cosine, layer and read-out."""
        (setting,) = settings
        if self.claim.measure == "cosine_mean":
            (of,), (minus,) = part.of, part.minus
            return self._common_cosines(*(self.arms.side(setting, choice)[0.0] for choice in (of, minus)))
        arms = {arm for arms in self.arms.sides(setting, part).values() for arm in arms.values()}
        return {
            (rate, ""): self._difference(settings, part, rate) for rate in sorted(set(map(self.readings.rate, arms)))
        }

    def differences(self, settings: Settings, part: Difference) -> dict[str, np.ndarray]:
        """Return D by seed of a component; of losses and cosines one for each common rate."""
        if not self.arms.at_common(part):
            return {words_of(part): self._difference(settings, part)}
        return {
            ", ".join(filter(None, (words_of(part), f"rate {rate:g}", where))): found
            for (rate, where), found in self._by_rate(settings, part).items()
        }

    def over_rates(self, settings: Settings, part: Difference) -> dict[str, np.ndarray]:
        """Return the same averaged over the common rates, which differ from one setting to another."""
        if not self.arms.at_common(part):
            return self.differences(settings, part)
        found: dict[str, list[np.ndarray]] = {}
        for (_, where), difference in self._by_rate(settings, part).items():
            found.setdefault(", ".join(filter(None, (words_of(part), where))), []).append(difference)
        return {words: np.mean(each, axis=0) for words, each in found.items()}

    # --- margin, grid edge, sensitivity ----------------------------------------------------

    def margin(self, margin: Margin, groups: Sequence[Settings]) -> float:
        """Return a margin as a number; as a share of the gain, of the smallest gain of several settings."""
        if margin.value is not None:
            return margin.value
        gains = [interval(self._difference(settings, GAIN)).mean for settings in groups]
        return max(0.0, float(margin.share_of_gain or 0) * min(gains))

    def component(
        self,
        words: str,
        differences: np.ndarray,
        part: Difference,
        test: Test,
        limits: Margin,
        groups: Sequence[Settings],
    ) -> Tested:
        """Return a component with all that decides it: in one setting, or in the first minus the second of two."""
        moves = self._moves(groups, part, test, limits)
        margin = self.margin(limits, groups)
        counts = part.over in COUNTED
        found = Component(words, differences, test, margin, counts, may_rise=1 in moves, may_fall=-1 in moves)
        return found, unit_of(self.claim, part)

    def _moves(self, groups: Sequence[Settings], part: Difference, test: Test, limits: Margin) -> set[int]:
        """Return where a better rate beyond the edge of a grid could move a component: up (1), down (-1).

        The margin moves with the gain that it is a share of, and where the gain or the claim's control could shrink,
        so could what there was to lose. Of starts, cosines (compared at every rate) and pairs no rate is selected.
        """
        moves = self._moved(groups[0], part) | {
            -move for settings in groups[1:] for move in self._moved(settings, part)
        }
        if self.claim.measure == "cosine_mean":
            return moves
        if limits.share_of_gain is not None:
            gain = {move for settings in groups for move in self._moved(settings, GAIN)}
            moves |= {
                move for size in gain for move in {"non-inferiority": {size}, "equivalence": {1, -1}}.get(test, {-size})
            }
        control = self.claim.control or GAIN
        if test in GUARDED and any(-1 in self._moved(settings, control) for settings in groups):
            moves |= {1, -1}
        return moves

    def _moved(self, settings: Settings, part: Difference) -> set[int]:
        """Return where a difference could move: better is more accuracy, or less loss, and of the rest either."""
        found = set()
        for setting in settings:
            sides = self.arms.sides(setting, part)
            for sign, choices in ((1, part.of), (-1, part.minus)):
                for choice in choices:
                    measure = self.arms.measure(choice)
                    selected = choice.learning_rate is None and (measure in OF_SELECTED or measure.endswith(".final"))
                    if selected and any(map(self.readings.at_edge, self._decisive(sides[choice], part.over))):
                        better = {1} if measure.endswith(("top1_test", ".final")) else {-1}
                        known = part.over in ("mean", "peak") and measure.startswith(("top1_", "loss_", "parts."))
                        found |= {sign * move for move in (better if known else {1, -1})}
        return found

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
                gain = one_sample(self._difference(settings, self.claim.control or GAIN))
                if not gain.low(0.025) > 2 * margin:
                    return False
                continue
            common = [found for each in settings for found in self._common_cosines(*self.arms.controls(each)).values()]
            gaps = list(map(one_sample, common))
            if not any(gap.low(0.025) > margin or gap.high(0.025) < -margin for gap in gaps):
                return False
        return True

    # --- questions -------------------------------------------------------------------------

    def question(self, setting: str, groups: Sequence[Settings], tested: Sequence[Tested]) -> Question:
        """Return what is asked in a setting, with what guards it."""
        components = [part for part, _ in tested]
        guarded = [part.margin for part in components if part.kind in GUARDED]
        evidence = ClaimEvidence(
            name=f"{self.arms.study}: {self.arms.name}, {setting}",
            components=components,
            any=self.claim.any,
            sensitivity=self.sensitive(groups, max(guarded)) if guarded else None,
        )
        interaction = self.claim.interaction if len(groups) > 1 else None
        row = self._row(setting, [part.kind for part in components], interaction)
        return Question(evidence, row, {part.name: unit for part, unit in tested})

    def questions(self, missing: pd.DataFrame | None = None) -> list[Question]:
        """Return the claim in every setting, and its interaction; unanswered where it rests on what is missing."""
        asked = []
        for name in self.claim.settings:
            parts = self.arms.components(name)
            if missing is not None and (gap := gap_of(self.arms, [name], missing)):
                asked.append(self._unanswered(name, parts, gap))
                continue
            settings = self.arms.pairs(name)
            tested = [
                self.component(
                    words, found, part, part.test or self.claim.test, part.margin or self.claim.margin, [settings]
                )
                for part in parts
                for words, found in self.differences(settings, part).items()
            ]
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
        evidence = ClaimEvidence(f"{self.arms.study}: {self.arms.name}, {setting}", components, self.claim.any)
        return Question(evidence, self._row(setting, [each.kind for each in components], interaction), units, gap)

    def _row(self, setting: str, tests: Sequence[str], interaction: Interaction | None) -> dict[str, Any]:
        names = interaction.settings if interaction else [setting]
        return {
            "claim": self.arms.name,
            "paper": self.claim.paper,
            "study": self.arms.study,
            "setting": setting,
            "statement": interaction.statement if interaction else self.claim.statement,
            "test": " and ".join(dict.fromkeys(tests)),
            "one_source": any(map(self.arms.grid.is_one_network, {arm.source for arm in self.arms.needed(names)})),
        }

    def _interaction(self, test: Test, limits: Margin) -> Question:
        assert self.claim.interaction is not None  # asked only of claims that have one
        names = self.claim.interaction.settings
        groups = [self.arms.pairs(name) for name in names]
        part = self.claim.components[0]
        here, there = (self.over_rates(settings, part) for settings in groups)
        tested = [
            self.component(words, here[words] - there[words], part, test, limits, groups)
            for words in here
            if words in there
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
        return f"missing: {len(runs)} of the runs that it rests on"
    sources = {(arm.architecture, arm.source) for arm in asked} if arms.reads("sources") else set()
    read = [
        row
        for what, key, row in rows
        if (what == "parts" and key in keys and arms.reads("parts"))
        or (what == "sources" and (row["architecture"], row["source"]) in sources)
        or (what == "pairs" and (row["architecture"], row["pair"]) in arms.pairs_read)
    ]
    return f"missing: {len(read)} of the read-outs that it rests on" if read else ""


def judge_again(grid: Grid, tables: Tables) -> pd.DataFrame:
    """Return the table `stability`: how often each verdict stays as it is with learning rates selected again.

    They are selected as config says, from `selection_draws` draws of the pilot seeds. An arm keeps its own rate where
    few draws select the other, so that fresh seeds weren't trained at it, and where its features are taken apart
    (`parts`), which is done at its own rate alone.
    """
    draws = draw_seeds(grid.config.pilot_seeds, grid.config.selection_draws)
    again: dict[tuple[str, ...], list[tuple[float, bool]]] = {}  # by study and key
    pilots = tables.pilots.astype(dict.fromkeys(ARM_KEYS, str))
    for study, settings in grid.config.studies.items():
        own = pilots.merge(pd.DataFrame([key_of(arm) for arm in grid.arms_of(study)], columns=ARM_KEYS), on=ARM_KEYS)
        drawn = select_again(by_few(own) if study in tables.few else own, draws, settings.criterion) if len(own) else {}
        again |= {(study, *key): each for key, each in drawn.items()}
    fixed = {key_of(arm) for arm in grid.measures.get("parts", ())}
    runs = tables.runs[[*ARM_KEYS, "learning_rate"]].drop_duplicates()
    trained = {(*map(str, key), rate) for *key, rate in runs.itertuples(index=False, name=None)}
    court = Court(grid, tables)
    stability = court.verdicts(tables.selected)
    if stability.empty:
        return stability
    found = []
    for number in range(len(draws)):
        rows = tables.selected.to_dict("records")
        for row in rows:
            key = tuple(str(row[name]) for name in ARM_KEYS)
            if key in fixed or (row["study"], *key) not in again:
                continue
            rate, edge = again[(row["study"], *key)][number]
            if (*key, rate) in trained:
                row |= {"learning_rate": rate, "grid_edge": edge}
        found.append(court.verdicts(pd.DataFrame(rows))["verdict"].tolist())
    each = np.array(found)  # the rows of `verdicts` have one order
    shares = {verdict: (each == verdict).mean(0) for verdict in VERDICTS}
    same = (each == stability["verdict"].to_numpy()).mean(0)
    return stability[["study", "claim", "setting", "verdict"]].assign(draws=len(draws), same=same, **shares)


def judge_claims(grid: Grid, tables: Tables, missing: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the table of verdicts: the family of Holm's correction is all claims of one paper.

    Of studies that aren't complete, `missing` says what is. A claim that rests on any of it is inconclusive, and counts
    in its family with p = 1. So what is decided now stays decided when the rest comes in, which can
    only bring a claim to a less strict level.
    """
    return Court(grid, tables).verdicts(tables.selected, missing)


class Court:
    """Judges the claims of all studies at selected rates; a claim whose own rates came before isn't asked again."""

    def __init__(self, grid: Grid, tables: Tables) -> None:
        self.readings = Readings(tables)
        self.claims = [
            ClaimArms(grid, study, name) for study, settings in grid.config.studies.items() for name in settings.claims
        ]
        self._asked: dict[tuple[object, ...], list[Question]] = {}

    def verdicts(self, selected: pd.DataFrame, missing: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the table `verdicts`, each arm at its selected rate."""
        readings = self.readings.at(selected)
        asked = [question for arms in self.claims for question in self._questions(arms, readings, missing)]
        rows = []
        for paper in dict.fromkeys(question.row["paper"] for question in asked):
            family = [question for question in asked if question.row["paper"] == paper]
            for question, verdict in zip(family, judge([q.evidence for q in family]), strict=True):
                decided = {name: getattr(verdict, name) for name in DECIDED}
                if question.gap:
                    decided |= {"margin": np.nan, "reason": question.gap}
                rows.append(question.row | decided | {"unit": question.units[verdict.component]})
        return pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)

    def _questions(self, arms: ClaimArms, readings: Readings, missing: pd.DataFrame | None) -> list[Question]:
        own = readings.of(arms.study)
        known = (arms.study, arms.name, *own.selection(arms.all_needed))
        if known not in self._asked:
            self._asked[known] = Evidence(arms, own).questions(missing)
        return self._asked[known]
