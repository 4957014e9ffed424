"""Capital letters in many faces, turned, sheared, shifted, crossed by lines and noisy.

Every image has its own random stream, keyed by seed, class and its number in the class,
so it doesn't depend on how many others there are; its geometry doesn't depend on the
size either. Letters come from FreeType, as Pillow bundles it, once per face at a large
scale; everything after that is integer arithmetic, so that the bytes are the same on
every machine.
"""

import math
from functools import cache

import numpy as np
import pydantic

PACKAGES = ("matplotlib", "pillow")  # what the bytes depend on beside numpy

SOURCE = (
    "Drawn by this module: the letters A to Z in 14 faces of 7 families (DejaVu Sans, DejaVu Sans Mono, "
    "DejaVu Serif, STIX General, Computer Modern Roman, Sans and Typewriter), "
    "from the font files inside the Python package matplotlib"
)
LICENCE = (
    "Images: drawn here; none of the fonts' licences puts a condition on pictures of letters. Fonts: DejaVu "
    "under the Bitstream Vera and Arev licences, its changes in the public domain; STIX under the SIL Open "
    "Font License 1.1; Computer Modern (BaKoMa, copyright Basil K. Malyshev) under the BaKoMa Fonts Licence"
)

CLASSES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# Each face was looked at: all 26 capitals are there, as letters.
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmr10",
    "cmb10",
    "cmti10",
    "cmss10",
    "cmtt10",
)

EM = 128  # pixels of a stencil per font size
STENCIL = 2 * EM  # side of a stencil; the letter stands in its middle, its border is empty
SAMPLES = 4  # samples per pixel and axis
SIDE = 1 << 16  # side of an image, in the integer units of positions
TURN = 1 << 14  # 1, in the integer units of sine and cosine
LINE_REACH = SIDE * 6 // 10  # a line's ends lie at most this far from the middle, along each axis
LINE_HALF_WIDTHS = (15, 35)  # thinnest and thickest line, half its width in thousandths of the side


class Parameters(pydantic.BaseModel):
    """How many images, and how hard they are."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    images_per_class: int = pydantic.Field(300, ge=10, description="images of each of the 26 letters")
    seed: int = pydantic.Field(0, ge=0, lt=1 << 32, description="seed of the drawing; another seed draws other images")
    rotation: int = pydantic.Field(35, ge=0, le=180, description="largest rotation either way, degrees")
    shear: int = pydantic.Field(12, ge=0, le=100, description="largest shear either way, percent of the height")
    smallest: int = pydantic.Field(77, ge=20, le=200, description="smallest font size, percent of the image's side")
    largest: int = pydantic.Field(105, ge=20, le=200, description="largest font size, percent of the image's side")
    stretch: int = pydantic.Field(15, ge=0, le=50, description="largest change of the width either way, percent")
    shift: int = pydantic.Field(8, ge=0, le=50, description="largest shift along each axis, percent of the side")
    lines: int = pydantic.Field(2, ge=0, le=20, description="most distractor lines in an image")
    faintest: int = pydantic.Field(
        125, ge=80, le=255, description="grey level of the faintest ink; the brightest is 255"
    )
    background: int = pydantic.Field(30, ge=0, le=60, description="grey level of the brightest background")
    noise: int = pydantic.Field(6, ge=0, le=100, description="standard deviation of the pixel noise, grey levels")

    @pydantic.model_validator(mode="after")
    def _sizes_in_order(self) -> "Parameters":
        if self.smallest > self.largest:
            raise ValueError(f"smallest ({self.smallest}) is above largest ({self.largest})")
        return self


def class_counts(parameters: Parameters) -> dict[str, int]:
    """Return the number of images of each class."""
    return dict.fromkeys(CLASSES, parameters.images_per_class)


def prepare(parameters: Parameters, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (26 n, 1, size, size) uint8 and labels (26 n,) int64, n = images_per_class.

    Class after class; within a class by number, so more images come after the same first ones.
    """
    n = parameters.images_per_class
    images = [_draw(parameters, size, label, index) for label in range(len(CLASSES)) for index in range(n)]
    return np.stack(images)[:, None], np.repeat(np.arange(len(CLASSES), dtype=np.int64), n)


