"""Capital letters in many faces, turned, sheared, shifted, crossed by lines and noisy.

Every class has its own random streams, keyed by the drawing's seed, the replicate's seed
and the class. Its images are drawn from them one after another, so none depends on how
many others there are; its geometry doesn't depend on the size either. Letters come from
FreeType, as Pillow bundles it, once per face at a large scale; everything after that is
integer arithmetic, so that the bytes are the same on every machine.
"""

from functools import cache

import numpy as np
import pydantic

PACKAGES = ("matplotlib", "pillow")  # what the bytes depend on beside numpy
PER_SEED = True  # drawn anew for each replicate seed

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
STEP = 1 << 12  # a stencil's pixel, in the integer units of places in it
AREA = 1 << 8  # unit of a line's products of positions, which then fit into 32 bits
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


def prepare(parameters: Parameters, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (26 n, 1, size, size) uint8 and labels (26 n,) int64, n = images_per_class, of a replicate seed.

    Class after class; within a class by number, so more images come after the same first ones.
    """
    images = np.concatenate([_draw(parameters, size, seed, label) for label in range(len(CLASSES))])
    return images[:, None], np.repeat(np.arange(len(CLASSES), dtype=np.int64), parameters.images_per_class)


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


def _plane(x: np.ndarray, y: np.ndarray, slope_x: np.ndarray, slope_y: np.ndarray, unit: int) -> np.ndarray:
    """Return slope_x x + slope_y y in units (n, size, size) int32; x (n, 1, size), y (n, size, 1), slopes (n, 1, 1)."""
    return (slope_x * x // unit).astype(np.int32) + (slope_y * y // unit).astype(np.int32)


def _inked(coverage: np.ndarray, background: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Return grey levels from the sum of a pixel's samples, each 0…255."""
    return background + coverage // SAMPLES**2 * (ink - background) // 255


def _draw(parameters: Parameters, size: int, seed: int, label: int) -> np.ndarray:
    """Return the images of a class (n, size, size) uint8."""
    p, n = parameters, parameters.images_per_class
    # All geometry and tones have a stream apart from the noise, which alone depends on the size.
    drawing, noisy = map(np.random.default_rng, np.random.SeedSequence([p.seed, seed, label]).spawn(2))
    stroke = [*[(-LINE_REACH, LINE_REACH)] * 4, LINE_HALF_WIDTHS, (p.faintest, 255)]
    bounds = [
        (0, len(FACES) - 1),
        (-10 * p.rotation, 10 * p.rotation),
        (-p.shear, p.shear),
        (p.smallest, p.largest),
        (100 - p.stretch, 100 + p.stretch),
        *[(-p.shift, p.shift)] * 2,
        (0, p.background),
        (p.faintest, 255),
        (0, p.lines),
        *stroke * p.lines,
    ]
    lowest, highest = np.transpose(bounds)
    drawn = drawing.integers(lowest, highest, endpoint=True, size=(n, 1, 1, len(bounds)))
    face, tenths, shear, height, stretch, right, down, background, ink, lines, *strokes = np.moveaxis(drawn, -1, 0)

    axis = (2 * np.arange(size * SAMPLES, dtype=np.int64) + 1) * SIDE // (2 * size * SAMPLES) - SIDE // 2
    # the positions of each of a pixel's samples
    samples = [(axis[i::SAMPLES], axis[j::SAMPLES, None]) for i in range(SAMPLES) for j in range(SAMPLES)]

    # From a sample's position back to its place in the stencil.
    angle = np.radians(tenths / 10)
    cosine, sine = (np.rint(function(angle) * TURN).astype(np.int64) for function in (np.cos, np.sin))
    width = height * stretch // 100
    to_column = [s * EM * STEP // (TURN * width) for s in (100 * cosine - shear * sine, 100 * sine + shear * cosine)]
    to_row = [s * EM * STEP // (TURN * height) for s in (-100 * sine, 100 * cosine)]
    stencils = np.stack([_stencil(name, CLASSES[label]) for name in FACES])
    coverage = np.zeros((n, size, size), np.int64)
    for x, y in samples:
        place = x - right * SIDE // 100, y - down * SIDE // 100
        column, row = (
            np.clip(_plane(*place, slope_x, slope_y, SIDE) // STEP + STENCIL // 2, 0, STENCIL - 1)
            for slope_x, slope_y in (to_column, to_row)
        )
        coverage += stencils.take((face * STENCIL + row) * STENCIL + column)
    tone = _inked(coverage, background, ink)

    for number in range(p.lines):
        crossed = lines.ravel() > number
        x0, y0, x1, y1, half_width, level = (each[crossed] for each in strokes[number * len(stroke) :][: len(stroke)])
        along_x, along_y = x1 - x0, y1 - y0
        length = np.sqrt(along_x**2 + along_y**2).astype(np.int64) + 1
        reach, end = ((a // AREA).astype(np.int32) for a in (half_width * SIDE // 1000 * length, length**2))
        coverage = np.zeros((len(x0), size, size), np.int64)
        for x, y in samples:
            along = _plane(x - x0, y - y0, along_x, along_y, AREA)
            across = np.abs(_plane(x - x0, y - y0, along_y, -along_x, AREA))
            coverage += (across <= reach) & (along >= 0) & (along <= end)
        tone[crossed] = np.maximum(tone[crossed], _inked(255 * coverage, background[crossed], level))

    # The sum of twelve uniform levels in -p.noise…p.noise, halved, has about this standard deviation.
    noise = noisy.integers(-p.noise, p.noise, endpoint=True, size=(n, 12, size, size), dtype=np.int32).sum(1) // 2
    return np.clip(tone + noise, 0, 255).astype(np.uint8)
