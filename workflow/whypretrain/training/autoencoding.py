"""Greedy layer-wise unsupervised pre-training: layer after layer, an autoencoder of what the layer takes.

Bengio, Lamblin, Popovici, Larochelle, "Greedy Layer-Wise Training of Deep Networks" (NeurIPS 2006), section 4, with
convolutions as in Masci, Meier, Cireşan, Schmidhuber, "Stacked Convolutional Auto-Encoders for Hierarchical Feature
Extraction" (ICANN 2011); here the decoder's weights are its own, and the layers are not trained together afterwards.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from whypretrain.files.snapshots import UNKEPT, Progress, State
from whypretrain.networks.building import build
from whypretrain.networks.card import Card, Layer
from whypretrain.networks.initialisation import without_head
from whypretrain.networks.network import Weights, in_batches, reestimate
from whypretrain.randomness import stream
from whypretrain.training import loop as training
from whypretrain.training import schedules
from whypretrain.training.pretraining import Learner, ReadOut, initial_weights, read_out

log = logging.getLogger("whypretrain")

Parts = Mapping[str, Tensor]


class Autoencoder(nn.Module):
    """One layer of a plain convnet, with what follows its convolution, and a decoder that gives back what it takes.

    The decoder is a transposed convolution of the layer's kernel size, without a nonlinearity; what was pooled is
    first enlarged to the size of the input by repeating the nearest value. Before it learns the decoder says the
    channels' means of the input whatever the layer gives: an error of the input's whole variance, and nothing random.
    """

    def __init__(self, card: Card, layer: Layer, weights: Weights, means: Tensor) -> None:
        super().__init__()
        self.layer = layer
        modules = dict(build(card, classes=1).module.named_children())
        names = [name for part in ("layer", "norm", "relu", "pool") if (name := f"{part}{layer.number}") in modules]
        self.encoder = nn.Sequential(OrderedDict((name, modules[name]) for name in names))
        own = {name: torch.from_numpy(np.array(weights[name])) for name in layer.tensors}
        self.encoder.load_state_dict(own, strict=False)  # it counts batches, and weights don't
        outputs, inputs, kernel, _ = layer.weight.shape
        self.decoder = nn.ConvTranspose2d(outputs, inputs, kernel, padding=kernel // 2)
        assert self.decoder.bias is not None  # it has one where it isn't told otherwise
        with torch.no_grad():
            self.decoder.weight.zero_()
            self.decoder.bias.copy_(means)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the reconstruction of what the layer takes, (n, inputs, h, w) as it is."""
        outputs = self.encoder(inputs)
        if f"pool{self.layer.number}" in dict(self.encoder.named_children()):
            outputs = functional.interpolate(outputs, size=inputs.shape[-2:], mode="nearest")
        return self.decoder(outputs)

    def layer_weights(self) -> Weights:
        """Return the layer's weights and statistics, without the decoder."""
        state = self.encoder.state_dict()
        return {name: state[name].cpu().contiguous().numpy().copy() for name in self.layer.tensors}

    def reestimate(self, inputs: Tensor) -> None:
        """Re-estimate the norm's statistics on some inputs."""
        self.eval()
        reestimate([each for each in self.encoder if isinstance(each, nn.BatchNorm2d)], self.encoder, inputs)

    def state(self) -> Weights:
        """Return all parameters and statistics, the decoder's too."""
        return {f"model.{name}": tensor.cpu().numpy().copy() for name, tensor in self.state_dict().items()}

    def restore(self, arrays: Weights) -> None:
        """Put a state back."""
        self.load_state_dict({name: torch.from_numpy(arrays[f"model.{name}"]) for name in self.state_dict()})


def spread(inputs: Tensor) -> float:
    """Return the variance of inputs (n, c, h, w) about their channels' means: the error of saying those alone."""
    return float(inputs.var((0, 2, 3), unbiased=False).mean())


@torch.no_grad()
def reconstruction_error(model: nn.Module, inputs: Tensor, variance: float) -> float:
    """Return the mean squared error of reconstructing the inputs, over a variance; the model is put to evaluation."""
    model.eval()
    squares = in_batches(lambda batch: (model(batch) - batch).double().square().sum((1, 2, 3)), inputs)
    return float(squares.sum()) / inputs.numel() / variance


def _scores(model: Autoencoder, inputs: Parts, variance: float) -> dict[str, float]:
    """Read the errors out with the norm's statistics re-estimated on the training images; these stay."""
    model.reestimate(inputs["train"])
    errors = {f"reconstruction_{part}": reconstruction_error(model, inputs[part], variance) for part in inputs}
    return {"layer": float(model.layer.number), **errors}


