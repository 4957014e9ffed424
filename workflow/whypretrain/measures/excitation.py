"""What excites a unit: the window of the image that it sees, the images that excite it most, an image made to do so.

A unit is a channel of a layer at one place of its map; its activation is read after the nonlinearity and before
pooling. Layers that give no map (n, c, h, w), as those of transformers, have no units here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from whypretrain.networks.network import Network, batch_of
from whypretrain.networks.tracing import Place

STEPS = 64
STEP = 0.3  # how far a step moves the pixel that matters most, in standard deviations of the normalisation
DECAY = 0.01  # share of each pixel's distance to the mean grey that a step takes off (L2)
BLUR = 0.4  # standard deviation of the Gaussian after each step, pixels
LEAK = 0.01  # share of a gradient that passes where ReLU would block it
NOISE = 0.1  # standard deviation of the first image about the mean grey, in those of the normalisation

NEITHER = (nn.ReLU, _BatchNorm, nn.LayerNorm, nn.GroupNorm)  # nonlinearity nor norm changes what a unit sees

Window = tuple[int, int, int, int]  # first and past-the-last row, first and past-the-last column


class Unit(NamedTuple):
    """A channel, counted from 0, of a layer, counted from 1, at one place (row, column) of the layer's map."""

    layer: int
    channel: int
    row: int
    column: int


def maps(network: Network, images: Tensor) -> dict[int, tuple[int, int, int]]:
    """Return channels, height and width of the map of each layer that gives one, before pooling."""
    traced = network.traced(images)
    shapes = {number: traced.shapes[traced.activations[number]] for number in range(1, network.card.depth + 1)}
    return {number: shape[1:] for number, shape in shapes.items() if len(shape) == 4}


