"""The cascade that reads text, with its real networks, on pictures drawn anew."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import cv2
import memes
import numpy as np
import pytest
from odd_pictures import captioned
from PIL import Image, ImageDraw, ImageFont
from sploot_server.inference import tesseract
from sploot_server.inference.text_reader import TextReader

pytestmark = pytest.mark.models

LINES_MAX = 50
DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return TextReader()


def read(reader: TextReader, image: Image.Image) -> Sequence[str]:
    return [line.text for line in reader.read(np.asarray(image.convert("RGB")), LINES_MAX)]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def test_nearly_all_words_of_captioned_memes_are_read_with_the_spaces_between_them(
    reader: TextReader, tmp_path: Path
) -> None:
    """The tiny network alone loses every fourteenth space."""
    found = total = 0
    for meme in memes.make(tmp_path, count=24, seed=21):
        with Image.open(meme.path) as image:
            text = set(words(" ".join(read(reader, image))))
        wanted = words(meme.caption)
        total += len(wanted)
        found += sum(word in text for word in wanted)
    assert found >= 0.97 * total, f"{found} of {total}"


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270])
def test_a_line_that_runs_up_or_down_is_read(reader: TextReader, turn: Image.Transpose) -> None:
    assert read(reader, captioned().transpose(turn)) == ["PURPLE ELEPHANT"]


@pytest.mark.parametrize("degrees", [12, -25])
def test_a_tilted_line_is_read(reader: TextReader, degrees: int) -> None:
    tilted = captioned((600, 400)).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    assert read(reader, tilted) == ["PURPLE ELEPHANT"]


def test_a_line_that_fills_a_flat_picture_is_read(reader: TextReader) -> None:
    flat = captioned((400, 160)).crop((10, 40, 400, 105)).resize((200, 34)).crop((0, 0, 200, 24))
    assert flat.width > 8 * flat.height
    assert read(reader, flat) == ["PURPLE ELEPHANT"]


def test_lines_beside_one_another_are_read_from_left_to_right_before_the_next_row(reader: TextReader) -> None:
    page = Image.new("RGB", (900, 420), "white")
    for text, x, y in (("FOUR", 450, 210), ("TWO", 450, 4), ("THREE", 0, 214), ("ONE", 0, 0)):
        page.paste(captioned(text=text), (x, y))
    assert read(reader, page) == ["ONE", "TWO", "THREE", "FOUR"]


def test_specks_do_not_take_the_place_of_lines(reader: TextReader) -> None:
    picture = captioned((640, 640))
    specks = picture.load()
    for x in range(0, 640, 16):
        for y in range(200, 640, 16):
            for dx, dy in ((0, 0), (1, 0), (0, 1), (2, 3)):
                specks[x + dx, y + dy] = (0, 0, 0)  # type: ignore[index]
    assert [line.text for line in reader.read(np.asarray(picture), 1)] == ["PURPLE ELEPHANT"]


def test_corners_enclose_the_line_in_pixels_of_the_picture(reader: TextReader) -> None:
    picture = captioned((1200, 900))
    left, top, right, bottom = picture.convert("L").point(lambda level: 255 * (level < 128)).getbbox() or ()
    (line,) = reader.read(np.asarray(picture), LINES_MAX)
    x, y, width, height = cv2.boundingRect(line.corners)
    assert np.allclose((x, y, x + width, y + height), (left, top, right, bottom), atol=20)


SENTENCES = {
    "rus": "Когда понедельник снова пришёл",
    "ell": "Όταν η Δευτέρα έρχεται",
    "heb": "כאשר יום שני מגיע",
}


@pytest.mark.parametrize("script", SENTENCES)
def test_other_scripts_are_read_by_an_installed_tesseract(script: str, reader: TextReader) -> None:
    if script not in tesseract.installed_scripts() or not DEJAVU.exists():
        pytest.skip("needs tesseract with this script, and a font that has its letters")
    picture = Image.new("RGB", (800, 300), "white")
    drawn = SENTENCES[script] if script != "heb" else SENTENCES[script][::-1]  # it is drawn from left to right
    font = ImageFont.truetype(str(DEJAVU), 40, layout_engine=ImageFont.Layout.BASIC)
    ImageDraw.Draw(picture).text((30, 100), drawn, "black", font)
    found = SequenceMatcher(None, SENTENCES[script], " ".join(read(reader, picture)), autojunk=False).ratio()
    assert found >= 0.9


def test_tesseract_is_not_asked_about_text_that_is_read(reader: TextReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tesseract, "installed_scripts", lambda: ["rus"])
    monkeypatch.setattr(tesseract, "read_lines", lambda lines: pytest.fail("it was asked"))
    assert read(reader, captioned()) == ["PURPLE ELEPHANT"]
