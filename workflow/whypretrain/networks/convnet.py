"""Plain convolutional networks: convolution, norm, ReLU, here and there a pooling; a pooled linear head.

The description here needs no torch, so that depth and shapes are known at parse time;
`whypretrain.networks.models` builds the network from it.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Parameters(BaseModel):
    """A plain convnet as config describes it; layers are counted from 1 at the input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    widths: tuple[int, ...] = Field(min_length=1, description="Output channels of each convolution.")
    kernels: tuple[int, ...] = Field(min_length=1, description="Kernel size of each convolution, odd.")
    pool_after: tuple[int, ...] = Field((), description="Layers followed by 2x2 max pooling, stride 2.")
    norm: Literal["batch", "none"] = Field("batch", description="What stands between convolution and ReLU.")

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


@dataclass(frozen=True)
class Layer:
    """One convolution with what follows it; its weight has shape (outputs, inputs, kernel, kernel)."""

    number: int
    inputs: int
    outputs: int
    kernel: int
    norm: bool
    pool: bool


def layers(parameters: Parameters, channels: int = 1) -> tuple[Layer, ...]:
    """Return the layers from the input on; `channels` is that of the images."""
    inputs = (channels, *parameters.widths[:-1])
    return tuple(
        Layer(n, i, o, k, norm=parameters.norm == "batch", pool=n in parameters.pool_after)
        for n, (i, o, k) in enumerate(zip(inputs, parameters.widths, parameters.kernels, strict=True), start=1)
    )


def smallest_size(parameters: Parameters) -> int:
    """Return the least image size that survives all poolings."""
    return 2 ** len(set(parameters.pool_after))
