"""Image analysis: recognized text, vectors and dHash. Runs in worker processes only, because native code may crash.

The settings were measured on captioned images. `limit_side_len=736` finds every letter in half the time of the default.
The recognizer is faster with one line at a time, which avoids padding to the longest line. Two threads that share one
pair of sessions without memory patterns take a fifth less time per image than with an engine each, and 350 MB instead
of 750.
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

from sploot_server.domain.embedding import ImageAnalysis
from sploot_server.domain.near_duplicates import DHASH_SIDE, compute_dhash
from sploot_server.inference.clip import ClipImageEncoder
from sploot_server.inference.image_decode import check_pixel_count, open_image
from sploot_server.inference.onnx_options import session_options
from sploot_server.inference.text_encoder import TextEncoder

ANALYSIS_SIDE_PX_MAX = 1472  # twice the detector's size, so that the recognizer gets small print at a higher resolution
ANIMATION_FRAMES_MAX = 100  # the first frame and the middle one of these are analyzed
TEXT_CHARS_MAX = 10_000
BACKGROUND_GREY = (128, 128, 128)  # behind transparency: both black and white text contrast with it
ROTATED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
EXIF_ORIENTATION = 0x0112


class ImageAnalyzer:
    """Analyzes images. Thread-safe."""

    def __init__(self, text_encoder: TextEncoder | None, image_encoder: ClipImageEncoder | None) -> None:
        cv2.setNumThreads(1)  # the threads of this process each analyze an image of their own
        self._text_encoder = text_encoder
        self._image_encoder = image_encoder
        self._ocr = _create_ocr_engine()

    def analyze(self, path: Path) -> ImageAnalysis:
        """Analyze one image. Raises UnreadableImage if it cannot be decoded."""
        with open_image(path) as image:
            stored_size = image.size
            check_pixel_count(image, ANALYSIS_SIDE_PX_MAX)
            # After the pixel check: Pillow decodes a whole PNG to find its EXIF.
            width, height = _displayed_size(stored_size, image)
            frames = _iter_frames(image)
            first = next(frames)
            lines = dict.fromkeys(line for frame in (first, *frames) for line in self._recognize_lines(frame))
        text = "\n".join(lines)[:TEXT_CHARS_MAX]
        text_vector = self._text_encoder.passage(text) if text and self._text_encoder else None
        displayed = Image.fromarray(np.ascontiguousarray(first[:, :, ::-1]))
        image_vector = self._image_encoder.embed(displayed) if self._image_encoder else None
        return ImageAnalysis(text, text_vector, width, height, image_vector, _compute_dhash(displayed))

    def _recognize_lines(self, frame: npt.NDArray[np.uint8]) -> list[str]:
        output: Any = self._ocr(frame)
        return [line for line in map(str.strip, output.txts or ()) if line]


def _create_ocr_engine() -> rapidocr.RapidOCR:
    """Create an OCR engine. It is thread-safe as long as it is called without options, which it would store."""
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
        ocr.cfg.Det.session = _open_session(models / "PP-OCRv6_det_small.onnx")
        ocr.cfg.Rec.session = _open_session(models / "PP-OCRv6_rec_small.onnx")
    return ocr


def _open_session(model: Path) -> InferenceSession:
    options = session_options()
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _displayed_size(stored: tuple[int, int], image: Image.Image) -> tuple[int, int]:
    width, height = stored
    return (height, width) if image.getexif().get(EXIF_ORIENTATION) in ROTATED_ORIENTATIONS else (width, height)


def _iter_frames(image: Image.Image) -> Iterator[npt.NDArray[np.uint8]]:
    """Return the first frame, and the middle one of an animation, where the punch line tends to be."""
    yield _frame_to_bgr(image)
    frames = min(getattr(image, "n_frames", 1), ANIMATION_FRAMES_MAX)
    if frames > 1:
        image.seek(frames // 2)
        yield _frame_to_bgr(image)


def _compute_dhash(image: Image.Image) -> bytes:
    grey = image.convert("L")
    horizontal = grey.resize((DHASH_SIDE + 1, DHASH_SIDE), Image.Resampling.BOX)
    vertical = grey.resize((DHASH_SIDE, DHASH_SIDE + 1), Image.Resampling.BOX)
    return compute_dhash(horizontal.tobytes(), vertical.tobytes())


def _frame_to_bgr(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the frame upright, at most ANALYSIS_SIDE_PX_MAX on its longer side, as rows of BGR."""
    frame: Any = image.convert("RGBA" if image.has_transparency_data else "RGB")
    frame.thumbnail((ANALYSIS_SIDE_PX_MAX, ANALYSIS_SIDE_PX_MAX), reducing_gap=2.0)
    frame = ImageOps.exif_transpose(frame)
    if frame.mode == "RGBA":
        background = Image.new("RGB", frame.size, BACKGROUND_GREY)
        background.paste(frame, mask=frame)
        frame = background
    return np.ascontiguousarray(np.asarray(frame)[:, :, ::-1])
