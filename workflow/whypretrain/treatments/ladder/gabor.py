"""Put hand-designed Gabor filters into layer 1.

Filter o, at the tap (x, y) from the centre and the input channel i, is

    c_i exp(-(x² + y²) / 2σ²) cos(2πf (x cos θ + y sin θ) + φ)

scaled to a norm of 1. Orientation θ in [0, π), phase φ in [0, 2π) and log f, f from one period per kernel to 0.4 cycles
per pixel, are spread evenly over the filters (a Latin hypercube: one filter in each of `out` equal parts of each range,
paired at random). The colour c is a random direction, so that filters respond to brightness and to colour contrasts. σ
gives a bandwidth of one octave, σ = 0.56 / f, but no more than a quarter of the kernel, so that the envelope fits. The
whole layer is then scaled to the standard deviation that its weights had.

Keeps nothing learnt in the layer but this one number; not its mean. Bias, affine parameters and statistics stay in
place. Needs kernels of 5x5 or more: smaller ones have no room for a period. "Synthetic Gabors" in the first layer are
an arm of Raghu et al., "Transfusion: Understanding Transfer Learning for Medical Imaging" (2019); the formula is
Daugman's, "Uncertainty relation for resolution in space, spatial frequency, and orientation optimized by
two-dimensional visual cortical filters" (1985).

The first layer may be a patch embedding; one that is grouped has the slices of its own group alone; linear, attention
and 1x1 weights are refused.
"""

import numpy as np

from whypretrain.networks.card import Card, Layer

SMALLEST_KERNEL = 5
HIGHEST_FREQUENCY = 0.4  # cycles per pixel; 0.5 is what a grid can hold
OCTAVE = 0.56  # σf for a half-response bandwidth of one octave: 3 sqrt(ln 2 / 2) / π


def refuse(layers: tuple[Layer, ...], card: Card) -> str | None:
    """Return why the span can't have Gabor filters, or None where it can."""
    if {layer.number for layer in layers} - {1}:
        return "Gabor filters are for layer 1 alone; allowed: only layer 1 in the span"
    kernel = card.layers[0].weight.kernel
    if layers and (len(kernel) < 2 or min(kernel) < SMALLEST_KERNEL):
        has = f"kernels of {'x'.join(map(str, kernel))}" if kernel else "no kernels"
        return f"layer 1 has {has}; Gabor filters need {SMALLEST_KERNEL}x{SMALLEST_KERNEL} or more"
    return None


def draw(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return Gabor filters in the place of a weight."""
    bank = _bank(weight.shape, generator)
    return (bank * (weight.std(dtype=np.float64) / bank.std())).astype(weight.dtype)


def _bank(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    filters, inputs, height, width = shape
    size = min(height, width)

    def spread() -> np.ndarray:
        parts = (generator.permutation(filters) + generator.random(filters)) / filters
        return parts[:, None, None]

    orientation = np.pi * spread()
    frequency = (HIGHEST_FREQUENCY * size) ** spread() / size
    phase = 2 * np.pi * spread()
    sigma = np.minimum(OCTAVE / frequency, size / 4)
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    along = x * np.cos(orientation) + y * np.sin(orientation)
    gabor = np.exp(-(x**2 + y**2) / (2 * sigma**2)) * np.cos(2 * np.pi * frequency * along + phase)
    colour = generator.standard_normal((filters, inputs))
    bank = colour[:, :, None, None] * gabor[:, None]
    return bank / np.sqrt((bank**2).sum(axis=(1, 2, 3), keepdims=True))
