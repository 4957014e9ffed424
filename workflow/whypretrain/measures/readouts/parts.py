"""What the main and the residual part of the features are worth to a probe, before and after target training.

The source's images are read at the start alone: what of them the checkpoint has learnt.
"""

from whypretrain.data.partition import PARTS
from whypretrain.measures.measuring import Measured
from whypretrain.measures.spectra import components_of_main, effective_rank, singular_values, split
from whypretrain.training.data import Rows
from whypretrain.training.probes import fit_probe

PACKAGES = ("scikit-learn",)  # what the numbers depend on beside torch and numpy


def read_out(measured: Measured) -> Rows:
    """Yield a row for all features, the main part and the residual, with the probe's top-1 on each."""
    for moment, images in measured.moments():
        if (moment, images) == ("final", "source"):
            continue
        features, labels = measured.features(moment, images, PARTS)
        values = singular_values(features["train"], centred=False)
        main, residual = split(features)
        count = components_of_main(values, power=1)
        parts = {"all": (features, len(values)), "main": (main, count), "residual": (residual, len(values) - count)}
        for part, (of_part, components) in parts.items():
            probe = fit_probe(of_part, labels)["validation"]
            row = {"moment": moment, "images": images, "part": part, "components": components}
            row |= {"effective_rank": effective_rank(singular_values(of_part["train"], centred=False))}
            row |= {f"top1_{name}": probe.scores[name].top1 for name in PARTS}
            yield row | {"strength": probe.strength, "converged": probe.converged}
