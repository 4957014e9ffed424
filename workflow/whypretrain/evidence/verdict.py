"""Verdicts: what the differences say about each claim of a family.

The rules, with the limits of each component at its claim's Holm level:

| kind | supported | contradicted |
|---|---|---|
| superiority, trend | low > 0 and mean >= m | high < m |
| non-inferiority | low > -m | high < -m |
| equivalence | -m < low and high < m | low > m or high < -m |

A claim of several components is an intersection-union test (Berger 1982): supported when each is, and its p is the
largest; contradicted when one is, at the k-th part of the level. One of which `any` component will do is the mirror
image, a union-intersection test: supported when one is at the k-th part of the level, and its p is k times the least;
contradicted when each is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whypretrain.evidence import statistics
from whypretrain.evidence.statistics import FEWEST_SEEDS, Kind, SignFlips, StudentT, beyond, interval, tail

Decision = Literal["supported", "contradicted", "inconclusive"]


@dataclass(frozen=True, eq=False)
class Component:
    """One contrast of a claim: D by seed (for `trend`, a slope by seed), its test and margin.

    `counts`: D counts something (steps, checkpoints), and is tested by flips of signs. `may_rise`, `may_fall`: what a
    better learning rate beyond the edge of a grid would do to the component; it can only make the side better that was
    at the edge. A margin that may shrink counts as a fall where the margin is what D has to be above.
    """

    name: str
    differences: NDArray[np.float64]
    kind: Kind
    margin: float = 0.0
    counts: bool = False
    may_rise: bool = False
    may_fall: bool = False
    unit: str = ""  # of the effect and the margin

    def __post_init__(self) -> None:
        if not 0 <= self.margin < np.inf:
            raise ValueError(f"{self.name}: a margin is finite and at least 0, not {self.margin}")

    @cached_property
    def test(self) -> StudentT | SignFlips:
        """The test of the mean of D, which decides."""
        return statistics.one_sample([] if self.missing else self.differences, self.counts)

    @cached_property
    def p(self) -> float:
        """The p value; 1 where D can't be tested."""
        return statistics.p_of(self.test, self.kind, self.margin)

    @cached_property
    def missing(self) -> str:
        """What D lacks to be tested; nothing if it can be."""
        n, lost = len(self.differences), int((~np.isfinite(self.differences)).sum())
        if lost:
            return f"{lost} of {n} differences not finite (a run diverged or is missing)"
        if n < FEWEST_SEEDS:
            return f"too few seeds: n = {n}, at least {FEWEST_SEEDS} needed"
        if np.abs(self.differences).max() <= statistics.ROUNDING:
            return f"no evidence: the difference is 0 for each of {n} seeds"
        return ""


@dataclass(frozen=True, eq=False)
class ClaimEvidence:
    """A claim with all that decides it.

    `any`: one component will do, instead of all. `sensitivity`: whether there was something to lose (intact against
    scratch), for non-inferiority and equivalence; None where the claim doesn't ask for it.
    """

    name: str
    components: Sequence[Component]
    any: bool = False
    sensitivity: bool | None = None

    def __post_init__(self) -> None:
        if not self.components:
            raise ValueError(f"claim '{self.name}' has no component")

    def levels(self, level: float) -> tuple[float, float]:
        """Return the levels at which a component supports and contradicts the claim.

        Where one component decides, each has a share of the level; where all must, they need no adjustment.
        """
        shared = level / len(self.components)
        return (shared, level) if self.any else (level, shared)

    @property
    def p(self) -> float:
        """The claim's own p value."""
        found = [component.p for component in self.components]
        return min(1.0, len(found) * min(found)) if self.any else max(found)


@dataclass(frozen=True)
class Verdict:
    """The verdict of a component with its own p, or that of a claim with the numbers of the component that decided it.

    That is, of the components with the claim's own verdict and the reason that came first, the one with the largest p,
    or with the least (of equals, the largest effect) where any will do. A claim's `p` is adjusted by Holm, and `level`
    is its Holm level. `coverage` is how often, at least, the interval holds the true difference, for this claim by
    itself (whichever of its components is told). Levels differ from claim to claim, and nothing is said of all
    intervals of a family at once: Holm's are not simultaneous.
    """

    name: str
    kind: Kind
    verdict: Decision
    reason: str
    effect: float
    low: float
    high: float
    margin: float
    p: float
    n: int
    unit: str
    rank: int  # of the reason: low ones are told first
    component: str = ""
    level: float = np.nan
    coverage: float = np.nan
    components: tuple["Verdict", ...] = ()


def judge(family: Sequence[ClaimEvidence], alpha: float = 0.05) -> list[Verdict]:
    """Return the verdicts of a family of claims (one paper's), in the order given.

    Holm orders the claims by p and gives each a level (`statistics.holm`), at which its intervals are. A claim is
    supported when its intervals say so *and* Holm has come as far, so that interval and p never disagree. Holm goes by
    p alone: a claim that is rejected but fails its margin, or is held back by the grid's edge, doesn't stop it.
    `contradicted` is decided on the claim's intervals at its level: false contradictions are limited claim by claim
    rather than over the family.

    A claim with a component that can't be tested (a difference that isn't finite, fewer than FEWEST_SEEDS, 0 for every
    seed) counts it with p = 1, so that a family never shrinks by failed runs. Another component may still decide it.
    Nothing is decided that a better rate beyond a grid's edge could overturn, and no non-inferiority or equivalence
    without assay sensitivity. The reason of `inconclusive` is the first of: missing data, no assay sensitivity, grid
    edge, too few seeds.
    """
    levels, adjusted = statistics.holm([claim.p for claim in family], alpha)
    return [
        _judge_claim(claim, float(level), float(p), alpha)
        for claim, level, p in zip(family, levels, adjusted, strict=True)
    ]


