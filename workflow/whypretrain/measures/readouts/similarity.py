"""How far each layer moved in target training: relative L2 and kernel cosine of its weights, CKA of its activations."""

from whypretrain.measures.comparing import MOST_IMAGES, compare_layers
from whypretrain.measures.measuring import Measured
from whypretrain.training.data import Rows


def read_out(measured: Measured) -> Rows:
    """Yield a row for each layer, start against final, activations on up to 500 of the target's test images."""
    start, final = (measured.network(moment, "target") for moment in ("start", "final"))
    images = measured.target.images["test"][measured.some("target", "test", MOST_IMAGES)]
    yield from compare_layers(start, final, images, measured.seed)
