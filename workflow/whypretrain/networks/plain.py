"""The plain convnet as torch runs it: one network, or several copies of it side by side."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from whypretrain.networks.convnet import Parameters


class Convolution(nn.Conv2d):
    """The convolutions of several copies as one, in groups: one for each set of channels that copies share.

    The channels are each copy's own above the first layer that learns. What that layer takes, copies of one seed share.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, copies · outputs, h, w) of (n, sets · inputs, h, w)."""
        groups = x.shape[1] // self.weight.shape[1]
        return functional.conv2d(x, self.weight, self.bias, padding=self.padding, groups=groups)


class Head(nn.Linear):
    """The linear heads of several copies as one batched product."""

    def __init__(self, features: int, classes: int, copies: int) -> None:
        super().__init__(features, copies * classes)
        self.copies = copies

    def forward(self, features: Tensor) -> Tensor:
        """Return (copies · n, classes), all images of one copy after all of another, of (n, sets · features)."""
        if self.copies == 1:
            return super().forward(features)
        sets = features.unflatten(1, (-1, self.in_features)).transpose(0, 1)
        own = sets.repeat_interleave(self.copies // len(sets), 0)
        weight, bias = (parameter.unflatten(0, (self.copies, -1)) for parameter in (self.weight, self.bias))
        return torch.baddbmm(bias[:, None], own, weight.mT).flatten(0, 1)


class PlainNetwork(nn.Module):
    """Layers from the input on, global average pooling, and a linear head; or several copies of that side by side.

    The tensors of the copies lie one after another along the first dimension, so `tensor.chunk(copies)` are each one's
    own. Copies take nothing from each other, whatever values they have.
    """

    def __init__(self, parameters: Parameters, classes: int, copies: int = 1) -> None:
        super().__init__()
        batch = parameters.norm == "batch"
        for number, (out, taken, kernel, _) in enumerate(parameters.shapes(), 1):
            convolution = Convolution(
                copies * taken, copies * out, kernel, padding=kernel // 2, groups=copies, bias=not batch
            )
            self.add_module(f"layer{number}", convolution)
            if batch:
                self.add_module(f"norm{number}", nn.BatchNorm2d(copies * out))
            self.add_module(f"relu{number}", nn.ReLU(inplace=True))
            if number in parameters.pool_after:
                self.add_module(f"pool{number}", nn.MaxPool2d(2))
        self._chain = [module for name, module in self.named_children()]
        self.head = Head(parameters.widths[-1], classes, copies)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) of images (n, c, h, w); of copies those of one after those of another."""
        for module in self._chain:
            x = module(x)
        return self.head(x.mean((2, 3)))
