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
from whypretrain.evidence.verdict import ClaimEvidence, Component, judge

Truth = Literal["null", "margin", "effect"]
ALPHA, MARGIN = 0.05, 1.0
SEEDS, COMPONENTS = (6, 12, 30), (1, 5, 8)
MEANS: dict[Kind, tuple[float, float, float]] = {  # where a component is just false, just true, clearly true
    "superiority": (0.0, MARGIN, 2 * MARGIN),
    "non-inferiority": (-MARGIN, -MARGIN, 0.0),
    "equivalence": (MARGIN, MARGIN, 0.0),
}
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
        false, true, effect = MEANS[self.kind]
        first = {"null": false, "margin": true, "effect": effect}[truth]
        others = false if self.any else true if truth == "margin" else effect
        return [first, *[others] * (self.components - 1)]

    def studies(self, scale: float) -> int:
        """Return how many studies are simulated: fewer of those that cost more."""
        random_flips = 12 if self.differences == "counts" and self.n > EXACT else 1
        return max(10, round(scale * 1000 / (random_flips * self.components * self.claims**0.5)))


def designs() -> Iterator[Design]:
    """Yield all rows: single claims, then families of several."""
    forms = [(kind, k, False) for kind in MEANS for k in COMPONENTS]
    forms += [("superiority", k, True) for k in COMPONENTS[1:]]
    for (kind, k, any_), truth, n in itertools.product(forms, ERROR, SEEDS):
        yield Design("normal", kind, any_, truth, n, k)
        yield Design("counts", kind, any_, truth, n, k)
        if k == 1:
            yield Design("rounded", kind, any_, truth, n, k)
    for kind, n in itertools.product(MEANS, SEEDS):
        yield Design("normal", kind, False, "null", n, 1, FAMILY)


def _draw(design: Design, mean: float, stream: np.random.Generator) -> NDArray[Any]:
    """Return D of one component: symmetric about its mean, with SD 1."""
    if design.differences == "counts":
        return mean + stream.binomial(4, 0.5, design.n) - 2.0
    noise = stream.normal(0, 1, design.n)
    return mean + (np.round(2 * noise) / 2 if design.differences == "rounded" else noise)


def simulate(design: Design, scale: float) -> dict[str, Any]:
    """Return a row of the table."""
    # claims of a family are null and effect by turns; the first has the design's truth
    truths: list[Truth] = [design.truth if i % 2 == 0 else "effect" for i in range(design.claims)]
    stream = np.random.default_rng([20190704, *map(ord, str(design))])
    means = [{f"{i}.{c}": mean for c, mean in enumerate(design.means(truth))} for i, truth in enumerate(truths)]
    studies, counts = design.studies(scale), design.differences == "counts"
    found = []
    for _ in range(studies):
        family = []
        for i, each in enumerate(means):
            draws = {name: _draw(design, mean, stream) for name, mean in each.items()}
            parts = [Component(name, draw, design.kind, MARGIN, counts) for name, draw in draws.items()]
            family.append(ClaimEvidence(str(i), parts, design.any))
        found.append(judge(family, ALPHA))
    verdicts = np.array([[verdict.verdict for verdict in family] for family in found])  # (studies, claims)
    held = np.array(
        [[each.low <= means[i][each.component] <= each.high for i, each in enumerate(family)] for family in found]
    )
    errors = int((verdicts[:, ::2] == ERROR[design.truth]).any(axis=1).sum())
    nominal, coverage, wrong = tail(design.kind, ALPHA), found[0][0].coverage, design.truth != "effect"
    as_promised = not wrong or _explained(errors, studies, nominal)
    return {
        **vars(design),
        "studies": studies,
        **{name: float((verdicts == name).mean()) for name in ("supported", "contradicted", "inconclusive")},
        "error": errors / studies if wrong else np.nan,
        "nominal": nominal if wrong else np.nan,
        "covered": float(held.mean()),
        "coverage": coverage,
        "all_covered": float(held.all(axis=1).mean()),
        "simulation_error": float(np.sqrt(nominal * (1 - nominal) / studies)),
        "as_promised": as_promised and _explained(int((~held).sum()), held.size, 1 - coverage),
    }


def _explained(errors: int, studies: int, nominal: float) -> bool:
    """Whether chance explains so many errors, or more, at the nominal rate."""
    return errors == 0 or bool(bdtrc(errors - 1, studies, nominal) > CHANCE)


def calibrate(scale: float = 1.0) -> pd.DataFrame:
    """Return the table `calibration`; `scale` is of the numbers of studies."""
    return pd.DataFrame([simulate(design, scale) for design in designs()])
