"""From a picture to its text and vector. Runs in the worker process only: everything here may crash.

Settings by measurement on captioned pictures: with `limit_side_len=736` every letter is found in half the time of the
defaults; the recogniser is faster one line at a time (no padding to the longest line); two threads on one pair of
sessions without memory patterns take a fifth less time per picture than with an engine each, and 350 MB instead of 750.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rapidocr
from omegaconf import flag_override
from onnxruntime import InferenceSession
from PIL import Image, ImageOps

from sploot_server.clip import Visual
from sploot_server.decoding import decoding, refuse_bomb
from sploot_server.embedding import Reading
from sploot_server.graphs import settings
from sploot_server.looks import SIDE, look_of
from sploot_server.meaning import Meaning

SIDE_PX = 1472  # twice what the detector looks at, so that the recogniser sees small print sharper
FRAMES_MAX = 100  # of an animation, the middle one of these is read as well as the first
TEXT_CHARS_MAX = 10_000
GREY = (128, 128, 128)  # shows black and white writing on transparent ground alike
ROTATED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
EXIF_ORIENTATION = 0x0112


class Reader:
    """Reads pictures; any number of threads may share one."""

    def __init__(self, meaning: Meaning | None, visual: Visual | None) -> None:
        cv2.setNumThreads(1)  # one picture per thread keeps all processors busy with less waste
        self._meaning = meaning
        self._visual = visual
        self._ocr = _engine()

    def read(self, path: Path) -> Reading:
        """Raises Unreadable if it cannot be decoded."""
        with decoding(path) as image:
            stored = image.size
            refuse_bomb(image, SIDE_PX)
            width, height = _seen_size(stored, image)  # only now: a PNG is decoded for its EXIF
            frames = _frames(image)
            first = next(frames)
            lines = dict.fromkeys(line for frame in (first, *frames) for line in self._lines(frame))
        text = "\n".join(lines)[:TEXT_CHARS_MAX]
        vector = self._meaning.passage(text) if text and self._meaning else None
        shown = Image.fromarray(np.ascontiguousarray(first[:, :, ::-1]))
        picture = self._visual.embed(shown) if self._visual else None
        return Reading(text, vector, width, height, picture, _look(shown))

    def _lines(self, frame: npt.NDArray[np.uint8]) -> list[str]:
        found: Any = self._ocr(frame)
        return [line for line in map(str.strip, found.txts or ()) if line]


def _engine() -> rapidocr.RapidOCR:
    """An engine that keeps no state between calls: it is only ever called without options."""
    ocr = rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "Det.limit_type": "max",
            "Det.limit_side_len": 736,
            "Rec.rec_batch_num": 1,
        }
    )
    models = Path(rapidocr.__file__).parent / "models"
    with flag_override(ocr.cfg, "allow_objects", values=True):
        ocr.cfg.Det.session = _session(models / "PP-OCRv6_det_small.onnx")
        ocr.cfg.Rec.session = _session(models / "PP-OCRv6_rec_small.onnx")
    return ocr


def _session(model: Path) -> InferenceSession:
    options = settings()
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _seen_size(stored: tuple[int, int], image: Image.Image) -> tuple[int, int]:
    width, height = stored
    return (height, width) if image.getexif().get(EXIF_ORIENTATION) in ROTATED else (width, height)


def _frames(image: Image.Image) -> Iterator[npt.NDArray[np.uint8]]:
    """The first frame, and of an animation one from its middle, where the punch line tends to be."""
    yield _pixels(image)
    frames = min(getattr(image, "n_frames", 1), FRAMES_MAX)
    if frames > 1:
        image.seek(frames // 2)
        yield _pixels(image)


def _look(shown: Image.Image) -> bytes:
    grey = shown.convert("L")
    across = grey.resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    down = grey.resize((SIDE, SIDE + 1), Image.Resampling.BOX)
    return look_of(across.tobytes(), down.tobytes())


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Upright, at most SIDE_PX on its longer side, as rows of BGR."""
    frame: Any = image.convert("RGBA" if image.has_transparency_data else "RGB")
    frame.thumbnail((SIDE_PX, SIDE_PX), reducing_gap=2.0)
    frame = ImageOps.exif_transpose(frame)
    if frame.mode == "RGBA":
        ground = Image.new("RGB", frame.size, GREY)
        ground.paste(frame, mask=frame)
        frame = ground
    return np.ascontiguousarray(np.asarray(frame)[:, :, ::-1])