def _judge_claim(claim: ClaimEvidence, level: float, adjusted: float, alpha: float) -> Verdict:
    parts = tuple(_judge_component(component, level, claim) for component in claim.components)
    found, enough = {part.verdict for part in parts}, "supported" if claim.any else "contradicted"
    decision = enough if enough in found else parts[0].verdict if len(found) == 1 else "inconclusive"
    by = min(
        (part for part in parts if part.verdict == decision),
        key=lambda part: (part.rank, part.p, -part.effect) if claim.any else (part.rank, -part.p),
    )
    return replace(
        by,
        name=claim.name,
        reason=by.reason if len(parts) == 1 else f"{by.name}: {by.reason}",
        coverage=statistics.confidence(by.kind, alpha),
        p=adjusted,
        component=by.name,
        level=level,
        components=parts,
    )


def _judge_component(component: Component, level: float, claim: ClaimEvidence) -> Verdict:
    kind, (support, contradict) = component.kind, claim.levels(level)
    tails = tail(kind, support), tail(kind, contradict)
    low, high = component.test.low(tails[0]), component.test.high(tails[1])
    if kind == "equivalence":  # each limit decides either way; what is told holds for both
        low, high = component.test.low(min(tails)), component.test.high(min(tails))
    decision: Decision = "inconclusive"
    if component.missing:
        rank, reason = 0, component.missing
    elif claim.sensitivity is False and kind in ("non-inferiority", "equivalence"):
        rank, reason = 1, "no assay sensitivity: there was nothing to lose"
    else:
        decision, reason = _decide(component, low, high, support)
        rank = 3
        if _overturned(component, decision, low):
            rank, reason = 2, f"grid edge: {reason}, but a better learning rate beyond its grid could overturn that"
            decision = "inconclusive"
        reason = reason or _too_few(component, low, high, support)
    return Verdict(
        name=component.name,
        kind=kind,
        verdict=decision,
        reason=reason,
        effect=interval(component.differences).mean,
        low=low,
        high=high,
        margin=component.margin,
        p=component.p,
        n=len(component.differences),
        unit=component.unit,
        rank=rank,
    )


def _decide(component: Component, low: float, high: float, support: float) -> tuple[Decision, str]:
    """Apply the table of this module; no reason where it decides nothing."""
    kind, margin, rejected = component.kind, component.margin, component.p <= support
    if kind == "equivalence":
        inner = component.test.low(support), component.test.high(support)
        if rejected and beyond(inner[0], -margin) and beyond(margin, inner[1]):
            return "supported", f"interval {_range(*inner)} inside ±{margin:.3g}"
        if beyond(low, margin) or beyond(-margin, high):
            return "contradicted", f"interval {_range(low, high)} outside ±{margin:.3g}"
    elif kind == "non-inferiority":
        if rejected and beyond(low, -margin):
            return "supported", f"lower limit {low:.3g} > {0 - margin:.3g}"
        if beyond(-margin, high):
            return "contradicted", f"upper limit {high:.3g} < {0 - margin:.3g}"
    else:
        mean = float(component.differences.mean())
        if rejected and beyond(low, 0.0) and not beyond(margin, mean):
            return "supported", f"lower limit {low:.3g} > 0 and mean {mean:.3g} ≥ {margin:.3g}"
        if beyond(margin, high):
            return "contradicted", f"upper limit {high:.3g} < {margin:.3g}"
    return "inconclusive", ""


def _overturned(component: Component, decision: Decision, low: float) -> bool:
    """Say whether a better rate beyond the edge of a grid could overturn a decision."""
    if component.kind == "equivalence" and decision == "supported":
        return component.may_rise or component.may_fall
    above = component.kind == "equivalence" and beyond(low, component.margin)
    if decision == "supported" or (decision == "contradicted" and above):
        return component.may_fall
    return decision == "contradicted" and component.may_rise


def _too_few(component: Component, low: float, high: float, level: float) -> str:
    """Say how many seeds have 90 % power at the claim's level, at the upper 80 % limit of the SD.

    The true mean to be detected is, for superiority and trend, the margin or the observed mean, whichever is larger;
    for non-inferiority the observed mean, at most 0, and for equivalence the observed mean, both as far as they lie
    inside the margin, else 0. For superiority it is the power to find a lower limit above 0: a true mean of just m
    reaches mean >= m in half of all studies, whatever n. So n may suffice where an interval happens to hold both 0 and
    m. A sign-flip test needs what it takes to reach its level as well.
    """
    kind, margin, observed = component.kind, component.margin, interval(component.differences)
    found = f"too few seeds: n = {observed.n}"
    fewest = statistics.fewest_flips(tail(kind, level)) if isinstance(component.test, SignFlips) else 0
    effect = max(margin, observed.mean)
    if kind in ("non-inferiority", "equivalence"):
        effect = observed.mean if abs(observed.mean) < margin else 0.0
    if kind == "non-inferiority":
        effect = min(effect, 0.0)
    needed = statistics.seeds_needed(kind, effect, statistics.sd_upper_limit(observed.sd, observed.n), margin, level)
    if needed is None:
        return f"{found}, more than {statistics.MOST_SEEDS} needed for {statistics.POWER:.0%} power"
    if needed < fewest > observed.n:
        return f"{found}, at least {fewest} needed for a sign-flip test"
    if needed > observed.n:
        return f"{found}, about {needed} needed for {statistics.POWER:.0%} power"
    luckless = f"but the interval {_range(low, high)} decides neither way"
    return f"n = {observed.n} has {statistics.POWER:.0%} power at a mean of {effect:.3g}, {luckless}"


def _range(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}"
