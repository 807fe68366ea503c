"""Memes for tests: captioned images with real fonts, in several sizes and formats, generated from one seed.

    python tests/memes.py DIR --count 24 --seed 7 --sizes small

The same seed produces the same images, and the first n do not depend on how many follow.
"""

import argparse
import functools
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import captions
import fontpkg_anton
import fontpkg_open_sans
import fontpkg_roboto_condensed
from captions import Caption, glued, partial, typo
from image_generator import Colour, scene
from PIL import Image, ImageDraw, ImageFont
from sample_files import mass, odd

__all__ = ["FORMATS", "PROFILES", "Meme", "glued", "make", "mass", "odd", "partial", "typo"]

FORMATS = ("jpeg", "png", "jpeg", "webp", "jpeg", "gif", "jpeg", "png")  # roughly as frequent as in real collections
EXTENSIONS = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "gif": ".gif"}
FONTS = {  # the file and, for variable fonts, the axes
    "anton": (fontpkg_anton.ROOT / "files" / "Anton-Regular.ttf", None),
    "roboto": (fontpkg_roboto_condensed.ROOT / "files" / "RobotoCondensed[wght].ttf", [700.0]),
    "sans": (fontpkg_open_sans.ROOT / "files" / "OpenSans[wdth,wght].ttf", [500.0, 100.0]),
}
POSTERS = (("Marta", "@martamakes"), ("Tom Bell", "@tombell_"), ("not a robot", "@beepboop"), ("Ines", "@ines.irl"))
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (113, 118, 123)
LEADING = 1.25  # from one line of text to the next, in text heights
GIF_COLOURS = 48
FRAME_MS = 120
TEXT_PX_MIN = 12
MEASURED_AT_PX = 100


@dataclass(frozen=True)
class Meme:
    path: Path
    caption: str
    format: str
    language: str
    paraphrase: str | None = None
    foreign: str | None = None


@dataclass(frozen=True)
class Profile:
    """Parameters that determine the file size: dimensions in pixels, JPEG and WebP quality, grain in grey levels."""

    dimensions: tuple[tuple[int, int], ...]
    gif_dimensions: tuple[tuple[int, int], ...]
    quality: tuple[int, int]
    grain: tuple[int, int]
    png_grain: tuple[int, int] = (0, 0)  # less, because PNG is lossless
    png_colours: int | None = None  # None is full colour
    gif_grain: int = 0


PROFILES = {
    "small": Profile(  # 10 to 60 KB
        dimensions=((480, 360), (440, 440), (500, 375), (360, 480), (512, 384)),
        gif_dimensions=((320, 240), (288, 288), (344, 258)),
        quality=(72, 86),
        grain=(4, 10),
        png_colours=64,
    ),
    "mixed": Profile(  # 20 KB to 2 MB
        dimensions=((640, 480), (600, 800), (800, 600), (1080, 1080), (1280, 960), (1600, 1200)),
        gif_dimensions=((400, 300), (480, 480), (640, 480)),
        quality=(70, 92),
        grain=(8, 20),
        png_grain=(0, 5),
    ),
    "large": Profile(  # 0.5 to 9 MB
        dimensions=((2400, 1800), (2000, 2000), (2048, 2560)),
        gif_dimensions=((1600, 1200), (1440, 1440)),
        quality=(88, 92),
        grain=(24, 40),
        png_grain=(8, 16),
        gif_grain=24,
    ),
}


def make(
    folder: Path, *, count: int, seed: int = 0, sizes: str = "small", formats: Sequence[str] = FORMATS
) -> list[Meme]:
    """Draw `count` different memes into the folder, which is created if missing; cycle through the formats.

    File names contain the seed, so memes of several seeds may share a folder.
    """
    return draw(folder, [captions.caption(index, seed) for index in range(count)], seed, sizes, formats)


def draw(
    folder: Path, wanted: Sequence[Caption], seed: int = 0, sizes: str = "small", formats: Sequence[str] = FORMATS
) -> list[Meme]:
    """Draw memes with the given captions, as `make` does."""
    folder.mkdir(parents=True, exist_ok=True)
    profile = PROFILES[sizes]
    return [
        _make_one(
            folder / f"meme-{seed}-{index:04}", f"{seed}/{index}", caption, profile, formats[index % len(formats)]
        )
        for index, caption in enumerate(wanted)
    ]


