"""Measure how surely the library recognizes templates and copies.

    python benchmarks/recognition.py [--templates 150] [--memes 120]

Templates: the share of captioned, cropped, mirrored, bordered, barred and paired variants that are recognized, and of
other memes that are taken for a template. Copies: the share of reposts that end in one duplicate group, the pairs of
different memes that do, and those whose captions differ in one word. All pictures are drawn, read and compared as the
server does it, on one thread.
"""

import argparse
import io
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps
from search import captions, memes  # also makes the modules of the tests importable
from side_by_side import show
from sploot_server.domain.embedding import ImageAnalysis
from sploot_server.domain.near_duplicates import Look, bands, choose_near_duplicate
from sploot_server.inference.image_analysis import ImageAnalyzer
from sploot_server.inference.picture_features import compute_features
from sploot_server.inference.template_index import TemplateIndex, show_same_picture
from template_scenes import VARIANTS, draw_scene, make_variant

OTHER_SCENE = 10_000  # the first of the scenes that are no known templates
HANDLES = ("@memelord", "u/some_one99", "funny-pics.net")

Copier = Callable[[Image.Image, random.Random], Image.Image]


class Reader:
    """Analyzes pictures as a worker does."""

    def __init__(self, folder: Path) -> None:
        self._analyzer = ImageAnalyzer(None, None)
        self._file = folder / "picture"

    def read(self, picture: bytes) -> ImageAnalysis:
        self._file.write_bytes(picture)
        return self._analyzer.analyze(self._file)

    def describe(self, picture: bytes) -> tuple[bytes, bytes]:
        self._file.write_bytes(picture)
        return self._analyzer.describe(self._file)


