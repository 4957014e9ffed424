"""Which classes the trained network takes for which: its predictions on all test images of the target."""

import numpy as np

from whypretrain.measures.measuring import Measured
from whypretrain.training.data import Rows
from whypretrain.training.loop import evaluate


def read_out(measured: Measured) -> Rows:
    """Yield a row for each class and each prediction, with the number of test images; classes in the task's order."""
    data = measured.target
    found = evaluate(measured.network("final", "target"), data.images["test"], data.labels["test"])
    counts = np.zeros((data.classes, data.classes), np.int64)
    np.add.at(counts, (data.labels["test"].cpu().numpy(), found.predictions), 1)
    for (label, prediction), images in np.ndenumerate(counts):
        yield {"label": label, "prediction": prediction, "images": int(images)}
