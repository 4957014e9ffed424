"""Textures: gratings by direction and period, checks, rings, blobs and clouds, mixed with others and noisy.

A source that is far from letters and digits: it has no shapes, and where something stands doesn't matter. Trained as
the default study's sources are, the deep network tells 80 % of its test images, the shallow one 84 % (two seeds; chance
is 8 %).

Every image has its own random stream, keyed by the drawing's seed, the replicate's seed, class and its number in the
class, so it doesn't depend on how many others there are; its geometry doesn't depend on the size either. All is integer
arithmetic after a table of sines, so that the bytes are the same on every machine.
"""

import math

import numpy as np
import pydantic

from whypretrain.randomness import stream

PACKAGES: tuple[str, ...] = ()  # what the bytes depend on beside numpy
PER_SEED = True  # drawn anew for each replicate seed

SOURCE = "Drawn by this module, from formulas and random numbers alone"
LICENCE = "Images: drawn here; nobody else's work is in them"

ANGLES = {
    "horizontal": 900,
    "rising": 450,
    "vertical": 0,
    "falling": 1350,
}  # of what crosses a grating, tenths of degrees
CYCLES = {"coarse": (120, 280), "fine": (280, 560)}  # periods across the image, hundredths
CELLS = {"coarse": (3, 5), "fine": (8, 14)}  # of a lattice of random values, across the image
GRATINGS = [(direction, period) for direction in ANGLES for period in CYCLES]
CLASSES = (
    *(f"{direction}-{period}" for direction, period in GRATINGS),
    "checks",
    "rings",
    "blobs-coarse",
    "blobs-fine",
    "clouds",
)

SAMPLES = 4  # samples per pixel and axis
SIDE = 1 << 16  # side of an image, in the integer units of positions
TURN = 1 << 14  # 1, in the integer units of sines and of a texture's height
PERIOD = 1024  # entries of the table of sines
SINES = np.array([round(math.sin(2 * math.pi * i / PERIOD) * TURN) for i in range(PERIOD)], dtype=np.int64)


class Parameters(pydantic.BaseModel):
    """How many images, and how hard they are."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    images_per_class: int = pydantic.Field(200, ge=10, description=f"images of each of the {len(CLASSES)} textures")
    seed: int = pydantic.Field(0, ge=0, lt=1 << 32, description="seed of the drawing; another seed draws other images")
    rotation: int = pydantic.Field(18, ge=0, le=90, description="largest rotation of a grating either way, degrees")
    mixed: int = pydantic.Field(40, ge=0, le=90, description="largest share of another texture, percent")
    noise: int = pydantic.Field(25, ge=0, le=100, description="standard deviation of the pixel noise, grey levels")
    colour: bool = pydantic.Field(False, description="between two random colours for each image, instead of grey")


def class_counts(parameters: Parameters) -> dict[str, int]:
    """Return the number of images of each class."""
    return dict.fromkeys(CLASSES, parameters.images_per_class)


def prepare(parameters: Parameters, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, channels, size, size) uint8 and labels (n,) int64 of a replicate seed.

    Class after class, within a class by number.
    """
    n = parameters.images_per_class
    images = [_draw(parameters, size, seed, label, index) for label in range(len(CLASSES)) for index in range(n)]
    grey, labels = np.stack(images)[:, None], np.repeat(np.arange(len(CLASSES), dtype=np.int64), n)
    return (_tinted(grey, parameters.seed, seed) if parameters.colour else grey), labels


def channels(parameters: Parameters) -> int:
    """Return the number of channels of the images."""
    return 3 if parameters.colour else 1