def measure_templates(reader: Reader, count: int) -> None:
    scenes = [draw_scene(number) for number in range(count)]
    index = TemplateIndex(
        [(number, each) for number, scene in enumerate(scenes) for each in reader.describe(encode(scene))]
    )
    found: dict[str, list[bool]] = {kind: [] for kind in VARIANTS}
    wrong, features_s, compare_s = 0, [], []
    for number, kind in itertools.product(range(0, count, 5), VARIANTS):
        beside = (number + count // 2) % count
        variant = make_variant(scenes[number], kind, number, other=scenes[beside])
        picture = Image.open(io.BytesIO(variant)).convert("RGB")
        features_s.append(processor_s(lambda picture=picture: compute_features(picture, [])))
        named = find(index, reader.read(variant), compare_s)
        found[kind].append(number in named)
        wrong += bool(set(named) - {number, *([beside] if kind == "side by side" else [])})
    others = [
        bool(find(index, reader.read(make_variant(draw_scene(OTHER_SCENE + number), "captioned", number)), compare_s))
        for number in range(count)
    ]
    for kind, flags in found.items():
        show(f"templates: {kind}", f"{statistics.mean(flags):.3f} of {len(flags)}")
    every = list(itertools.chain.from_iterable(found.values()))
    show("templates: all variants", f"{statistics.mean(every):.3f} of {len(every)}", "at least .94")
    show("templates: a wrong name on a variant", f"{wrong} of {len(every)}")
    show("templates: a name on others", f"{sum(others)} of {len(others)}", "under 1 %")
    took = f"{1000 * statistics.mean(features_s):.1f} + {1000 * statistics.mean(compare_s):.1f} ms"
    show("templates: features + comparison", took, "at most 10 ms")


def find(index: TemplateIndex, analysis: ImageAnalysis, took_s: list[float]) -> list[int]:
    """Return the templates that a picture shows, and record the processor time of the comparison."""
    started = time.process_time()
    found = index.find_templates(analysis.features)
    took_s.append(time.process_time() - started)
    return found


def processor_s(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def measure_copies(reader: Reader, folder: Path, count: int) -> None:
    wanted = captions.corpus()[:count]
    drawn = memes.draw(folder / "memes", wanted, seed=5, formats=("png",))
    changed = memes.draw(folder / "changed", [change_word(each) for each in wanted], seed=5, formats=("png",))
    originals = [reader.read(meme.path.read_bytes()) for meme in drawn]
    grouped: dict[str, list[bool]] = {}
    for number, meme in enumerate(drawn):
        for kind, copier in COPIERS.items():
            copy = copier(Image.open(meme.path).convert("RGB"), random.Random(f"{kind} {number}"))
            analysis = reader.read(encode(copy, "JPEG", quality=random.Random(number).randint(40, 85)))
            grouped.setdefault(kind, []).append(in_one_group(analysis, originals[number]))
    for kind, flags in grouped.items():
        show(f"copies: {kind}", f"{statistics.mean(flags):.3f} of {len(flags)}")
    every = list(itertools.chain.from_iterable(grouped.values()))
    show("copies: all", f"{statistics.mean(every):.3f} of {len(every)}", "at least .83")
    pairs = list(itertools.combinations(originals, 2))
    show("different memes in one group", f"{sum(in_one_group(*pair) for pair in pairs)} of {len(pairs)} pairs", "none")
    same = sum(
        in_one_group(reader.read(meme.path.read_bytes()), original)
        for meme, original in zip(changed, originals, strict=True)
    )
    show("one word changed, yet in one group", f"{same} of {count}", "none")


def in_one_group(one: ImageAnalysis, other: ImageAnalysis) -> bool:
    """Return what the store decides about an image when the other is in the library."""
    look, other_look = one.look, other.look
    assert look is not None
    assert other_look is not None
    if not set(bands(look)) & set(bands(other_look)):
        return False
    nearest, doubtful = choose_near_duplicate(look, [to_row(other_look)])
    return nearest is not None or bool(doubtful and show_same_picture(one.features, other.features))


def to_row(look: Look) -> dict[str, object]:
    return {
        "dhash": look.dhash,
        "colours": look.colours,
        "aspect_ratio": look.aspect_ratio,
        "text": look.text,
    }


def change_word(caption: captions.Caption) -> captions.Caption:
    """Return a caption with another word in the place of one of three letters or more."""
    rng, words = random.Random(caption.text), caption.top.split()
    places = [place for place, word in enumerate(words) if len(word.strip(".,!?")) >= 3] or [0]
    place = rng.choice(places)
    words[place] = rng.choice(
        [word for word in ("walrus", "never", "carpet", "tuesday") if word != words[place].lower()]
    )
    return replace(caption, top=" ".join(words))


def crop(picture: Image.Image, rng: random.Random, share: float) -> Image.Image:
    left, top, right, bottom = (rng.uniform(0, share) for _ in range(4))
    width, height = picture.size
    box = round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height)
    return picture.crop(box)


def add_bar(picture: Image.Image, rng: random.Random, text: str = "") -> Image.Image:
    bar = round(picture.height * rng.uniform(0.08, 0.16))
    taller = Image.new("RGB", (picture.width, picture.height + bar), "white")
    taller.paste(picture, (0, rng.choice((0, bar))))
    if text:
        blank = bar if taller.getpixel((2, taller.height - 2)) != (255, 255, 255) else 0
        y = 0 if blank else picture.height
        ImageDraw.Draw(taller).text((8, y + bar // 4), text, "black", ImageFont.load_default(bar // 2))
    return taller


def sign(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Write a handle into a corner."""
    font = ImageFont.load_default(max(12, picture.width // 28))
    where = rng.choice((6, picture.width * 2 // 3)), picture.height - 2 * font.size
    ImageDraw.Draw(picture).text(where, rng.choice(HANDLES), "white", font, stroke_width=2, stroke_fill="black")
    return picture


COPIERS: dict[str, Copier] = {
    "encoded again": lambda picture, rng: picture,
    "half the size": lambda picture, rng: picture.reduce(2),
    "twice the size": lambda picture, rng: picture.resize((picture.width * 2, picture.height * 2)),
    "brighter or darker": lambda picture, rng: ImageEnhance.Brightness(picture).enhance(rng.uniform(0.85, 1.15)),
    "cropped up to 2 %": lambda picture, rng: crop(picture, rng, 0.02),
    "cropped up to 5 %": lambda picture, rng: crop(picture, rng, 0.05),
    "a border": lambda picture, rng: ImageOps.expand(
        picture, rng.randint(6, 40), rng.choice(("white", "black", "teal"))
    ),
    "a white bar": add_bar,
    "a white bar with a handle": lambda picture, rng: add_bar(picture, rng, rng.choice(HANDLES)),
    "a handle in a corner": sign,
}


def encode(picture: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=int, default=150, help="templates known; a fifth of them is looked for")
    parser.add_argument("--memes", type=int, default=120)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        reader = Reader(Path(scratch))
        measure_templates(reader, arguments.templates)
        measure_copies(reader, Path(scratch), arguments.memes)


if __name__ == "__main__":
    sys.exit(main())
