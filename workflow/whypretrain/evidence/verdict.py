"""Verdicts: what the differences say about each claim of a family.

The rules, with the interval of each component at its claim's Holm level:

| kind | supported | contradicted |
|---|---|---|
| superiority, trend | low > 0 and mean >= m | high < m |
| non-inferiority | low > -m | high < -m |
| equivalence | -m < low and high < m | low > m or high < -m |

A claim of several components is an intersection-union test (Berger 1982): supported when each
is, contradicted when one is, and its p is the largest. The components need no
adjustment among themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whypretrain.evidence.statistics import (
    FEWEST_SEEDS,
    KINDS,
    MOST_SEEDS,
    POWER,
    Interval,
    Kind,
    beyond,
    confidence,
    holm,
    interval,
    p_value,
    sd_upper_limit,
    seeds_needed,
)

Decision = Literal["supported", "contradicted", "inconclusive"]


@dataclass(frozen=True, eq=False)
class Component:
    """One contrast of a claim: D by seed (for `trend`, a slope by seed), its test and margin."""

    name: str
    differences: NDArray[np.float64]
    kind: Kind
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: unknown test '{self.kind}'; allowed: {', '.join(KINDS)}")
        if not 0 <= self.margin < np.inf:
            raise ValueError(f"{self.name}: a margin is finite and at least 0, not {self.margin}")
        if np.ndim(self.differences) != 1:
            raise ValueError(f"{self.name}: differences are one number for each seed")


@dataclass(frozen=True, eq=False)
class ClaimEvidence:
    """A claim with all that decides it.

    `grid_edge`: a learning rate was selected at the edge of its grid. `sensitivity`: whether there
    was something to lose (intact against scratch), for non-inferiority and
    equivalence; None where the claim doesn't ask for it.
    """

    name: str
    components: Sequence[Component]
    grid_edge: bool = False
    sensitivity: bool | None = None

    def __post_init__(self) -> None:
        if not self.components:
            raise ValueError(f"claim '{self.name}' has no component")


@dataclass(frozen=True)
class ComponentVerdict:
    """The verdict of one component, with its interval at the claim's level and its own p."""

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


@dataclass(frozen=True)
class Verdict:
    """The verdict of a claim, with the numbers of the component that decided it.

    That is, of the components with the claim's own verdict and the reason that came first, the one with
    the largest p. `p` is the claim's, adjusted by Holm; `level` is its Holm level.
    """

    name: str
    verdict: Decision
    reason: str
    effect: float
    low: float
    high: float
    margin: float
    p: float
    n: int
    component: str
    level: float
    components: tuple[ComponentVerdict, ...]