def _schedule(settings: Mapping[str, Any], a_pass: int, steps: int) -> Callable[[int], float]:
    """Return a layer's schedule: warm-up, constant, and at its end a branch to zero within its own steps."""
    share = settings["anneal_share"]
    decay = round(steps * share / (1 + share))  # `anneal_share` is of what comes before the branch
    warmup = min(round(settings["warmup_epochs"] * a_pass), steps - decay)
    return schedules.warmup_constant_linear(settings["learning_rate"], warmup, decay, steps)


def pretrain(
    spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT
) -> Iterator[list[ReadOut]]:
    """Yield the read-outs of a source, one learner, that learns to reconstruct, layer after layer from the input.

    The epochs of the last checkpoint are shared evenly by the layers. A layer takes the outputs of the layers below,
    which stay fixed, in evaluation mode, with the norms' statistics re-estimated on the training images. Rows come
    before each layer learns, at every whole pass, at checkpoints and at each layer's end; their errors are on all
    images of a part, in evaluation mode. Weights have no head; layers not yet reached are the initialisation, or the
    parent's. Raises ValueError for a source that diverges, whose layers die, or that has fewer steps than layers, and
    as `schedules.checkpoint_steps` does.
    """
    (one,) = learners
    settings, described, inputs = spec["pretraining"], one.card.layers, one.data.images
    images, size = len(inputs["train"]), settings["batch_size"]
    a_pass = schedules.steps_per_pass(images, size)
    marks = schedules.checkpoint_steps(settings["checkpoints"], images, size)
    weights = without_head(one.card, initial_weights(one, spec["source"]))
    stopped = progress.state()
    if stopped:  # the layers that were done are as they ended
        weights |= {key: stopped.arrays[f"source.{key}"] for key in weights}
    done = 0
    for layer, end in zip(described, schedules.layer_ends(max(marks), len(described)), strict=True):
        taken = inputs["train"]
        model = Autoencoder(one.card, layer, weights, taken.mean((0, 2, 3))).to(taken.device)
        if stopped and stopped.values["layer"] > layer.number:
            inputs, done = _outputs(model.eval(), inputs), end
            continue
        variance = spread(taken)
        if not variance > 0:
            raise ValueError(
                f"layer {layer.number} takes the same values everywhere, there is nothing to reconstruct: the layers "
                "below have died; give its pretraining a lower learning_rate"
            )
        learning = dict(model.named_parameters())
        decaying = {name for name, parameter in learning.items() if parameter.ndim > 1}
        # clipped as networks without norm are: no decoder has one
        descent = training.Descent(learning, decaying.__contains__, settings["weight_decay"], clip=True)
        if stopped:
            model.restore(stopped.arrays)
            descent.restore(stopped.arrays)
        else:
            scores = _scores(model, inputs, variance)
            yield [read_out(marks.get(done, done / a_pass), done, scores, None if done else dict(weights))]
        first = stopped.values["step"] if stopped else done
        rate = _schedule(settings, a_pass, end - done)
        order = stream("source-order", one.seed, one.card.name, spec["source"], f"layer-{layer.number}")
        batches = islice(training.batches(len(taken), size, order), first - done, None)
        for step, batch in zip(range(first + 1, end + 1), batches, strict=False):
            model.train()
            drawn = taken[torch.from_numpy(batch).to(taken.device)]
            # in units of the variance, so that one learning rate is of a like strength in all layers
            loss = functional.mse_loss(model(drawn), drawn) / variance
            descent.forget_gradients()
            loss.backward()
            descent.step(rate(step - done))
            if step in marks or step % a_pass == 0 or step == end:
                scores, epoch = _scores(model, inputs, variance), marks.get(step, step / a_pass)
                log.info(
                    "epoch %g step %d: layer %d of %d, reconstruction error train %.3f, validation %.3f",
                    *(epoch, step, layer.number, len(described)),
                    *(scores["reconstruction_train"], scores["reconstruction_validation"]),
                )
                yield [read_out(epoch, step, scores, weights | model.layer_weights() if step in marks else None)]
            if step < end:
                progress.offer(partial(_state, weights, model, descent, layer.number, step))
        weights, done, stopped = weights | model.layer_weights(), end, None
        if layer is not described[-1]:
            inputs = _outputs(model, inputs)


def _outputs(model: Autoencoder, inputs: Parts) -> dict[str, Tensor]:
    return {part: in_batches(model.encoder, taken) for part, taken in inputs.items()}


def _state(weights: Weights, model: Autoencoder, descent: training.Descent, layer: int, step: int) -> State:
    done = {f"source.{name}": array for name, array in weights.items()}
    return State({**done, **model.state(), **descent.state()}, {"layer": layer, "step": step})
