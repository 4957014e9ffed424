"""What excites a unit: the window of the image that it sees, the images that excite it most, an image made to do so.

A unit is a channel of a layer at one place of its map; its activation is read after ReLU and before pooling.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from whypretrain.networks.activations import layer_activations
from whypretrain.networks.convnet import Layer
from whypretrain.networks.models import Network

STEPS = 64
STEP = 0.3  # how far a step moves the pixel that matters most, in standard deviations of the normalisation
DECAY = 0.01  # share of each pixel's distance to the mean grey that a step takes off (L2)
BLUR = 0.4  # standard deviation of the Gaussian after each step, pixels
LEAK = 0.01  # share of a gradient that passes where ReLU would block it
NOISE = 0.1  # standard deviation of the first image about the mean grey, in those of the normalisation


@dataclass(frozen=True)
class Unit:
    """A channel, counted from 0, of a layer, counted from 1, at one place (row, column) of the layer's map."""

    layer: int
    channel: int
    row: int
    column: int


# --- what a unit sees ----------------------------------------------------------------------


def map_sizes(layers: Sequence[Layer], size: int) -> list[int]:
    """Return the height (or width) of each layer's map before pooling, for images of that height (or width)."""
    sizes = []
    for layer in layers:
        sizes.append(size)
        if layer.pool:
            size //= 2
    return sizes


def window(layers: Sequence[Layer], number: int, place: int, size: int) -> tuple[int, int]:
    """Return along one axis the first pixel that a unit of layer `number` sees, and the one after the last.

    `place` is the unit's row (or column) in its layer's map, `size` the image's height (or width). Kernels reach half
    their size to both sides and 2x2 poolings double; what lies beyond a map's edge is padding, and is cut off.
    """
    sizes = map_sizes(layers, size)
    first = last = place
    for layer in reversed(layers[:number]):
        if layer.pool and layer.number < number:
            first, last = 2 * first, 2 * last + 1
        reach = layer.kernel // 2
        first, last = max(first - reach, 0), min(last + reach, sizes[layer.number - 1] - 1)
    return first, last + 1


# --- images that are there ------------------------------------------------------------------


def peaks(
    network: Network, images: Tensor, channels: int, batch_size: int = 256
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return by layer the largest activation (n, c) of the first channels on each image, and its place (n, c, 2).

    A place is row and column in the layer's map, the first of equal ones; `c` is at most `channels`.
    """
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {layer.number: [] for layer in network.layers}
    for batch in images.split(batch_size):
        for number, activation in layer_activations(network, batch):
            values, at = activation[:, :channels].flatten(2).max(2)
            places = np.stack(np.divmod(at.cpu().numpy(), activation.shape[3]), axis=2)
            found[number].append((values.cpu().numpy(), places))
    return {
        number: (np.concatenate([values for values, _ in parts]), np.concatenate([places for _, places in parts]))
        for number, parts in found.items()
    }


def strongest(values: np.ndarray, most: int) -> np.ndarray:
    """Return the places in `values` (n,) of the largest positive ones, at most so many, the largest first.

    Of equal ones the first comes first.
    """
    order = np.argsort(-values, kind="stable")[:most]
    return order[values[order] > 0]


# --- an image made for it --------------------------------------------------------------------


def responses(network: Network, images: Tensor, units: Sequence[Unit]) -> Tensor:
    """Return what each image's own unit gives before ReLU: image k (n, c, h, w) goes as far as unit k's layer.

    Units must stand in the order of their layers. Values are exact, gradients leak through ReLU by the share LEAK: an
    image on which all units below are silent would have none (after the redirected ReLU of Olah et al. 2017).
    """
    found = []
    x, left = images, list(units)
    for layer in network.layers:
        x = network.get_submodule(f"layer{layer.number}")(x)
        if layer.norm:
            x = network.get_submodule(f"norm{layer.number}")(x)
        here = [unit for unit in left if unit.layer == layer.number]
        if here:
            channel, row, column = ([getattr(u, axis) for u in here] for axis in ("channel", "row", "column"))
            found.append(x[list(range(len(here))), channel, row, column])
            x, left = x[len(here) :], left[len(here) :]
        if not left:
            break
        if layer.pool:
            x = functional.max_pool2d(x, 2)
        leaky = functional.leaky_relu(x, LEAK)
        x = leaky + (functional.relu(x) - leaky).detach()
    return torch.cat(found)


def _blur(images: Tensor) -> Tensor:
    """Return images blurred by a Gaussian of three pixels, edges repeated."""
    side = float(np.exp(-0.5 / BLUR**2))
    line = torch.tensor([side, 1.0, side], device=images.device) / (1 + 2 * side)
    kernel = torch.outer(line, line).expand(images.shape[1], 1, 3, 3)
    return functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=images.shape[1])


def maximise(
    network: Network, units: Sequence[Unit], first: Tensor, low: float, high: float
) -> tuple[Tensor, np.ndarray]:
    """Return an image for each unit that gradient ascent made from `first` (c, h, w), and its activation (n,).

    Activation maximisation (Erhan et al. 2009) with the regularisers of Yosinski et al. 2015 ("Understanding neural
    networks through deep visualization", section 3): after each of STEPS steps of ascent on what the unit gives before
    ReLU, L2 decay towards the mean grey (0 in standardised pixels) by the share DECAY and a Gaussian blur of BLUR
    pixels; pixels are kept between `low` and `high`, black and white, as Mahendran & Vedaldi 2016 bound them. A
    gradient (that of `responses`) is divided by its largest entry, so that units of any scale move by STEP. Of all
    images along the way, the first included, the one with the largest activation is returned. `units` must stand in
    the order of their layers; the network is to be in evaluation mode, and its parameters take no gradients afterwards.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(False)
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
        images = _blur((1 - DECAY) * (images + STEP * gradient / scale)).clamp(low, high)
    return best, most.clamp(min=0).cpu().numpy()
