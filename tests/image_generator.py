"""Background images for captions: random scenes, unevenly lit and grainy like photographs.

They are not meant to be pretty. They challenge OCR with edges, gradients and noise behind the letters, give every image
its own colours and shapes, and are fast enough to draw hundreds within a test.
"""

import colorsys
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]

GRAIN_CENTRE = 128
LIGHT_CELLS = (3, 6, 13)
LIGHT_SHRINK = 4


def scene(size: tuple[int, int], rng: random.Random, *, grain: int = 0, phase: float = 0.0) -> Image.Image:
    """Draw one image of size (width, height) in pixels.

    `grain` is the amplitude of the noise in grey levels. `phase` (0 to 1) moves only the subject, so equal random
    states with an increasing phase make an animation.
    """
    hue = rng.random()
    image = _gradient(size, _colour(hue, 0.45, 0.95), _colour(hue + 0.12, 0.6, 0.45))
    subject, backdrop = rng.choice(SUBJECTS), rng.choice(BACKDROPS)
    backdrop(_Sketch(image), rng, hue)
    offset = 0.06 * math.sin(2 * math.pi * phase)
    subject(_Sketch(image, (rng.uniform(-0.25, 0.25) + offset, 0.06 + offset / 2)), rng, hue + 0.45)
    image = _lit(image.filter(ImageFilter.BoxBlur(1)), rng)
    return _grainy(image, rng, grain) if grain else image


@dataclass(frozen=True)
class _Sketch:
    """Draws on an image in units of its shorter side, relative to its centre: x to the right, y down."""

    image: Image.Image
    offset: Point = (0.0, 0.0)

    @property
    def reach(self) -> float:
        """Return half of the image's width in units."""
        return self.image.width / min(self.image.size) / 2

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        ImageDraw.Draw(self.image).ellipse([*self._at(x - rx, y - ry), *self._at(x + rx, y + ry)], fill)

    def box(self, x: float, y: float, width: float, height: float, fill: Colour) -> None:
        ImageDraw.Draw(self.image).rectangle([*self._at(x, y), *self._at(x + width, y + height)], fill)

    def shape(self, fill: Colour, *points: Point) -> None:
        ImageDraw.Draw(self.image).polygon([self._at(x, y) for x, y in points], fill)

    def _at(self, x: float, y: float) -> Point:
        width, height = self.image.size
        unit = min(width, height)
        return width / 2 + (x + self.offset[0]) * unit, height / 2 + (y + self.offset[1]) * unit


def _hills(sketch: _Sketch, rng: random.Random, hue: float) -> None:
    sketch.oval(rng.uniform(-0.5, 0.5), rng.uniform(-0.3, -0.1), 0.09, 0.09, _colour(0.14, 0.5, 1.0))
    for depth in range(3):
        y = 0.05 + depth * 0.14
        crest = [(x / 10 * sketch.reach, y + rng.uniform(-0.08, 0.08)) for x in range(-10, 11, 2)]
        sketch.shape(_colour(hue + 0.25, 0.5, 0.75 - depth * 0.18), *crest, (sketch.reach, 1.0), (-sketch.reach, 1.0))


