"""Published accuracies through the code that judges ours: top-1 (%) of the networks of Yosinski et al. (2014).

tests/data/yosinski2014.csv is read from the public logs of Yosinski, Clune, Bengio and Lipson, *How transferable are
features in deep neural networks?*, NIPS 2014 (github.com/yosinski/convnet_transfer): the mean of the 10 best validation
scores of a run. A split of the classes stands in for a seed.
"""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from whypretrain.evidence import values
from whypretrain.evidence.statistics import interval, one_sample
from whypretrain.evidence.values import Values

TABLE = pd.read_csv(ROOT / "tests/data/yosinski2014.csv")
BASE = TABLE[(TABLE["arm"] == "base") & TABLE["split"].isin(["0", "1", "2", "3"])]
KEPT = {1: "1-7", 3: "3-7", 5: "5-7"}  # numbers of layers over which the paper's Table 1 averages, by the first


def by_split(rows: pd.DataFrame) -> Values:
    return {int(split): float(top1) for split, top1 in zip(rows["split"], rows["top1"], strict=True)}


def tuned(source: str, target: str) -> dict[int, Values]:
    """Copied and fine-tuned: top-1 by number of layers, then by split."""
    rows = TABLE[(TABLE["arm"] == "finetuned") & (TABLE["source"] == source) & (TABLE["target"] == target)]
    return {n: by_split(group) for n, group in rows.groupby("n")}


def paired(curve: dict[int, Values], target: str, least: int) -> float:
    """Return the mean over numbers of layers of the gain over the base network of the same half."""
    base = by_split(BASE[BASE["target"] == target])
    gains = []
    for n, found in curve.items():
        if n >= least:
            gains += list(values.paired(found, base).values())
    return interval(gains).mean


@pytest.mark.parametrize(("least", "printed", "expected"), [(1, 1.6, 1.60), (3, 1.8, 1.80), (5, 2.1, 2.06)])
def test_the_published_gain_is_that_over_the_mean_of_all_base_networks(least: int, printed: float, expected: float):
    tops = [top1 for n, found in tuned("A", "B").items() if n >= least for top1 in found.values()]
    gain = interval(tops).mean - interval(BASE["top1"]).mean
    assert gain == pytest.approx(expected, abs=0.005)
    assert round(gain, 1) == printed


@pytest.mark.parametrize(("least", "transferred", "own"), [(1, 0.97, 0.97), (3, 1.16, 1.10), (5, 1.16, 1.01)])
def test_paired_by_target_another_tasks_layers_gain_as_much_as_ones_own(least: int, transferred: float, own: float):
    assert paired(tuned("A", "B"), "B", least) == pytest.approx(transferred, abs=0.005)
    assert paired(tuned("A", "A"), "A", least) == pytest.approx(own, abs=0.005)


def test_frozen_layers_lose_by_co_adaptation_in_the_middle_and_by_specificity_at_the_end():
    """Paired by half, which the paper doesn't do: four splits, and SDs of 0.05 to 0.4 points."""
    frozen = TABLE[(TABLE["arm"] == "frozen") & (TABLE["target"] == "A")]
    curves = {(source, int(n)): by_split(rows) for (source, n), rows in frozen.groupby(["source", "n"])}
    base = by_split(BASE[BASE["target"] == "A"])

    def lost(of: Values, minus: Values) -> np.ndarray:
        return np.array(list(values.combined([of], [minus]).values()))

    co_adapted, specific = lost(curves["A", 5], base), lost(curves["B", 7], curves["A", 7])
    for found, mean in ((co_adapted, -2.97), (specific, -8.24)):
        assert interval(found).mean == pytest.approx(mean, abs=0.005)
        assert one_sample(found).high(0.025) < 0
