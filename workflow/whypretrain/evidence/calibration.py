"""How often verdicts err: studies with a known truth, judged as real ones are (`judge`), and counted.

D has SD 1 and the margin is 1. The truths of a claim:

- `null`: just false; its support is an error. Of claims of which all components must hold, one is just
  false and the others are true; where any will do, all are just false.
- `margin`: just true; its contradiction is an error. All components are just true; where any will do, one is, and the
  others are just false.
- `effect`: clearly true, wholly or, where any will do, by one component; support is what is wanted.

A superiority is just false at a mean of 0 and just true at the margin, a non-inferiority both at minus the margin, an
equivalence both at the margin.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtrc

from whypretrain.evidence.statistics import EXACT, Kind, tail
from whypretrain.evidence.verdict import ClaimEvidence, Component, Verdict, judge

Truth = Literal["null", "margin", "effect"]
ALPHA, MARGIN = 0.05, 1.0
SEEDS, COMPONENTS = (6, 12, 30), (1, 5, 8)
KINDS: tuple[Kind, ...] = ("superiority", "non-inferiority", "equivalence")
FALSE: dict[Kind, float] = {"superiority": 0.0, "non-inferiority": -MARGIN, "equivalence": MARGIN}  # just false
TRUE: dict[Kind, float] = {"superiority": MARGIN, "non-inferiority": -MARGIN, "equivalence": MARGIN}  # just true
EFFECT: dict[Kind, float] = {"superiority": 2 * MARGIN, "non-inferiority": 0.0, "equivalence": 0.0}
FAMILY = 8  # claims that Holm corrects for; half of them are null, half have an effect
ERROR: dict[Truth, str] = {"null": "supported", "margin": "contradicted", "effect": "inconclusive"}
CHANCE = 1e-4  # below this chance at its nominal rate an error rate is a defect; some 500 rates are looked at


@dataclass(frozen=True)
class Design:
    """One row of the table: studies of one kind."""

    differences: str  # normal, rounded (to halves, so that some are tied) or counts
    kind: Kind
    any: bool
    truth: Truth
    n: int
    components: int
    claims: int = 1

    def means(self, truth: Truth) -> list[float]:
        """Return the true means of a claim's components."""
        false, true, effect = FALSE[self.kind], TRUE[self.kind], EFFECT[self.kind]
        others = self.components - 1
        if self.any:
            return [{"null": false, "margin": true, "effect": effect}[truth], *[false] * others]
        return {
            "null": [false, *[effect] * others],
            "margin": [true] * (others + 1),
            "effect": [effect] * (others + 1),
        }[truth]

    def studies(self, scale: float) -> int:
        """Return how many studies are simulated: fewer of those that cost more."""
        random_flips = 12 if self.differences == "counts" and self.n > EXACT else 1
        return max(10, round(scale * 1000 / (random_flips * self.components * self.claims**0.5)))


def designs() -> Iterator[Design]:
    """Yield all rows: single claims, then families of several."""
    forms = [(kind, k, False) for kind in KINDS for k in COMPONENTS] + [(KINDS[0], k, True) for k in COMPONENTS[1:]]
    for (kind, k, any_), truth, n in itertools.product(forms, ERROR, SEEDS):
        yield Design("normal", kind, any_, truth, n, k)
        yield Design("counts", kind, any_, truth, n, k)
        if k == 1:
            yield Design("rounded", kind, any_, truth, n, k)
    for kind, n in itertools.product(KINDS, SEEDS):
        yield Design("normal", kind, False, "null", n, 1, FAMILY)


def _draw(design: Design, mean: float, stream: np.random.Generator) -> NDArray[Any]:
    """Return D of one component: symmetric about its mean, with SD 1."""
    if design.differences == "counts":
        return mean + stream.binomial(4, 0.5, design.n) - 2.0
    noise = stream.normal(0, 1, design.n)
    return mean + (np.round(2 * noise) / 2 if design.differences == "rounded" else noise)


def _held(verdict: Verdict, means: dict[str, float]) -> bool:
    """Whether the interval that is told holds the true mean of the component that is told."""
    return bool(verdict.low <= means[verdict.component] <= verdict.high)


def simulate(design: Design, scale: float) -> dict[str, Any]:
    """Return a row of the table."""
    # claims of a family are null and effect by turns; the first has the design's truth
    truths: list[Truth] = [design.truth if i % 2 == 0 else "effect" for i in range(design.claims)]
    stream = np.random.default_rng([20190704, *map(ord, str(design))])
    means = [{f"{i}.{c}": mean for c, mean in enumerate(design.means(truth))} for i, truth in enumerate(truths)]
    counted = dict.fromkeys(("supported", "contradicted", "inconclusive"), 0)
    studies, errors, held, together = design.studies(scale), 0, 0, 0
    counts = design.differences == "counts"
    for _ in range(studies):
        family = [
            ClaimEvidence(
                str(i),
                [
                    Component(name, _draw(design, mean, stream), design.kind, MARGIN, counts)
                    for name, mean in each.items()
                ],
                design.any,
            )
            for i, each in enumerate(means)
        ]
        verdicts = judge(family, ALPHA)
        for verdict in verdicts:
            counted[verdict.verdict] += 1
        errors += any(
            verdict.verdict == ERROR[truth]
            for verdict, truth in zip(verdicts, truths, strict=True)
            if truth == design.truth
        )
        covers = [_held(verdict, each) for verdict, each in zip(verdicts, means, strict=True)]
        held, together = held + sum(covers), together + all(covers)
    claims = studies * design.claims
    nominal, coverage = tail(design.kind, ALPHA), verdicts[0].coverage
    wrong = design.truth != "effect"
    return {
        **vars(design),
        "studies": studies,
        **{name: count / claims for name, count in counted.items()},
        "error": errors / studies if wrong else np.nan,
        "nominal": nominal if wrong else np.nan,
        "covered": held / claims,
        "coverage": coverage,
        "all_covered": together / studies,
        "simulation_error": float(np.sqrt(nominal * (1 - nominal) / studies)),
        "as_promised": (not wrong or _explained(errors, studies, nominal))
        and _explained(claims - held, claims, 1 - coverage),
    }


def _explained(errors: int, studies: int, nominal: float) -> bool:
    """Whether chance explains so many errors, or more, at the nominal rate."""
    return errors == 0 or bool(bdtrc(errors - 1, studies, nominal) > CHANCE)


def calibrate(scale: float = 1.0) -> pd.DataFrame:
    """Return the table `calibration`; `scale` is of the numbers of studies."""
    return pd.DataFrame([simulate(design, scale) for design in designs()])
