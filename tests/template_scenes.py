"""Made-up templates, and memes made of them: drawn scenes that differ like photographs and cartoons do."""

import io
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

PHRASES = (
    *("when the build passes at the first attempt", "me explaining tabs to my cat", "nobody expects the second monday"),
    *("one does not simply read the manual", "still waiting for the printer", "that moment when the coffee works"),
)
FONT_PX = 11
VARIANTS = ("captioned", "cropped", "mirrored", "barred", "bordered", "side by side")


def draw_scene(seed: int) -> Image.Image:
    """Return a picture of shapes on shaded ground with figures; the same for the same seed, another for any other."""
    rng = random.Random(f"scene {seed}")
    width, height = rng.choice([(600, 600), (640, 480), (500, 660), (720, 405)])
    noise = np.random.default_rng(seed).integers(0, 255, (rng.randint(4, 9), rng.randint(4, 9), 3), np.uint8)
    picture = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    picture = Image.blend(picture, Image.new("RGB", picture.size, _colour(rng)), 0.5)
    paint = ImageDraw.Draw(picture)
    for _ in range(rng.randint(14, 26)):
        x, y, size = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(25, 150)
        shape = rng.choice(("ellipse", "polygon", "polygon", "line", "face"))
        if shape == "ellipse":
            box = (x - size / 2, y - size / 3, x + size / 2, y + size / 3)
            paint.ellipse(box, _colour(rng), _colour(rng), rng.randint(1, 5))
        elif shape == "polygon":
            corners = [(x + rng.uniform(-size, size) / 2, y + rng.uniform(-size, size) / 2) for _ in range(5)]
            paint.polygon(corners, _colour(rng), _colour(rng))
        elif shape == "line":
            line = [(x + rng.uniform(-size, size), y + rng.uniform(-size, size)) for _ in range(4)]
            paint.line(line, _colour(rng), rng.randint(3, 9))
        else:
            _draw_face(paint, rng, x, y, size / 2)
    return picture.filter(ImageFilter.GaussianBlur(0.7))


def make_variant(
    scene: Image.Image, kind: str, seed: int, *, other: Image.Image | None = None, with_caption: bool = True
) -> bytes:
    """Return a meme of a scene as a JPEG of 320 to 900 px and a quality of 40 to 80; `other` is the scene beside it."""
    rng = random.Random(f"variant {seed}")
    picture = scene.copy()
    if kind == "cropped":
        width, height = picture.size
        left, top, right, bottom = (rng.uniform(0, 0.15) for _ in range(4))
        picture = picture.crop(
            tuple(map(round, (left * width, top * height, (1 - right) * width, (1 - bottom) * height)))  # type: ignore[arg-type]
        )
    elif kind == "mirrored":
        picture = ImageOps.mirror(picture)
    elif kind == "bordered":
        picture = ImageOps.expand(picture, rng.randint(10, 45), _colour(rng))
    elif kind == "barred":
        bar = picture.height // rng.randint(4, 6)
        taller = Image.new("RGB", (picture.width, picture.height + bar), "white")
        taller.paste(picture, (0, bar))
        picture = taller
    elif kind == "side by side":
        assert other is not None
        beside = other.resize((round(other.width * picture.height / other.height), picture.height))
        wider = Image.new("RGB", (picture.width + beside.width, picture.height))
        wider.paste(picture, (0, 0))
        wider.paste(beside, (picture.width, 0))
        picture = wider
    if with_caption:
        _write_caption(picture, rng)
    scale = rng.randint(320, 900) / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=rng.randint(40, 80))
    return stream.getvalue()


def _write_caption(picture: Image.Image, rng: random.Random) -> None:
    paint = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(FONT_PX, picture.width // 16))
    for line, y in ((rng.choice(PHRASES), 0.02), (rng.choice(PHRASES), 0.86)):
        first, second = line[: len(line) // 2], line[len(line) // 2 :]
        for half, text in enumerate((first, second)):
            where = (picture.width / 2, picture.height * y + half * picture.width / 15)
            paint.text(where, text.upper(), "white", font, "ma", stroke_width=2, stroke_fill="black")


def _draw_face(paint: ImageDraw.ImageDraw, rng: random.Random, x: float, y: float, size: float) -> None:
    tall = size * rng.uniform(0.7, 1.4)
    paint.ellipse((x - size, y - tall, x + size, y + tall), _colour(rng), _colour(rng), rng.randint(1, 6))
    for side in (-1, 1):
        eye_x, eye_y = x + side * size * rng.uniform(0.25, 0.6), y - size * rng.uniform(0, 0.6)
        wide, high = size * rng.uniform(0.1, 0.35), size * rng.uniform(0.08, 0.3)
        paint.ellipse((eye_x - wide, eye_y - high, eye_x + wide, eye_y + high), _colour(rng), _colour(rng), 2)
        look = eye_x + wide * rng.uniform(-0.6, 0.6)
        paint.ellipse((look - high / 2, eye_y - high / 2, look + high / 2, eye_y + high / 2), _colour(rng))
        brow = eye_y - high * rng.uniform(1, 3)
        paint.line((eye_x - wide, brow, eye_x + wide, brow + size * rng.uniform(-0.3, 0.3)), _colour(rng), 4)
    mouth = (x - size / 2, y + size * 0.2, x + size / 2, y + size * rng.uniform(0.5, 1))
    paint.arc(mouth, 0 if rng.random() < 0.5 else 180, 180 if rng.random() < 0.5 else 360, "black", 3)


def _colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)