def _tinted(grey: np.ndarray, *seeds: int) -> np.ndarray:
    """Return grey images (n, 1, h, w) with black and white replaced by two random colours of each image."""
    dark, light = stream("tints", *seeds).integers(256, size=(2, len(grey), 3, 1, 1))
    return ((dark * (255 - grey.astype(np.int64)) + light * grey) // 255).astype(np.uint8)


class _Drawing:
    """The textures at the positions x, y of one image, heights of -TURN…TURN, drawn from one stream."""

    def __init__(self, rng: np.random.Generator, samples: int) -> None:
        self.rng = rng
        self.axis = (2 * np.arange(samples, dtype=np.int64) + 1) * SIDE // (2 * samples) - SIDE // 2

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def grating(self, tenths: int, cycles: int) -> np.ndarray:
        """Return a sine that runs in a direction, with a random phase."""
        angle = math.radians(tenths / 10)
        cosine, sine = round(math.cos(angle) * TURN), round(math.sin(angle) * TURN)
        along = (cosine * self.axis[None, :] + sine * self.axis[:, None]) // TURN
        return self._sine(along, cycles)

    def rings(self, cycles: int) -> np.ndarray:
        """Return a sine that runs outwards from a random centre."""
        x, y = (self.axis - self.between(-SIDE // 3, SIDE // 3) for _ in range(2))
        return self._sine(np.sqrt(x[None, :] ** 2 + y[:, None] ** 2).astype(np.int64), cycles)

    def _sine(self, along: np.ndarray, cycles: int) -> np.ndarray:
        return SINES[(along * cycles * PERIOD // (100 * SIDE) + self.between(0, PERIOD - 1)) % PERIOD]

    def clouds(self, cells: int) -> np.ndarray:
        """Return random values on a lattice of `cells` across the image, interpolated linearly."""
        heights = self.rng.integers(-TURN, TURN, endpoint=True, size=(cells + 2, cells + 2))
        place = (self.axis + SIDE // 2) * cells
        first, rest = place // SIDE, place % SIDE
        rows = (heights[first] * (SIDE - rest)[:, None] + heights[first + 1] * rest[:, None]) // SIDE
        return (rows[:, first] * (SIDE - rest) + rows[:, first + 1] * rest) // SIDE


def _texture(drawing: _Drawing, name: str, rotation: int) -> np.ndarray:
    """Return the heights of a class's texture."""
    direction, _, period = name.rpartition("-")
    if direction in ANGLES:
        angle = ANGLES[direction] + drawing.between(-10 * rotation, 10 * rotation)
        return drawing.grating(angle, drawing.between(*CYCLES[period]))
    cycles = drawing.between(CYCLES["coarse"][0], CYCLES["fine"][1])
    if name == "checks":
        angle = drawing.between(0, 1799)
        return drawing.grating(angle, cycles) * drawing.grating(angle + 900, cycles) // TURN
    if name == "rings":
        return drawing.rings(cycles)
    if direction == "blobs":
        return np.sign(drawing.clouds(drawing.between(*CELLS[period]))) * TURN
    return (4 * drawing.clouds(2) + 2 * drawing.clouds(4) + drawing.clouds(8)) // 4


def _draw(parameters: Parameters, size: int, seed: int, label: int, index: int) -> np.ndarray:
    """Return one image (size, size) uint8."""
    rng = np.random.default_rng(np.random.SeedSequence([parameters.seed, seed, label, index]))
    drawing = _Drawing(rng, size * SAMPLES)
    # All geometry and tones are drawn before the noise, which alone depends on the size.
    own = _texture(drawing, CLASSES[label], parameters.rotation)
    other = _texture(drawing, CLASSES[drawing.between(0, len(CLASSES) - 1)], parameters.rotation)
    mixed = drawing.between(0, parameters.mixed)
    grey, contrast = drawing.between(90, 165), drawing.between(30, 90)
    height = (own * (100 - mixed) + other * mixed) // 100
    tone = grey + height.reshape(size, SAMPLES, size, SAMPLES).sum(axis=(1, 3)) * contrast // (TURN * SAMPLES**2)
    # The sum of twelve uniform levels in -noise…noise, halved, has about this standard deviation.
    noise = rng.integers(-parameters.noise, parameters.noise, endpoint=True, size=(12, size, size)).sum(axis=0) // 2
    return np.clip(tone + noise, 0, 255).astype(np.uint8)
