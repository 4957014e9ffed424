"""The network as torch runs it, built from the description in `architectures`."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from whypretrain.architectures.convnet import Layer

Weights = dict[str, np.ndarray]


class Network(nn.Module):
    """Layers from the input on, global average pooling, and a linear head.

    Its tensors are named as in the files: `layer1.weight`, `norm1.running_var`, `head.bias`.
    """

    def __init__(self, layers: Sequence[Layer], classes: int) -> None:
        super().__init__()
        self.layers = tuple(layers)
        for layer in self.layers:
            convolution = nn.Conv2d(
                layer.inputs, layer.outputs, layer.kernel, padding=layer.kernel // 2, bias=not layer.norm
            )
            self.add_module(f"layer{layer.number}", convolution)
            if layer.norm:
                self.add_module(f"norm{layer.number}", nn.BatchNorm2d(layer.outputs))
        self.head = nn.Linear(self.layers[-1].outputs, classes)
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
        """Return the penultimate features (n, outputs of the last layer) of images, or of what layer `first` takes."""
        return self.outputs(images, first).mean((2, 3))

    def forward(self, images: Tensor, first: int = 1) -> Tensor:
        """Return the logits (n, classes) of images, or of what layer `first` takes."""
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


def weights_of(network: Network) -> Weights:
    """Return a copy of the network's weights and statistics as numpy arrays on the CPU."""
    return {
        name: tensor.detach().cpu().contiguous().numpy().copy()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


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
