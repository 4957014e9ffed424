"""Nothing is learnt here: the weights are those of a file, trained by somebody else, the same with every seed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from whypretrain.files.snapshots import UNKEPT, Progress
from whypretrain.networks.foreign import check_fit
from whypretrain.networks.models import Network
from whypretrain.training import loop as training
from whypretrain.training.pretraining import Learner, ReadOut, initial_weights, read_out, setting

ALONE = True  # one source at a time
ANNEALED = False
UNBRANCHED = "its weights come from a file"


def pretrain(
    spec: Mapping[str, Any], learners: Sequence[Learner], progress: Progress = UNKEPT
) -> Iterator[list[ReadOut]]:
    """Yield the source's own initialisation, and then the weights of the file, its start.

    Without a head they have no scores. Raises ValueError where they aren't those of the architecture.
    """
    (one,) = learners
    data = one.data
    device, described, _ = setting(spec)
    network = Network(described, data.classes)
    for epoch, weights in zip((0.0, spec["pretraining"]["checkpoints"][1]), (None, one.start), strict=True):
        if weights is None:
            weights = initial_weights(spec, one.seed, data.classes, None)
        check_fit(network, weights)
        network.to(device)
        scores: dict[str, float] = {}
        for part in ("train", "validation", "test") if "head.weight" in weights else ():
            score = training.evaluate(network, data.images[part], data.labels[part])
            scores |= {f"loss_{part}": score.loss, f"top1_{part}": score.top1}
        yield [read_out(epoch, 0, scores, weights)]
