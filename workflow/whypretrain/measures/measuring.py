"""What every read-out of an arm is given: one seed's start, its initialisation and its final, and the images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from whypretrain.networks.building import build
from whypretrain.networks.card import Card
from whypretrain.networks.initialisation import head_of, without_head
from whypretrain.networks.network import Network, Weights, in_batches, reestimate_statistics
from whypretrain.randomness import stream
from whypretrain.training.data import TargetData
from whypretrain.training.moding import Mode

MOST_IMAGES = 1000  # whose features are read


@dataclass(frozen=True)
class Measured:
    """An arm with one seed at one learning rate.

    `start` is the start's weights, `initial` those of its source's epoch 0, `final` what training ended with.
    `source` is None for the untrained network. `normalisation` is what images were standardised by.
    """

    card: Card
    start: Weights
    initial: Weights
    final: Weights
    mode: Mode
    target: TargetData
    source: TargetData | None
    normalisation: Mapping[str, Any]
    seed: int
    device: torch.device

    def network(self, moment: str, images: str) -> Network:
        """Return the network at `start` or `final`, in evaluation mode, as it meets `target` or `source` images.

        On the target its norms' statistics are those that training begins or ends with; on the source they are
        re-estimated on the source's training images. The start has the final's head, which no read-out uses.
        """
        weights = self.final
        if moment == "start":
            weights = without_head(self.card, self.start, self.mode.layer) | head_of(self.card, self.final)
        network = build(self.card, self.target.classes, layer=self.mode.layer)
        network.load(weights)
        network.to(self.device)
        if images == "source" or (moment == "start" and not self.mode.source_norm):
            reestimate_statistics(network, self._data(images).images["train"])
        return network.eval()

    def _data(self, images: str) -> TargetData:
        data = self.source if images == "source" else self.target
        assert data is not None  # the source's are asked for where there is one
        return data

    def moments(self) -> Iterator[tuple[str, str]]:
        """Yield start and final on the target's images, and on the source's where there is a source."""
        for images in ("target", "source") if self.source else ("target",):
            for moment in ("start", "final"):
                yield moment, images

    def some(self, images: str, part: str, most: int = MOST_IMAGES) -> torch.Tensor:
        """Return the places of at most `most` images of a part, drawn once for each seed; sorted."""
        count = len(self._data(images).labels[part])
        drawn = stream("probe-images", self.seed, images, part).permutation(count)[:most]
        return torch.from_numpy(np.sort(drawn)).to(self.device)

    def features(self, moment: str, images: str, parts: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return penultimate features (n, d) and labels (n,) of some images of each part."""
        data, network = self._data(images), self.network(moment, images)
        chosen = {part: self.some(images, part) for part in parts}
        features = {p: in_batches(network.features, data.images[p][at]).cpu().numpy() for p, at in chosen.items()}
        return features, {part: data.labels[part][at].cpu().numpy() for part, at in chosen.items()}
