"""Image analysis: text, vectors, dHash, colours and features. Runs in worker processes only: native code may crash."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sploot_server.domain.embedding import ImageAnalysis
from sploot_server.domain.image_sizes import Box, fit_for_reading, is_cut, tiles
from sploot_server.domain.near_duplicates import COLOURS_SIDE, DHASH_SIDE, compute_dhash
from sploot_server.inference.clip import ClipImageEncoder
from sploot_server.inference.image_decode import decode_image
from sploot_server.inference.picture_features import compute_features
from sploot_server.inference.render_thumbnail import encode_thumbnail
from sploot_server.inference.text_detector import Corners, Pixels
from sploot_server.inference.text_encoder import TextEncoder
from sploot_server.inference.text_reader import Line, TextReader
from sploot_server.inference.trim_borders import trim_borders

TEXT_CHARS_MAX = 10_000
BACKGROUND_GREY = (128, 128, 128)  # behind transparency: both black and white text contrast with it
# A line takes 4 to 15 ms to read. A page of more lines is found by those that come first.
LINES_MAX = 400
LINES_PER_TILE_MAX = 250
SAME_LEVELS_MAX = 4.0  # mean difference between a line in two frames of an animation: changed dithering, not letters


class ImageAnalyzer:
    """Analyzes images. Thread-safe."""

    def __init__(self, text_encoder: TextEncoder | None, image_encoder: ClipImageEncoder | None) -> None:
        cv2.setNumThreads(1)  # the threads of this process each analyze an image of their own
        self._text_encoder = text_encoder
        self._image_encoder = image_encoder
        self._text_reader = TextReader()

    def analyze(self, path: Path) -> ImageAnalysis:
        """Analyze one image. Raises UnreadableImage if it cannot be decoded."""
        decoded = decode_image(path, fit_for_reading, with_later_frames=True)
        displayed = _on_grey(decoded.frames[0])
        trimmed = trim_borders(displayed)
        lines, corners = self._read_lines(decoded.frames)
        text = "\n".join(lines)[:TEXT_CHARS_MAX]
        passage = self._text_encoder.passage(text) if self._text_encoder else None
        image_vector = self._image_encoder.embed(displayed) if self._image_encoder else None
        return ImageAnalysis(
            text,
            passage.vector if passage else None,
            decoded.width,
            decoded.height,
            image_vector,
            _compute_dhash(trimmed),
            trimmed.resize((COLOURS_SIDE, COLOURS_SIDE), Image.Resampling.BOX).tobytes(),
            encode_thumbnail(decoded.frames[0]),
            passage.hubness if passage else 0.0,
            compute_features(displayed, corners),
            trimmed.width / trimmed.height,
        )

    def describe(self, path: Path) -> tuple[bytes, bytes]:
        """Return the features of a picture and of its mirror image. Raises UnreadableImage."""
        frame = _on_grey(decode_image(path, fit_for_reading).frames[0])
        _, corners = self._read_lines([frame])
        return compute_features(frame, corners), compute_features(frame, corners, mirrored=True)

    def _read_lines(self, frames: Sequence[Image.Image]) -> tuple[Iterable[str], Sequence[Corners]]:
        """Return the lines of text in reading order, each once, until there are enough for any search.

        Also return the corners of all lines in the first frame.
        """
        corners: list[Corners] = []
        texts: dict[str, None] = {}
        last_read: dict[Box, tuple[Pixels, Sequence[Line]]] = {}
        stills = [_on_grey(frame) for frame in frames]
        for frame in stills:
            for tile in tiles(*frame.size):
                if len(texts) >= LINES_MAX:
                    break
                pixels = np.asarray(frame.crop(tile))
                lines = self._text_reader.read(
                    _hide_lines(pixels, *last_read.get(tile, (pixels, ()))), LINES_PER_TILE_MAX
                )
                last_read[tile] = pixels, lines
                if frame is stills[0]:
                    corners += [line.corners + np.array(tile[:2], np.float32) for line in lines]
                texts.update((line.text, None) for line in lines if not _is_cut(line, tile, frame))
        return texts, corners


def _hide_lines(pixels: Pixels, last_pixels: Pixels, last_lines: Sequence[Line]) -> Pixels:
    """Return a frame of an animation without the lines that look as in the last one: they have been read."""
    hidden = pixels.copy()
    for line in last_lines:
        x, y, width, height = cv2.boundingRect(line.corners)
        box = slice(max(0, y), y + height), slice(max(0, x), x + width)
        if cv2.absdiff(pixels[box], last_pixels[box]).mean() <= SAME_LEVELS_MAX:
            hidden[box] = pixels[box].mean(axis=(0, 1))
    return hidden


def _is_cut(line: Line, tile: Box, frame: Image.Image) -> bool:
    return is_cut(line.corners[:, 1].min(), line.corners[:, 1].max(), tile, frame.height)


def _compute_dhash(image: Image.Image) -> bytes:
    grey = image.convert("L")
    horizontal = grey.resize((DHASH_SIDE + 1, DHASH_SIDE), Image.Resampling.BOX)
    vertical = grey.resize((DHASH_SIDE, DHASH_SIDE + 1), Image.Resampling.BOX)
    return compute_dhash(horizontal.tobytes(), vertical.tobytes())


def _on_grey(frame: Image.Image) -> Image.Image:
    """Return the frame without transparency."""
    if frame.mode == "RGB":
        return frame
    background = Image.new("RGB", frame.size, BACKGROUND_GREY)
    background.paste(frame, mask=frame)
    return background
