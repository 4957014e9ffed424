"""The network as torch runs it, built from the description in `architectures`."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from whypretrain.networks.convnet import Layer

Weights = dict[str, np.ndarray]


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


class Network(nn.Module):
    """Layers from the input on, global average pooling, and a linear head; or several copies of that side by side.

    Its tensors are named as in the files: `layer1.weight`, `norm1.running_var`, `head.bias`. Those of the copies lie
    one after another along the first dimension, so `tensor.chunk(copies)` are each one's own. Copies take nothing from
    each other, whatever values they have.
    """

    def __init__(self, layers: Sequence[Layer], classes: int, copies: int = 1) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.copies = copies
        for layer in self.layers:
            inputs, outputs, side = copies * layer.inputs, copies * layer.outputs, layer.kernel
            self.add_module(
                f"layer{layer.number}",
                Convolution(inputs, outputs, side, padding=side // 2, groups=copies, bias=not layer.norm),
            )
            if layer.norm:
                self.add_module(f"norm{layer.number}", nn.BatchNorm2d(outputs))
        self.head = Head(self.layers[-1].outputs, classes, copies)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def outputs(self, x: Tensor, first: int = 1, last: int | None = None) -> Tensor:
        """Return what layer `last` gives, after pooling and ReLU, for what layer `first` takes (n, c, h, w).

        Without `last` it is the last layer of all; where `last` is before `first` it is `x` itself.
        """
        for layer in self.layers[first - 1 : last]:
            x = self.get_submodule(f"layer{layer.number}")(x)
            if layer.norm:
                x = self.get_submodule(f"norm{layer.number}")(x)
            if layer.pool:  # before ReLU: the same values, a quarter of the work
                x = functional.max_pool2d(x, 2)
            x = functional.relu(x, inplace=True)
        return x

    def features(self, images: Tensor, first: int = 1) -> Tensor:
        """Return the penultimate features (n, outputs of the last layer) of images, or of what layer `first` takes.

        Those of several copies stand side by side in each row.
        """
        return self.outputs(images, first).mean((2, 3))

    def forward(self, images: Tensor, first: int = 1) -> Tensor:
        """Return the logits (n, classes) of images, or of what layer `first` takes; one copy's after another's."""
        return self.head(self.features(images, first))

    def parameters_from(self, first: int) -> Iterator[nn.Parameter]:
        """Yield the parameters of layer `first`, of the layers above it, and of the head."""
        for layer in self.layers[first - 1 :]:
            yield from self.get_submodule(f"layer{layer.number}").parameters()
            if layer.norm:
                yield from self.get_submodule(f"norm{layer.number}").parameters()
        yield from self.head.parameters()


def load_weights(network: Network, weights: Weights) -> None:
    """Put numpy weights into the network; every tensor must be there, and no other."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"the weights don't fit the network: missing {missing}, unexpected {unexpected}")


def first_layers(weights: Weights, depth: int | None) -> Weights:
    """Return the arrays of the first `depth` layers and their norms, without a head; of all layers for None."""
    body = {name: array for name, array in weights.items() if not name.startswith("head.")}
    if depth is None:
        return body
    kept = tuple(f"{part}{number}." for part in ("layer", "norm") for number in range(1, depth + 1))
    return {name: array for name, array in body.items() if name.startswith(kept)}


def weights_of(network: Network, copy: int | None = None) -> Weights:
    """Return the network's weights and statistics, or those of one of its copies, as numpy arrays of their own."""
    return {
        name: (tensor if copy is None else tensor.chunk(network.copies)[copy]).cpu().contiguous().numpy().copy()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def side_by_side(networks: Sequence[Network]) -> Network:
    """Return networks of one architecture as the copies of one; a single one as it is."""
    first, *others = networks
    if not others:
        return first
    whole = Network(first.layers, first.head.out_features, len(networks))
    weights = [weights_of(network) for network in networks]
    load_weights(whole, {name: np.concatenate([own[name] for own in weights]) for name in weights[0]})
    return whole.to(first.head.weight.device).train(first.training)


def batch_norms(network: Network) -> Iterator[nn.BatchNorm2d]:
    """Yield the norms from the input on."""
    return (module for module in network.modules() if isinstance(module, nn.BatchNorm2d))


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], inputs: Tensor, batch_size: int = 256) -> Tensor:
    """Return a function's outputs for all inputs, computed batch by batch without gradients."""
    return torch.cat([function(batch) for batch in inputs.split(batch_size)])


@torch.no_grad()
def reestimate_statistics(network: Network, images: Tensor, batch_size: int = 256) -> None:
    """Replace the norms' running statistics by those of the images, in one cumulative pass.

    As REPAIR resets them (Jordan et al. 2023): reset, average over batches, no gradients. Batches are
    drawn at random, always the same way, and as equal as can be: images come sorted by class, and a batch
    of one class has another spread than all of them. A network without norm is left as it is.
    """
    norms = list(batch_norms(network))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    if norms:
        order = torch.from_numpy(np.random.default_rng(0).permutation(len(images))).to(images.device)
        for batch in order.tensor_split(-(-len(images) // batch_size)):
            network.features(images[batch])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
