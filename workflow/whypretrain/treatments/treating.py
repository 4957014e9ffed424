"""Treat a checkpoint: what config calls `shuffle-kernels+affine-reset`, done to a network's weights."""

import numpy as np

from whypretrain import randomness, registry
from whypretrain.networks.kernels import Weights

SUFFIXES = ("affine-reset",)


def parse(treatment: str) -> tuple[str, tuple[str, ...]]:
    """Split a treatment into its name and its suffixes.

    Raises ValueError, with what is allowed, for an unknown name or suffix, and for one said twice.
    """
    name, *suffixes = treatment.split("+")
    registry.load("treatments", name)
    for suffix in suffixes:
        if suffix not in SUFFIXES:
            raise ValueError(
                f"unknown suffix '+{suffix}' in treatment '{treatment}'; allowed: "
                + ", ".join(f"+{allowed}" for allowed in SUFFIXES)
            )
        if suffixes.count(suffix) > 1:
            raise ValueError(f"suffix '+{suffix}' stands more than once in treatment '{treatment}'")
    return name, tuple(suffixes)


def reference_of(treatment: str) -> str | None:
    """Return what the treatment takes from: `epoch-0` of the source, the source `none`, the `bank`, or None."""
    return registry.load("treatments", parse(treatment)[0]).REFERENCE


def refuse(treatment: str, layers: tuple[int, ...], kernels: tuple[int, ...]) -> str | None:
    """Return why the treatment can't be applied to the layers, or None where it can.

    `kernels` are the kernel sizes of all layers of the architecture, layer 1 first.
    """
    module = registry.load("treatments", parse(treatment)[0])
    unknown = [layer for layer in layers if not 1 <= layer <= len(kernels)]
    if unknown:
        return f"there is no layer {unknown[0]}; the architecture has layers 1 to {len(kernels)}"
    return module.refuse(layers, kernels) if hasattr(module, "refuse") else None


def apply_treatment(
    weights: Weights,
    treatment: str,
    layers: tuple[int, ...],
    seed: int,
    reference: Weights | None = None,
) -> Weights:
    """Return the weights of the start: a checkpoint's weights with some layers treated.

    What is drawn for a layer depends on (seed, layer) alone, not on the span. `reference`
    holds the weights that `reference_of` names. The input stays as it is; the arrays of
    other layers are passed on, not copied. `+affine-reset` then sets the affine parameters
    of the treated layers' norms to 1 and 0; it does nothing in a network without norms.

    Raises ValueError where `refuse` gives a reason, or a reference is missing or doesn't fit.
    """
    name, suffixes = parse(treatment)
    reason = refuse(treatment, layers, _kernel_sizes(weights))
    if reason is not None:
        raise ValueError(f"treatment '{treatment}': {reason}")
    treated = registry.load("treatments", name).treat(
        weights, layers, lambda layer: randomness.stream("treatment", seed, layer), reference
    )
    return _reset_affine(treated, layers) if "affine-reset" in suffixes else treated


def _kernel_sizes(weights: Weights) -> tuple[int, ...]:
    depth = sum(name.startswith("layer") and name.endswith(".weight") for name in weights)
    return tuple(weights[f"layer{layer}.weight"].shape[-1] for layer in range(1, depth + 1))


def _reset_affine(weights: Weights, layers: tuple[int, ...]) -> Weights:
    reset = dict(weights)
    for layer in layers:
        if f"norm{layer}.weight" in weights:
            reset[f"norm{layer}.weight"] = np.ones_like(weights[f"norm{layer}.weight"])
            reset[f"norm{layer}.bias"] = np.zeros_like(weights[f"norm{layer}.bias"])
    return reset