@contextmanager
def _instead(network: Network, kinds: Any, forward: Callable[[nn.Module, Tensor], Tensor]) -> Iterator[None]:
    """Let all modules of a kind compute something else within this."""
    changed = [each for each in network.module.modules() if isinstance(each, kinds)]
    for module in changed:
        module.forward = partial(forward, module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


# --- what a unit sees ----------------------------------------------------------------------


def windows(network: Network, images: Tensor) -> Callable[[Unit], Window]:
    """Return a function that gives the window of images of a size that a unit sees.

    It is where the unit's gradient isn't zero in a network of the same shape, with positive weights, no norms, averages
    in the place of maxima, and no nonlinearity. What lies beyond a map's edge is padding, and is cut off. The network's
    weights are overwritten.
    """
    for name, parameter in network.module.named_parameters():
        own = 0.0 if name.endswith("bias") else 1.0
        parameter.data.fill_(1 / parameter[0].numel() if network.is_decaying(name) else own)
    places, one = network.traced(images).activations, torch.ones_like(images[:1])

    @cache
    def seen(layer: int, row: int, column: int) -> Window:
        image = one.clone().requires_grad_(True)
        with (
            _instead(network.eval(), nn.MaxPool2d, _average),
            _instead(network, NEITHER, lambda module, x: x),
        ):
            activation = network.until(places[layer], image)
        (gradient,) = torch.autograd.grad(activation[0, :, row, column].sum(), image)
        rows, columns = gradient[0].abs().sum(0).nonzero(as_tuple=True)
        return int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1

    return lambda unit: seen(unit.layer, unit.row, unit.column)


def _average(module: nn.Module, x: Tensor) -> Tensor:
    """Return the average where a pooling takes the maximum."""
    assert isinstance(module, nn.MaxPool2d)
    return functional.avg_pool2d(x, module.kernel_size, module.stride, module.padding, module.ceil_mode)


# --- images that are there ------------------------------------------------------------------


@torch.no_grad()
def peaks(network: Network, images: Tensor, channels: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return by layer the largest activation (n, c) of the first channels on each image, and its place (n, c, 2).

    A place is row and column in the layer's map, the first of equal ones; `c` is at most `channels`.
    """
    layers, read, found = maps(network, images), network.traced(images).activations, []
    network.eval()
    for batch in images.split(batch_of(images)):
        given = network.read([read[number] for number in layers], batch)
        found.append([each[:, :channels].flatten(2).max(2) for each in given])
    peaks = {}
    for (number, (_, _, width)), parts in zip(layers.items(), zip(*found, strict=True), strict=True):
        values, at = (torch.cat(each).cpu().numpy() for each in zip(*parts, strict=True))
        peaks[number] = values, np.stack(np.divmod(at, width), axis=2)
    return peaks


def strongest(values: np.ndarray, most: int) -> np.ndarray:
    """Return the places in `values` (n,) of the largest positive ones, at most so many, the largest first.

    Of equal ones the first comes first.
    """
    order = np.argsort(-values, kind="stable")[:most]
    return order[values[order] > 0]


# --- an image made for it --------------------------------------------------------------------


def responses(network: Network, images: Tensor, units: Sequence[Unit]) -> Tensor:
    """Return what each image's own unit gives before its nonlinearity: of image k (n, c, h, w) that of unit k.

    Units must stand in the order of their layers. Values are exact, gradients leak through ReLU by the share LEAK: an
    image on which all units below are silent would have none (after the redirected ReLU of Olah et al. 2017).
    """
    found = []
    for layer in sorted({unit.layer for unit in units}):
        here = [place for place, unit in enumerate(units) if unit.layer == layer]
        channel, row, column = ([getattr(units[k], axis) for k in here] for axis in ("channel", "row", "column"))
        with _instead(network, nn.ReLU, _leaky):
            activation = network.until(_before_nonlinearity(network, layer), images[here])
        found.append(activation[list(range(len(here))), channel, row, column])
    return torch.cat(found)


def _before_nonlinearity(network: Network, layer: int) -> Place:
    """Return where a layer's trunk weight, with its norm, gives what the nonlinearity takes."""
    weight = network.card.layer(layer).weight
    return Place(weight.norms[0] if weight.norms else weight.name.rpartition(".")[0], 0)


def _leaky(module: nn.Module, x: Tensor) -> Tensor:
    leaky = functional.leaky_relu(x, LEAK)
    return leaky + (functional.relu(x) - leaky).detach()


def _blur(images: Tensor) -> Tensor:
    """Return images blurred by a Gaussian of three pixels, edges repeated."""
    side = float(np.exp(-0.5 / BLUR**2))
    line = torch.tensor([side, 1.0, side], device=images.device) / (1 + 2 * side)
    kernel = torch.outer(line, line).expand(images.shape[1], 1, 3, 3)
    return functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=images.shape[1])


def maximise(
    network: Network, units: Sequence[Unit], first: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, np.ndarray]:
    """Return an image for each unit that gradient ascent made from `first` (c, h, w), and its activation (n,).

    Activation maximisation (Erhan et al. 2009) with the regularisers of Yosinski et al. 2015 ("Understanding neural
    networks through deep visualization", section 3): after each of STEPS steps of ascent on `responses`, L2 decay
    towards the mean grey and a Gaussian blur; pixels are kept between `low` and `high` (c, 1, 1), black and white, as
    Mahendran & Vedaldi 2016 bound them. A gradient is divided by its largest entry, so that units of any scale move
    alike. Of all images along the way the one with the largest activation is returned. `units` must stand in the order
    of their layers; the network is to be in evaluation mode, and its parameters take no gradients afterwards.
    """
    network.requires_grad_(False)
    images = first.expand(len(units), *first.shape).clone(memory_format=torch.channels_last)
    best, most = images.clone(), torch.full((len(units),), -torch.inf, device=images.device)
    for step in range(STEPS + 1):
        images.requires_grad_(True)
        found = responses(network, images, units)
        gradient = torch.autograd.grad(found.sum(), images)[0] if step < STEPS else torch.zeros_like(images)
        images, found = images.detach(), found.detach()
        better = found > most
        best[better], most[better] = images[better], found[better]
        scale = gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        images = torch.clamp(_blur((1 - DECAY) * (images + STEP * gradient / scale)), low, high)
    return best, most.clamp(min=0).cpu().numpy()
