"""Treat a checkpoint: what config calls `shuffle-kernels+affine-reset`, done to a network's weights.

A treatment is a module of `ladder`. It has either `draw`, which takes each weight of the layers by itself, with its
stream; or `treat`, which takes the network and what its `REFERENCE` names: None where it has none.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from whypretrain import randomness, registry
from whypretrain.networks.card import Card, Layer
from whypretrain.networks.kernels import Weights, replace_weights

SUFFIXES = ("affine-reset",)
CARD = "card"  # the reference of a treatment that looks at the whole network


def parse(treatment: str) -> tuple[str, tuple[str, ...]]:
    """Split a treatment into its name and its suffixes.

    Raises ValueError, with what is allowed, for an unknown name or suffix, and for one said twice.
    """
    name, *suffixes = treatment.split("+")
    registry.load("treatments", name)
    for suffix in suffixes:
        if suffix not in SUFFIXES:
            allowed = ", ".join(f"+{each}" for each in SUFFIXES)
            raise ValueError(f"unknown suffix '+{suffix}' in treatment '{treatment}'; allowed: {allowed}")
        if suffixes.count(suffix) > 1:
            raise ValueError(f"suffix '+{suffix}' stands more than once in treatment '{treatment}'")
    return name, tuple(suffixes)


def reference_of(treatment: str) -> str | None:
    """Return what the treatment takes from: `epoch-0` of the source, the source `none`, the `bank`, or None."""
    found = getattr(registry.load("treatments", parse(treatment)[0]), "REFERENCE", None)
    return None if found == CARD else found


def refuse(treatment: str, layers: Sequence[int], card: Card) -> str | None:
    """Return why the treatment can't be applied to the layers of a network, or None where it can."""
    module = registry.load("treatments", parse(treatment)[0])
    if unknown := [layer for layer in layers if not 1 <= layer <= card.depth]:
        return f"there is no layer {unknown[0]}; the architecture has layers 1 to {card.depth}"
    return module.refuse(tuple(map(card.layer, layers)), card) if hasattr(module, "refuse") else None


def apply_treatment(
    weights: Weights, treatment: str, layers: Sequence[int], seed: int, card: Card, reference: Weights | None = None
) -> Weights:
    """Return the weights of the start: a checkpoint's weights with some layers treated.

    What is drawn for a layer depends on (seed, layer) alone, not on the span. `reference` holds the weights that
    `reference_of` names. The input stays as it is; the arrays of other layers are passed on, not copied.
    `+affine-reset` sets the affine parameters of the treated layers' norms to 1 and 0. Raises ValueError where `refuse`
    gives a reason, or a reference is missing or doesn't fit.
    """
    name, suffixes = parse(treatment)
    if reason := refuse(treatment, layers, card):
        raise ValueError(f"treatment '{treatment}': {reason}")
    module, chosen = registry.load("treatments", name), tuple(map(card.layer, layers))
    stream = partial(randomness.stream, "treatment", seed)
    if hasattr(module, "draw"):
        treated = replace_weights(weights, chosen, stream, module.draw)
    else:
        treated = module.treat(weights, chosen, stream, card if module.REFERENCE == CARD else reference)
    return _reset_affine(treated, chosen) if "affine-reset" in suffixes else treated


def _reset_affine(weights: Weights, layers: Sequence[Layer]) -> Weights:
    reset = dict(weights)
    for norm in (norm for layer in layers for weight in layer.weights for norm in weight.norms):
        for name, fill in (("weight", np.ones_like), ("bias", np.zeros_like)):
            if f"{norm}.{name}" in weights:
                reset[f"{norm}.{name}"] = fill(weights[f"{norm}.{name}"])
    return reset
