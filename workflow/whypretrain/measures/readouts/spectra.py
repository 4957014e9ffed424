"""Singular values of the penultimate features, before and after target training (Deng et al. 2023)."""

from whypretrain.measures.measuring import Measured
from whypretrain.measures.spectra import shares, singular_values
from whypretrain.training.data import Rows


def read_out(measured: Measured) -> Rows:
    """Yield a row for each component of up to 1,000 test images' features, centred and not."""
    for moment, images in measured.moments():
        features = measured.features(moment, images, ("test",))[0]["test"]
        for centred in (False, True):
            values = singular_values(features, centred)
            by_value, by_square = shares(values, 1), shares(values, 2)
            for number, (value, share, squared) in enumerate(zip(values, by_value, by_square, strict=True), 1):
                row = {"moment": moment, "images": images, "centred": centred, "component": number}
                numbers = {"singular_value": value, "share": share, "share_squared": squared}
                yield row | {name: float(number) for name, number in numbers.items()}
