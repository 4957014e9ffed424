"""torchvision and timm, as whoever needs them takes them: `from whypretrain.networks.vision import torchvision`."""

from whypretrain.data.vision import torchvision  # before timm, which imports it

try:
    import timm
except ImportError:
    timm = None  # type: ignore[assignment]

__all__ = ["timm", "torchvision"]
