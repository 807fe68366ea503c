"""Lines in scripts that the networks do not know, read by an installed tesseract. Runs in worker processes only."""

import os
import shutil
import subprocess
import unicodedata
from collections.abc import Sequence
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image

from sploot_server.inference.text_detector import Pixels
from sploot_server.inference.text_recognizer import Reading

SCRIPTS = {  # tesseract's name of the model, and how Unicode's names of the script's letters begin
    "rus": "CYRILLIC",
    "ara": "ARABIC",
    "hin": "DEVANAGARI",
    "kor": "HANGUL",
    "ell": "GREEK",
    "tha": "THAI",
    "heb": "HEBREW",
}
LINE_S_MAX = 10.0
CONFIDENCE_MIN = 0.85  # of a line; in a wrong script, up to 0.8
WHITE_MIN = 185  # of the darkest channel; letters are black or have a black outline more often than not
MARGIN_PX = 12
CONFIDENCE, TEXT = 10, 11  # columns of tesseract's table


@cache
def installed_scripts() -> Sequence[str]:
    """Return the names of the installed models among SCRIPTS."""
    program = shutil.which("tesseract")
    if program is None:
        return ()
    result = subprocess.run([program, "--list-langs"], capture_output=True, text=True, check=False)  # noqa: S603 - fixed
    return [script for script in SCRIPTS if script in result.stdout.split()]


def read_lines(lines: Sequence[Pixels]) -> Sequence[Reading]:
    """Read lines (BGR) of one script: the one in which the widest line is read most surely.

    Return a reading for each line, empty where the letters are not sure or of another script.
    """
    widest = max(lines, key=lambda line: line.shape[1] / line.shape[0])
    script = max(installed_scripts(), key=lambda script: _read_line(widest, script).confidence)
    if not _read_line(widest, script).text:
        return [Reading("", 0.0)] * len(lines)
    return [_read_line(line, script) for line in lines]


def _read_line(line: Pixels, script: str) -> Reading:
    is_white = (line.min(axis=2) > WHITE_MIN).astype(np.uint8) * 255
    framed = np.pad(is_white, MARGIN_PX, constant_values=255)
    image = BytesIO()
    Image.fromarray(framed).save(image, "PNG", compress_level=1)
    command = ["tesseract", "stdin", "stdout", "--psm", "7", "-l", script, "tsv"]
    try:
        result = subprocess.run(  # noqa: S603 - fixed, and the image is on its standard input
            command,
            input=image.getvalue(),
            capture_output=True,
            check=True,
            timeout=LINE_S_MAX,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        )
    except (OSError, subprocess.SubprocessError):
        return Reading("", 0.0)
    rows = [row.split("\t") for row in result.stdout.decode(errors="replace").splitlines()[1:]]
    words = [(float(row[CONFIDENCE]) / 100, row[TEXT]) for row in rows if len(row) > TEXT and row[TEXT].strip()]
    letters = [letter for _, word in words for letter in word if letter.isalpha()]
    own = sum(unicodedata.name(letter, "").startswith(SCRIPTS[script]) for letter in letters)
    confidence = sum(sure * len(word) for sure, word in words) / max(1, sum(len(word) for _, word in words))
    if 2 * own <= len(letters) or confidence < CONFIDENCE_MIN:
        return Reading("", 0.0)
    return Reading(" ".join(word for _, word in words), confidence)
