"""Plain convolutional networks: convolution, norm, ReLU, here and there a pooling; a pooled linear head.

The description here needs no torch, so that a card is known at parse time; `plain` builds the network from it.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from whypretrain.networks.card import Card, Layer, Weight, norm_tensors


class Parameters(BaseModel):
    """A plain convnet as config describes it; layers are counted from 1 at the input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Literal["convnet"] = "convnet"
    widths: tuple[int, ...] = Field(min_length=1, description="Output channels of each convolution.")
    kernels: tuple[int, ...] = Field(min_length=1, description="Kernel size of each convolution, odd.")
    pool_after: tuple[int, ...] = Field((), description="Layers followed by 2x2 max pooling, stride 2.")
    norm: Literal["batch", "none"] = Field("batch", description="What stands between convolution and ReLU.")
    channels: int = Field(1, ge=1, description="Of its images: 1 for grey ones, 3 for colour.")

    @model_validator(mode="after")
    def _fits_together(self) -> "Parameters":
        if len(self.widths) != len(self.kernels):
            raise ValueError(f"{len(self.widths)} widths but {len(self.kernels)} kernels; give one of each a layer")
        if any(k < 1 or k % 2 == 0 for k in self.kernels):
            raise ValueError(f"kernels are {list(self.kernels)}; allowed: odd numbers from 1 up")
        if any(w < 1 for w in self.widths):
            raise ValueError(f"widths are {list(self.widths)}; allowed: numbers from 1 up")
        if bad := [n for n in self.pool_after if not 1 <= n <= len(self.widths)]:
            raise ValueError(f"pool_after names layer {bad[0]}; allowed: 1 to {len(self.widths)}")
        return self

    def shapes(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the shape (out, in, k, k) of each convolution, from the input on."""
        inputs = (self.channels, *self.widths[:-1])
        for out, taken, kernel in zip(self.widths, inputs, self.kernels, strict=True):
            yield out, taken, kernel, kernel


def card(parameters: Parameters) -> Card:
    """Return the card of a plain convnet; it has no size of its own."""
    layers = []
    for number, shape in enumerate(parameters.shapes(), 1):
        norms = (f"norm{number}",) if parameters.norm == "batch" else ()
        along = norm_tensors(norms[0], 4) if norms else (f"layer{number}.bias",)
        layers.append(Layer(number, number, (Weight(f"layer{number}.weight", shape, along=along, norms=norms),)))
    least = 2 ** len(set(parameters.pool_after))
    return Card(tuple(layers), "head", parameters.widths[-1], size=0, least=least, channels=parameters.channels)
