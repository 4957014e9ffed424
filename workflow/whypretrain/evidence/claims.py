"""From tables to verdicts: the evidence for each claim of a study, judged paper by paper.

A claim has a verdict in each of its settings, and one on the interaction of two of them. Accuracies are compared each
arm at its own selected learning rate; losses and cosines, which the rate shifts, at each rate that was selected for one
of the arms, cosines layer by layer at every read-out of training.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from whypretrain.config.claims import Choice, Claim, Difference, Margin, Test, has_epochs, has_layers, runs_along
from whypretrain.config.models import Setting
from whypretrain.evidence import values
from whypretrain.evidence.lookup import Lookup, Tables
from whypretrain.evidence.selection import by_few, draw_seeds, select_again
from whypretrain.evidence.statistics import interval, one_sample
from whypretrain.evidence.values import Array, Values
from whypretrain.evidence.verdict import ClaimEvidence, Component, judge
from whypretrain.grid.claim_arms import ClaimArms, choices_of, group_of
from whypretrain.grid.coordinates import ARM_KEYS, Arm, key_of
from whypretrain.grid.grid import Grid

VERDICTS = ("supported", "contradicted", "inconclusive")
# read at the selected rate
OF_SELECTED = ("top1_test", "loss_train", "loss_test", "loss_gap", "movement", "curve_area", "steps_to_95")
COUNTED = ("peak-position", "reach", "correlation")  # places and ranks are counts
GUARDED = ("non-inferiority", "equivalence")  # ask that there was something to lose
GAIN = Difference.model_validate({"of": {"measure": "top1_test"}, "minus": {"source": "none", "measure": "top1_test"}})
# accuracies are in points, of which 100 are 1
UNITS = {"cosine_mean": "of cosine", "cka": "of CKA", "movement": "of 1 − cosine"}
UNITS |= {"loss_train": "nats", "loss_test": "nats", "loss_gap": "nats"}
UNITS |= {"steps_to_95": "steps", "rate_width": "factors of ten"}
Settings = Sequence[Setting]
Asked = tuple[dict[str, Any], ClaimEvidence, str]  # a question's row of `verdicts`, what decides it, what it lacks
ByRate = dict[tuple[float | None, str], Array]  # D by common rate (None: each arm at its own), and layer and read-out


class Question:
    """A claim in one setting or, with two names, the interaction of these: what the first has more than the second."""

    def __init__(self, arms: ClaimArms, lookup: Lookup, names: Sequence[str]) -> None:
        self.arms, self.claim, self.lookup, self.names = arms, arms.claim, lookup, names
        self.interaction = arms.claim.interaction if len(names) > 1 else None
        self.groups = [arms.pairs(name) for name in names]

    # --- one number a seed -----------------------------------------------------------------

    def _value(self, setting: Setting, choice: Choice, arm: Arm, rate: float | None) -> Values:
        """Return what an arm comes to, in the measure and at the learning rate of a choice, or else at `rate`."""
        measure, rate = self.arms.measure(choice), choice.learning_rate or rate
        if measure == "steps_to_95":
            return self.lookup.steps_to(arm, self.arms.scratch(setting, choice), rate)
        if measure == "rate_width":
            return self.lookup.rate_width(arm, self.arms.scratch(setting, choice))
        return self.lookup.value(measure, arm, rate)

    def _side(self, setting: Setting, choice: Choice, arms: dict[float, Arm], over: str, rate: float | None) -> Values:
        """Return the number that one side of a difference comes to; without a `rate` at those selected."""
        if choice.pair is not None:
            architecture = self.arms.architecture(choice)
            layers = group_of(choice.layers, self.arms.grid.depth(architecture))
            return self.lookup.likeness(choice.pair, architecture, layers)
        curve = {place: self._value(setting, choice, arm, rate) for place, arm in arms.items()}
        if not runs_along(choice):
            return dict.fromkeys(curve[0.0], 0.0) if over == "slope" else curve[0.0]
        if over == "slope":
            if has_epochs(choice):  # on the doublings of the epoch, of which epoch 0 has none
                curve = {math.log2(place): found for place, found in curve.items() if place > 0}
            return values.slope_of(curve)
        if over == "peak-position":
            return values.peak_position(self._validation(arms))
        if over == "peak":
            return curve[values.peak_place(self._validation(arms))]
        if over == "reach":
            return values.reach_position(curve)
        if over == "correlation":
            return values.correlation(list(curve.values()), [self.lookup.source_accuracy(arms[at]) for at in curve])
        return values.mean_of(list(curve.values()))

    def _validation(self, arms: dict[float, Arm]) -> dict[float, Values]:
        return {place: self.lookup.value("top1_validation", arm) for place, arm in arms.items()}

    def _difference(self, settings: Settings, part: Difference, rate: float | None = None) -> Array:
        """Return D by seed, averaged over the pairs of source and target of a setting."""
        found = []
        for setting in settings:
            sides = self.arms.sides(setting, part)
            of, minus = (
                [self._side(setting, choice, sides.get(choice, {}), part.over, rate) for choice in choices]
                for choices in (part.of, part.minus)
            )
            found.append(values.combined(of, minus))
        return np.array(list(values.mean_of(found).values()))

    def _common_cosines(self, here: Arm, there: Arm) -> ByRate:
        """Return the difference of two arms' cosines at the rates selected for either."""
        found: ByRate = {}
        for rate in sorted({self.lookup.rate(here), self.lookup.rate(there)}):
            own, others = self.lookup.cosines(here, rate), self.lookup.cosines(there, rate)
            for at in own.columns[own.columns.isin(others.columns)]:
                gap = own[at] - others[at]  # NaN for a seed that one of them lacks
                found[rate, "layer {}, epoch {}".format(*at)] = gap.to_numpy()
        return found

    def _by_rate(self, settings: Settings, part: Difference) -> ByRate:
        if not self.arms.at_common(part):
            return {(None, ""): self._difference(settings, part)}
        (setting,) = settings
        arms = {arm for arms in self.arms.sides(setting, part).values() for arm in arms.values()}
        if self.claim.measure == "cosine_mean":
            return self._common_cosines(*(self.arms.side(setting, choice)[0.0] for choice in choices_of(part)))
        return {(rate, ""): self._difference(settings, part, rate) for rate in sorted(set(map(self.lookup.rate, arms)))}

    def _differences(self, part: Difference) -> dict[str, Array]:
        """Return D by seed of a component; of losses and cosines one for each common rate.

        Common rates differ from one setting to another: of an interaction D is averaged over them.
        """
        groups: list[dict[str, list[Array]]] = []
        for settings in self.groups:
            groups.append({})
            for (rate, where), found in self._by_rate(settings, part).items():
                at = "" if rate is None or self.interaction else f"rate {rate:g}"
                groups[-1].setdefault(", ".join(filter(None, (words_of(part), at, where))), []).append(found)
        here, *there = ({words: np.mean(each, axis=0) for words, each in group.items()} for group in groups)
        if not there:
            return here
        return {words: found - there[0][words] for words, found in here.items() if words in there[0]}

    # --- margin, grid edge, sensitivity ----------------------------------------------------

    def _test(self, part: Difference) -> tuple[Test, Margin]:
        if self.interaction:
            return self.interaction.test, self.interaction.margin
        return part.test or self.claim.test, part.margin or self.claim.margin

    def _margin(self, margin: Margin) -> float:
        """Return a margin as a number; as a share of the gain, of the smallest gain of several settings."""
        if margin.value is not None:
            return margin.value
        gains = [interval(self._difference(settings, GAIN)).mean for settings in self.groups]
        return max(0.0, float(margin.share_of_gain or 0) * min(gains))

    def _moves(self, part: Difference) -> set[int]:
        """Return where a better rate beyond the edge of a grid could move a component: up (1), down (-1).

        The margin moves with the gain that it is a share of, and where the gain or the claim's control could shrink, so
        could what there was to lose. Of starts, cosines (compared at every rate) and pairs no rate is selected.
        """
        test, margin = self._test(part)
        moves = {
            -move if place else move for place, group in enumerate(self.groups) for move in self._moved(group, part)
        }
        if self.claim.measure == "cosine_mean":
            return moves
        if margin.share_of_gain is not None:
            for move in (move for group in self.groups for move in self._moved(group, GAIN)):
                moves |= {"non-inferiority": {move}, "equivalence": {1, -1}}.get(test, {-move})
        control = self.claim.control or GAIN
        if test in GUARDED and any(-1 in self._moved(group, control) for group in self.groups):
            moves |= {1, -1}
        return moves

    def _moved(self, settings: Settings, part: Difference) -> set[int]:
        """Return where a difference could move: better is more accuracy, or less loss, and of the rest either."""
        found = set()
        for sides in (self.arms.sides(setting, part) for setting in settings):
            for sign, choice in [(1, choice) for choice in part.of] + [(-1, choice) for choice in part.minus]:
                measure = self.arms.measure(choice)
                selected = choice.learning_rate is None and (measure in OF_SELECTED or measure.endswith(".final"))
                if selected and any(map(self.lookup.at_edge, self._decisive(sides[choice], part.over))):
                    known = part.over in ("mean", "peak") and measure.startswith(("top1_", "loss_", "parts."))
                    better = {-1 if measure.startswith("loss_") else 1} if known else {1, -1}
                    found |= {sign * move for move in better}
        return found

    def _decisive(self, arms: dict[float, Arm], over: str) -> list[Arm]:
        """Return the arms of a side that a verdict rests on: of those that a peak is chosen from, the peak."""
        return [arms[values.peak_place(self._validation(arms))]] if over == "peak" else list(arms.values())

    def _sensitive(self, margin: float) -> bool:
        """Return whether there was something to lose, in every setting.

        For accuracy: intact beats scratch, or the claim's control is, by more than twice the margin (lower limit of the
        interval). For the cosine: scratch's differs from intact's by more than the margin, in some layer at some rate
        common to both (the interval lies beyond it).
        """
        if self.claim.measure != "cosine_mean":
            gains = [self._difference(settings, self.claim.control or GAIN) for settings in self.groups]
            return all(one_sample(gain).low(0.025) > 2 * margin for gain in gains)
        common = [
            [one_sample(gap) for each in settings for gap in self._common_cosines(*self.arms.controls(each)).values()]
            for settings in self.groups
        ]
        return all(any(gap.low(0.025) > margin or gap.high(0.025) < -margin for gap in gaps) for gaps in common)

    # --- what is judged --------------------------------------------------------------------

    def evidence(self, gap: str = "") -> ClaimEvidence:
        """Return all that decides the question; with a `gap` nothing speaks for it, but it counts in its family."""
        components = []
        for part in self.claim.components[:1] if self.interaction else self.arms.components(self.names[0]):
            test, unit = self._test(part)[0], unit_of(self.claim, part)
            if gap:
                components.append(Component(words_of(part), np.array([]), test, unit=unit))
                continue
            margin, moves, counts = self._margin(self._test(part)[1]), self._moves(part), part.over in COUNTED
            components += [
                Component(words, found, test, margin, counts, 1 in moves, -1 in moves, unit)
                for words, found in self._differences(part).items()
            ]
        guarded = [] if gap else [component.margin for component in components if component.kind in GUARDED]
        sensitivity = self._sensitive(max(guarded)) if guarded else None
        name = f"{self.arms.study}: {self.arms.name}, {' minus '.join(self.names)}"
        return ClaimEvidence(name, components, self.claim.any, sensitivity)

    def row(self, evidence: ClaimEvidence) -> dict[str, Any]:
        """Return what the table `verdicts` says of the question itself."""
        sources = {arm.source for arm in self.arms.needed(self.names)}
        return {
            "claim": self.arms.name,
            "paper": self.claim.paper,
            "study": self.arms.study,
            "setting": " minus ".join(self.names),
            "statement": (self.interaction or self.claim).statement,
            "test": " and ".join(dict.fromkeys(component.kind for component in evidence.components)),
            "one_source": any(map(self.arms.grid.is_one_network, sources)),
        }