def _make_one(stem: Path, seed_text: str, caption: Caption, profile: Profile, kind: str) -> Meme:
    path = stem.with_suffix(EXTENSIONS[kind])
    rng = random.Random(seed_text)
    quality, grain = rng.randint(*profile.quality), rng.randint(*profile.grain)
    size = rng.choice(profile.dimensions)
    match kind:
        case "jpeg":
            _captioned(caption, size, seed_text, grain).save(path, quality=quality)
        case "webp":
            _captioned(caption, size, seed_text, grain).save(path, quality=quality, method=1)
        case "png":
            image = _captioned(caption, size, seed_text, rng.randint(*profile.png_grain))
            image = _paletted(image, profile.png_colours) if profile.png_colours else image
            image.save(path, compress_level=3)
        case "gif":
            size = rng.choice(profile.gif_dimensions)
            frames = _frames(caption, size, seed_text, profile.gif_grain, count=rng.randint(3, 6))
            frames[0].save(path, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
    return Meme(path, caption.text, kind, caption.language, caption.paraphrase, caption.foreign)


def _frames(caption: Caption, size: tuple[int, int], seed_text: str, grain: int, *, count: int) -> list[Image.Image]:
    """Draw every frame with the same random seed: only the subject moves."""
    phases = [frame / count for frame in range(count)]
    return [_paletted(_captioned(caption, size, seed_text, grain, phase), GIF_COLOURS) for phase in phases]


def _paletted(image: Image.Image, colours: int) -> Image.Image:
    return image.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


Painter = Callable[[tuple[int, int]], Image.Image]  # paints a scene of a given size in pixels


def _captioned(caption: Caption, size: tuple[int, int], seed_text: str, grain: int, phase: float = 0.0) -> Image.Image:
    rng = random.Random(seed_text)
    layout = rng.choice((_classic, _classic, _bar, _post))
    return layout(caption, size, rng, lambda area: scene(area, rng, grain=grain, phase=phase))


def _classic(caption: Caption, size: tuple[int, int], rng: random.Random, paint: Painter) -> Image.Image:
    """Draw white capitals with a black outline, above and below the subject."""
    image = paint(size)
    width, height = size
    top = _Text.fitted(caption.top.upper(), "anton", width * 0.92, height * 0.27, height // 8)
    bottom = _Text.fitted(caption.bottom.upper(), "anton", width * 0.92, height * 0.27, height // 8)
    top.write(image, (width / 2, height * 0.02), WHITE, outline=True)
    bottom.write(image, (width / 2, height * 0.97 - bottom.height), WHITE, outline=True)
    return image


def _bar(caption: Caption, size: tuple[int, int], rng: random.Random, paint: Painter) -> Image.Image:
    """Draw black text on a white bar above the image."""
    width, height = size
    text = _Text.fitted(f"{caption.top}\n{caption.bottom}", "roboto", width * 0.92, height * 0.26, height // 11)
    bar = round(text.height + height * 0.06)
    image = Image.new("RGB", size, WHITE)
    image.paste(paint((width, height - bar)), (0, bar))
    text.write(image, (width / 2, height * 0.03), BLACK)
    return image


def _post(caption: Caption, size: tuple[int, int], rng: random.Random, paint: Painter) -> Image.Image:
    """Draw a screenshot of a post: face, name, text, and an image below."""
    width, height = size
    ink, paper = rng.choice((((15, 20, 25), WHITE), ((231, 233, 234), (21, 32, 43))))
    name, handle = rng.choice(POSTERS)
    margin, face, px = round(width * 0.05), round(height * 0.11), max(TEXT_PX_MIN, height // 24)
    image = Image.new("RGB", size, paper)
    disc = Image.new("L", (face, face))
    ImageDraw.Draw(disc).ellipse((0, 0, face - 1, face - 1), 255)
    image.paste(paint((face, face)), (margin, margin), disc)
    beside = margin * 1.5 + face
    _Text([name], "sans", px).write(image, (beside, margin), ink, centred=False)
    _Text([handle], "sans", px).write(image, (beside, margin + px * LEADING), GREY, centred=False)
    text = _Text.fitted(f"{caption.top}\n{caption.bottom}", "sans", width - 2 * margin, height * 0.3, height // 14)
    top = margin * 1.4 + face
    text.write(image, (margin, top), ink, centred=False)
    below = round(top + text.height + margin * 0.7)
    image.paste(paint((width - 2 * margin, height - below - margin)), (margin, below))
    return image


@dataclass(frozen=True)
class _Text:
    """Lines of text in one font; `px` is the font's size in pixels."""

    lines: list[str]
    font: str
    px: int

    @classmethod
    def fitted(cls, text: str, font: str, width: float, height: float, px_max: int) -> "_Text":
        """Wrap the text in the largest size at which it fits into width x height pixels (or the smallest readable)."""
        px = max(px_max, TEXT_PX_MIN)
        while True:
            fitted = cls(_wrapped(text, font, width / px), font, px)
            if px == TEXT_PX_MIN or (fitted.height <= height and fitted.width <= width):
                return fitted
            px = max(TEXT_PX_MIN, px * 15 // 16)

    @property
    def height(self) -> float:
        return len(self.lines) * self.px * LEADING

    @property
    def width(self) -> float:
        return max(_width(line, self.font) for line in self.lines) * self.px

    def write(
        self, image: Image.Image, at: tuple[float, float], ink: Colour, *, centred: bool = True, outline: bool = False
    ) -> None:
        """Write the lines downwards from `at`, which is their top left corner or the middle of their upper edge."""
        draw, font = ImageDraw.Draw(image), _font(self.font, self.px)
        stroke = max(2, self.px // 12) if outline else 0
        x, y = at
        for number, line in enumerate(self.lines):
            position = (x, y + number * self.px * LEADING)
            anchor = "ma" if centred else "la"
            draw.text(position, line, ink, font, anchor, stroke_width=stroke, stroke_fill=BLACK)


def _wrapped(text: str, font: str, width: float) -> list[str]:
    """Break every line of the text into lines of at most `width` font sizes; a longer word gets a line of its own."""
    lines: list[str] = []
    for line in text.splitlines():
        first, *rest = line.split()
        lines.append(first)
        for word in rest:
            longer = f"{lines[-1]} {word}"
            if _width(longer, font) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
    return lines


@functools.lru_cache(maxsize=4096)
def _width(text: str, font: str) -> float:
    return _font(font, MEASURED_AT_PX).getlength(text) / MEASURED_AT_PX


@functools.lru_cache(maxsize=256)
def _font(name: str, px: int) -> ImageFont.FreeTypeFont:
    file, axes = FONTS[name]
    font = ImageFont.truetype(str(file), px, layout_engine=ImageFont.Layout.BASIC)
    if axes:
        font.set_variation_by_axes(axes)
    return font


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw memes into a folder and list their captions.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", choices=PROFILES, default="small")
    options = parser.parse_args(arguments)
    for meme in make(options.folder, count=options.count, seed=options.seed, sizes=options.sizes):
        sys.stdout.write(f"{meme.path.name}\t{meme.caption}\n")


if __name__ == "__main__":
    main()