@cache
def _stencil(face: str, letter: str) -> np.ndarray:
    """Return a letter's coverage (STENCIL, STENCIL), 0…255, its bounding box centred."""
    from pathlib import Path

    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    font = ImageFont.truetype(str(path), EM, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(letter))
    image = Image.new("L", (STENCIL, STENCIL))
    corner = ((STENCIL - left - right) // 2, (STENCIL - top - bottom) // 2)
    ImageDraw.Draw(image).text(corner, letter, font=font, fill=255)
    return np.asarray(image, dtype=np.int64)


def _draw(parameters: Parameters, size: int, label: int, index: int) -> np.ndarray:
    """Return one image (size, size) uint8."""
    p = parameters
    rng = np.random.default_rng(np.random.SeedSequence([p.seed, label, index]))

    def between(low: int, high: int) -> int:
        return int(rng.integers(low, high, endpoint=True))

    # All geometry and tones are drawn before the noise, which alone depends on the size.
    face = FACES[between(0, len(FACES) - 1)]
    angle = math.radians(between(-10 * p.rotation, 10 * p.rotation) / 10)
    cosine, sine = round(math.cos(angle) * TURN), round(math.sin(angle) * TURN)
    shear = between(-p.shear, p.shear)
    height = between(p.smallest, p.largest)
    width = height * between(100 - p.stretch, 100 + p.stretch) // 100
    shift_x, shift_y = (between(-p.shift, p.shift) * SIDE // 100 for _ in range(2))
    background, ink = between(0, p.background), between(p.faintest, 255)
    strokes = [
        (
            *(between(-LINE_REACH, LINE_REACH) for _ in range(4)),
            between(*LINE_HALF_WIDTHS),
            between(p.faintest, 255),
        )
        for _ in range(between(0, p.lines))
    ]

    samples = size * SAMPLES
    axis = (2 * np.arange(samples, dtype=np.int64) + 1) * SIDE // (2 * samples) - SIDE // 2
    x, y = axis[None, :], axis[:, None]

    def to_pixels(coverage: np.ndarray) -> np.ndarray:
        return coverage.reshape(size, SAMPLES, size, SAMPLES).sum(axis=(1, 3)) // SAMPLES**2

    # From a sample's position back to its place in the stencil.
    u = (cosine * (x - shift_x) + sine * (y - shift_y)) // TURN
    v = (cosine * (y - shift_y) - sine * (x - shift_x)) // TURN
    u = u + v * shear // 100
    column = np.clip(u * (EM * 100) // (width * SIDE) + STENCIL // 2, 0, STENCIL - 1)
    row = np.clip(v * (EM * 100) // (height * SIDE) + STENCIL // 2, 0, STENCIL - 1)
    tone = background + to_pixels(_stencil(face, CLASSES[label])[row, column]) * (ink - background) // 255

    for x0, y0, x1, y1, half_width, level in strokes:
        along_x, along_y = x1 - x0, y1 - y0
        length = math.isqrt(along_x**2 + along_y**2) + 1
        across = np.abs((x - x0) * along_y - (y - y0) * along_x)
        along = (x - x0) * along_x + (y - y0) * along_y
        inside = (across <= half_width * SIDE // 1000 * length) & (along >= 0) & (along <= length**2)
        tone = np.maximum(tone, background + to_pixels(inside * np.int64(255)) * (level - background) // 255)

    # The sum of twelve uniform levels in -p.noise…p.noise, halved, has about this standard deviation.
    noise = rng.integers(-p.noise, p.noise, endpoint=True, size=(12, size, size)).sum(axis=0) // 2
    return np.clip(tone + noise, 0, 255).astype(np.uint8)