def judge(family: Sequence[ClaimEvidence], alpha: float = 0.05) -> list[Verdict]:
    """Return the verdicts of a family of claims (one paper's), in the order given.

    Holm orders the claims by p and gives each a level (`statistics.holm`); intervals are at
    that level. A claim is supported when its intervals say so *and* Holm, step by step, has come
    as far: after the first claim that isn't rejected none can be supported, and the levels
    stay at that step's, so that interval and p never disagree. Holm goes by p alone: a claim
    that is rejected but fails its margin, or is held back by the grid's edge, doesn't stop it.
    `contradicted` is decided on the claim's interval at its level; false contradictions are
    therefore limited claim by claim rather than over the family.

    A claim with a component that can't be tested (a difference that isn't finite, fewer than
    FEWEST_SEEDS) counts with p = 1, so that a family never shrinks by failed runs. Another
    component may still contradict it. Nothing is decided at the grid's edge, and no
    non-inferiority or equivalence without assay sensitivity.

    The reason of `inconclusive` is the first of: missing data, grid edge, no assay sensitivity,
    too few seeds. Raises ValueError for an alpha outside (0, 0.5) and for two claims of one name.
    """
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha lies between 0 and 0.5, not {alpha}")
    names = [claim.name for claim in family]
    if len(set(names)) < len(names):
        raise ValueError(f"claims of one name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    levels, adjusted = holm([max(_p(part) for part in claim.components) for claim in family], alpha)
    return [
        _judge_claim(claim, float(level), float(p)) for claim, level, p in zip(family, levels, adjusted, strict=True)
    ]


def _judge_claim(claim: ClaimEvidence, level: float, adjusted: float) -> Verdict:
    examined = [_judge_component(component, level, claim) for component in claim.components]
    decision: Decision = "inconclusive"
    if any(part.verdict == "contradicted" for _, part in examined):
        decision = "contradicted"
    elif all(part.verdict == "supported" for _, part in examined):
        decision = "supported"
    deciding = [(rank, part) for rank, part in examined if part.verdict == decision]
    by = min(deciding, key=lambda found: (found[0], -found[1].p))[1]
    return Verdict(
        name=claim.name,
        verdict=decision,
        reason=by.reason if len(examined) == 1 else f"{by.name}: {by.reason}",
        effect=by.effect,
        low=by.low,
        high=by.high,
        margin=by.margin,
        p=adjusted,
        n=by.n,
        component=by.name,
        level=level,
        components=tuple(part for _, part in examined),
    )


def _p(component: Component) -> float:
    return 1.0 if _missing(component) else p_value(component.differences, component.kind, component.margin)


def _missing(component: Component) -> str:
    """Say what a component lacks to be tested; nothing if it can be."""
    n, lost = len(component.differences), int((~np.isfinite(component.differences)).sum())
    if lost:
        return f"{lost} of {n} differences not finite (a run diverged or is missing)"
    return f"too few seeds: n = {n}, at least {FEWEST_SEEDS} needed" if n < FEWEST_SEEDS else ""


def _judge_component(component: Component, level: float, claim: ClaimEvidence) -> tuple[int, ComponentVerdict]:
    """Return a component's verdict after the rank of its reason: low ranks are told first."""
    observed = interval(component.differences, confidence(component.kind, level))
    p = _p(component)
    decision: Decision = "inconclusive"
    if missing := _missing(component):
        rank, reason = 0, missing
    elif claim.grid_edge:
        rank, reason = 1, "grid edge: a learning rate was selected at the end of its grid"
    elif claim.sensitivity is False and component.kind in ("non-inferiority", "equivalence"):
        rank, reason = 2, "no assay sensitivity: there was nothing to lose"
    else:
        rank = 3
        decision, reason = _decide(component.kind, observed, component.margin, p <= level)
        reason = reason or _too_few(component.kind, observed, component.margin, level)
    return rank, ComponentVerdict(
        name=component.name,
        kind=component.kind,
        verdict=decision,
        reason=reason,
        effect=observed.mean,
        low=observed.low,
        high=observed.high,
        margin=component.margin,
        p=p,
        n=observed.n,
    )


def _decide(kind: Kind, observed: Interval, margin: float, rejected: bool) -> tuple[Decision, str]:
    """Apply the table of this module; no reason where it decides nothing."""
    mean, low, high = observed.mean, observed.low, observed.high
    if kind == "equivalence":
        if rejected and beyond(low, -margin) and beyond(margin, high):
            return "supported", f"interval {_range(observed)} inside ±{margin:.3g}"
        if beyond(low, margin) or beyond(-margin, high):
            return "contradicted", f"interval {_range(observed)} outside ±{margin:.3g}"
    elif kind == "non-inferiority":
        if rejected and beyond(low, -margin):
            return "supported", f"lower limit {low:.3g} > {0 - margin:.3g}"
        if beyond(-margin, high):
            return "contradicted", f"upper limit {high:.3g} < {0 - margin:.3g}"
    else:
        if rejected and beyond(low, 0.0) and not beyond(margin, mean):
            return "supported", f"lower limit {low:.3g} > 0 and mean {mean:.3g} ≥ {margin:.3g}"
        if beyond(margin, high):
            return "contradicted", f"upper limit {high:.3g} < {margin:.3g}"
    return "inconclusive", ""


def _too_few(kind: Kind, observed: Interval, margin: float, level: float) -> str:
    """Say how many seeds have 90 % power at the claim's level, at the upper 80 % limit of the SD.

    The true mean to be detected is, for superiority and trend, the margin or the observed
    mean, whichever is larger; for non-inferiority the observed mean, at most 0, and for
    equivalence the observed mean, both as far as they lie inside the margin, else 0. For superiority it is
    the power to find a lower limit above 0: a true mean of just m reaches mean >= m in half of all studies,
    whatever n. So n may suffice where an interval happens to hold both 0 and m.
    """
    effect = max(margin, observed.mean)
    if kind in ("non-inferiority", "equivalence"):
        effect = observed.mean if abs(observed.mean) < margin else 0.0
    if kind == "non-inferiority":
        effect = min(effect, 0.0)
    needed = seeds_needed(kind, effect, sd_upper_limit(observed.sd, observed.n), margin, level)
    found = f"too few seeds: n = {observed.n}"
    if needed is None:
        return f"{found}, more than {MOST_SEEDS} needed for {POWER:.0%} power"
    if needed > observed.n:
        return f"{found}, about {needed} needed for {POWER:.0%} power"
    luckless = f"but the interval {_range(observed)} decides neither way"
    return f"n = {observed.n} has {POWER:.0%} power at a mean of {effect:.3g}, {luckless}"


def _range(observed: Interval) -> str:
    return f"{observed.low:.3g} to {observed.high:.3g}"