def _room(sketch: _Sketch, rng: random.Random, hue: float) -> None:
    sketch.box(-sketch.reach, 0.2, 2 * sketch.reach, 1.0, _colour(0.08, 0.5, rng.uniform(0.4, 0.6)))
    x = rng.uniform(-0.5, 0.2)
    sketch.box(x - 0.02, -0.32, 0.34, 0.4, _colour(hue, 0.1, 0.9))
    for pane in range(4):
        sketch.box(x + pane % 2 * 0.16, -0.3 + pane // 2 * 0.19, 0.14, 0.17, _colour(0.57, 0.4, 0.95))


def _city(sketch: _Sketch, rng: random.Random, hue: float) -> None:
    x = -sketch.reach
    while x < sketch.reach:
        width, height = rng.uniform(0.1, 0.2), rng.uniform(0.2, 0.7)
        sketch.box(x, 0.5 - height, width, height, _colour(hue + 0.6, 0.35, rng.uniform(0.2, 0.4)))
        for window in range(rng.randrange(4, 12)):
            sketch.box(
                x + 0.02 + window % 3 * width / 3.5,
                0.53 - height + window // 3 * 0.09,
                width / 6,
                0.04,
                _colour(0.13, 0.5, rng.uniform(0.6, 1.0)),
            )
        x += width + 0.01


def _bokeh(sketch: _Sketch, rng: random.Random, hue: float) -> None:
    for _ in range(24):
        radius = rng.uniform(0.03, 0.16)
        fill = _colour(hue + rng.uniform(-0.08, 0.08), rng.uniform(0.3, 0.7), rng.uniform(0.4, 1.0))
        sketch.oval(rng.uniform(-1, 1) * sketch.reach, rng.uniform(-0.5, 0.5), radius, radius, fill)


def _animal(sketch: _Sketch, rng: random.Random, hue: float) -> None:
    coat, dark = _colour(rng.choice([0.07, 0.1, hue]), 0.5, rng.uniform(0.5, 0.9)), (30, 25, 25)
    sketch.oval(0, 0.42, 0.26, 0.3, coat)
    pointed = rng.random() < 0.5
    for side in (-1, 1):
        if pointed:
            sketch.shape(coat, (side * 0.2, -0.02), (side * 0.19, -0.27), (side * 0.03, -0.12))
        else:
            sketch.oval(side * 0.2, 0.02, 0.06, 0.16, _colour(0.06, 0.6, 0.35))
    sketch.oval(0, 0.03, 0.21, 0.18, coat)
    for side in (-1, 1):
        sketch.oval(side * 0.08, -0.01, 0.04, 0.05, (250, 250, 240))
        sketch.oval(side * 0.08 + 0.01, 0.0, 0.022, 0.035, dark)
    sketch.oval(0, 0.1, 0.09, 0.06, _colour(0.08, 0.15, 0.95))
    sketch.oval(0, 0.075, 0.03, 0.02, dark)


def _person(sketch: _Sketch, rng: random.Random, hue: float) -> None:
    skin, hair = _colour(0.07, rng.uniform(0.25, 0.6), rng.uniform(0.45, 0.95)), _colour(0.06, 0.6, 0.25)
    sketch.oval(0, 0.5, 0.32, 0.28, _colour(hue, 0.6, 0.7))
    sketch.box(-0.05, 0.12, 0.1, 0.14, skin)
    sketch.oval(0, -0.05, 0.17, 0.2, hair)
    sketch.oval(0, 0.03, 0.14, 0.18, skin)
    for side in (-1, 1):
        sketch.oval(side * 0.055, 0.0, 0.028, 0.018, (250, 250, 250))
        sketch.oval(side * 0.055, 0.0, 0.012, 0.016, (40, 30, 30))
    sketch.oval(0, 0.12, 0.05, rng.uniform(0.008, 0.03), _colour(0.0, 0.6, 0.6))


def _laptop(sketch: _Sketch, rng: random.Random, hue: float) -> None:
    sketch.box(-0.32, -0.2, 0.64, 0.42, (50, 50, 55))
    sketch.box(-0.3, -0.18, 0.6, 0.38, (24, 28, 38))
    for line in range(9):
        indent = rng.choice([0.0, 0.04, 0.08])
        sketch.box(-0.28 + indent, -0.16 + line * 0.04, rng.uniform(0.1, 0.42), 0.018, _colour(rng.random(), 0.5, 0.9))
    sketch.shape((150, 150, 158), (-0.32, 0.22), (0.32, 0.22), (0.4, 0.32), (-0.4, 0.32))


def _mug(sketch: _Sketch, rng: random.Random, hue: float) -> None:
    china, inside = _colour(hue, 0.7, 0.8), _colour(0.07, 0.7, 0.25)
    sketch.oval(0.2, 0.12, 0.12, 0.12, china)
    sketch.oval(0.2, 0.12, 0.07, 0.07, _colour(hue + 0.3, 0.2, 0.6))
    sketch.box(-0.18, -0.06, 0.36, 0.36, china)
    sketch.oval(0, 0.3, 0.18, 0.05, china)
    sketch.oval(0, -0.06, 0.18, 0.05, _colour(hue, 0.3, 0.95))
    sketch.oval(0, -0.055, 0.15, 0.035, inside)


SUBJECTS: tuple[Callable[[_Sketch, random.Random, float], None], ...] = (_animal, _animal, _person, _laptop, _mug)
BACKDROPS: tuple[Callable[[_Sketch, random.Random, float], None], ...] = (_hills, _room, _city, _bokeh)


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    mask = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def _lit(image: Image.Image, rng: random.Random) -> Image.Image:
    """Overlay soft light and shade: value noise in a few octaves, drawn at a small size because it is smooth."""
    small = (image.width // LIGHT_SHRINK, image.height // LIGHT_SHRINK)
    light = Image.new("L", small, GRAIN_CENTRE)
    for octave, cells in enumerate(LIGHT_CELLS, start=1):
        noise = Image.frombytes("L", (cells, cells), rng.randbytes(cells * cells))
        light = Image.blend(light, noise.resize(small, Image.Resampling.BICUBIC), 1 / (octave + 1))
    light = light.resize(image.size, Image.Resampling.BILINEAR)
    return ImageChops.soft_light(image, Image.merge("RGB", (light, light, light)))


def _grainy(image: Image.Image, rng: random.Random, amplitude: int) -> Image.Image:
    noise = Image.frombytes("L", image.size, rng.randbytes(image.width * image.height))
    noise = noise.point([level * amplitude // 128 for level in range(256)])
    return ImageChops.add(image, Image.merge("RGB", (noise, noise, noise)), offset=-amplitude)