def unit_of(claim: Claim, part: Difference) -> str:
    """Return the unit that a component's effect and margin are in."""
    if part.over in ("peak-position", "reach"):
        return "checkpoints"
    if part.over == "correlation":
        return "of rank correlation"
    unit = UNITS.get(part.of[0].measure or claim.measure, "points")
    if part.over != "slope":
        return unit
    return f"{unit} a doubling" if any(map(has_epochs, choices_of(part))) else f"{unit} a layer"


def words_of(part: Difference) -> str:
    """Return a component in words: `reinit.above-N, freeze-N minus scratch`."""
    sides = [" plus ".join(map(_choice_words, side)) for side in (part.of, part.minus) if side]
    words = " minus ".join(sides)
    return words if part.over == "mean" else f"{part.over} of {words}"


def _choice_words(choice: Choice) -> str:
    if choice.pair is not None:
        return ", ".join(filter(None, (choice.pair, choice.architecture, f"{choice.layers} layers")))
    words = {"source": "", "none": "untrained "}.get(choice.source, f"{choice.source} ")
    words += choice.treatment if choice.treatment == "intact" else f"{choice.treatment}.{choice.span}"
    if choice.source == "none" and choice.treatment == "intact" and choice.mode == "finetune":
        words = "scratch"
    more = (
        " or ".join(choice.recipe),
        "" if choice.learning_rate is None else f"rate {choice.learning_rate:g}",
        "" if choice.mode == "finetune" else choice.mode,
        choice.architecture,
        f"{choice.layers} N" if has_layers(choice) and choice.layers != "all" else "",
        "" if choice.epoch is None else f"epoch {choice.epoch}",
        choice.measure,
    )
    return ", ".join(filter(None, (words, *more)))


def gap_of(arms: ClaimArms, settings: Sequence[str], missing: pd.DataFrame) -> str:
    """Say what a claim lacks in some settings to be judged; nothing where all that it rests on is there."""
    asked = arms.needed(settings)
    own = {(arm.architecture, arm.source) for arm in asked} if arms.reads("sources") else set()
    sources, pairs = (
        pd.MultiIndex.from_frame(missing[["architecture", name]].astype(str)) for name in ("source", "pair")
    )
    of_arms = pd.MultiIndex.from_frame(missing[ARM_KEYS].astype(str)).isin([key_of(arm) for arm in asked])
    what = missing["what"].astype(str)
    if runs := int((of_arms & (what == "runs")).sum()):
        return f"missing: {runs} of the runs that it rests on"
    read = (
        (of_arms & (what == "parts") & arms.reads("parts"))
        | (sources.isin(own) & (what == "sources"))
        | (pairs.isin(arms.pairs_read) & (what == "pairs"))
    )
    return f"missing: {read.sum()} of the read-outs that it rests on" if read.any() else ""


class Court:
    """Judges the claims of all studies at selected rates; a claim whose own rates came before isn't asked again."""

    def __init__(self, grid: Grid, tables: Tables) -> None:
        self.lookup = Lookup(tables)
        self.studies = {
            study: [ClaimArms(grid, study, name) for name in settings.claims]
            for study, settings in grid.config.studies.items()
        }
        self._asked: dict[tuple[str, ...], list[Asked]] = {}

    def verdicts(self, selected: pd.DataFrame, missing: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the table `verdicts`, each arm at its selected rate."""
        asked = []
        for study, claims in self.studies.items():
            own = self.lookup.at(selected).of(study)
            for arms in claims:
                known = (study, arms.name, *own.selection(arms.all_needed))
                if known not in self._asked:
                    self._asked[known] = list(_ask(arms, own, missing))
                asked += self._asked[known]
        rows = []
        for paper in dict.fromkeys(row["paper"] for row, _, _ in asked):
            family = [each for each in asked if each[0]["paper"] == paper]
            for (row, _, gap), verdict in zip(family, judge([evidence for _, evidence, _ in family]), strict=True):
                rows.append(row | vars(verdict) | ({"margin": np.nan, "reason": gap} if gap else {}))
        return values.table(rows)


def _ask(arms: ClaimArms, lookup: Lookup, missing: pd.DataFrame | None) -> Iterator[Asked]:
    """Yield a claim in every setting, and its interaction; without evidence where it rests on what is missing."""
    interaction = arms.claim.interaction
    for names in [*([name] for name in arms.claim.settings), *([interaction.settings] if interaction else [])]:
        question, gap = Question(arms, lookup, names), "" if missing is None else gap_of(arms, names, missing)
        evidence = question.evidence(gap)
        yield question.row(evidence), evidence, gap


def judge_claims(grid: Grid, tables: Tables, missing: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the table of verdicts: the family of Holm's correction is all claims of one paper.

    Of studies that aren't complete, `missing` says what is. A claim that rests on any of it is inconclusive, and counts
    in its family with p = 1. So what is decided now stays decided when the rest comes in, which can only bring a claim
    to a less strict level.
    """
    return Court(grid, tables).verdicts(tables.selected, missing)


def judge_again(grid: Grid, tables: Tables) -> pd.DataFrame:
    """Return the table `stability`: how often each verdict stays as it is with learning rates selected again.

    They are selected as config says, from `selection_draws` draws of the pilot seeds. An arm keeps its own rate where
    few draws select the other, so that fresh seeds weren't trained at it, and where its features are taken apart
    (`parts`), which is done at its own rate alone.
    """
    court, again = Court(grid, tables), dict[tuple[str, ...], list[tuple[float, bool]]]()
    stability = court.verdicts(tables.selected)
    if stability.empty:
        return stability
    draws = draw_seeds(grid.config.pilot_seeds, grid.config.selection_draws)
    pilots = tables.pilots.astype(dict.fromkeys(ARM_KEYS, str))
    for study, settings in grid.config.studies.items():
        arms = [key_of(arm) for arm in grid.arms_of(study) if arm not in grid.measures.get("parts", ())]
        own = pilots.merge(pd.DataFrame(arms, columns=ARM_KEYS), on=ARM_KEYS)
        drawn = select_again(by_few(own) if study in tables.few else own, draws, settings.criterion) if len(own) else {}
        again |= {(study, *key): each for key, each in drawn.items()}
    runs = tables.runs[[*ARM_KEYS, "learning_rate"]].drop_duplicates()
    trained = {(*map(str, key), rate) for *key, rate in runs.itertuples(index=False, name=None)}
    rows = tables.selected[["study", *ARM_KEYS, "learning_rate", "grid_edge"]].itertuples(index=False, name=None)
    choices = []  # of each arm with every draw: rate, and whether it is at an edge
    for study, *key, rate, edge in rows:
        selected_again = again.get((study, *map(str, key)), [(rate, edge)] * len(draws))
        choices.append([each if (*map(str, key), each[0]) in trained else (rate, edge) for each in selected_again])
    found = []
    for each in zip(*choices, strict=True):
        chosen = pd.DataFrame(each, columns=["learning_rate", "grid_edge"], index=tables.selected.index)
        found.append(court.verdicts(tables.selected.assign(**chosen))["verdict"].tolist())
    same = (np.array(found) == stability["verdict"].to_numpy()).mean(0)  # the rows of `verdicts` have one order
    shares = {verdict: (np.array(found) == verdict).mean(0) for verdict in VERDICTS}
    return stability[["study", "claim", "setting", "verdict"]].assign(draws=len(draws), same=same, **shares)
