"""Text recognition: the letters of one line, by connectionist temporal classification (Graves et al., ICML 2006).

The network returns, for each column of the line, the probability of each letter and of none. Runs in worker processes
only.
"""

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from onnxruntime import InferenceSession

from sploot_server.inference.text_detector import GREY_LEVELS_MEAN, GREY_LEVELS_SCALE, Pixels

LINE_HEIGHT_PX = 48  # of the network's input
LINE_WIDTH_PX_MIN = 16
LINE_WIDTH_PX_MAX = 3200
# The networks hesitate at spaces: of the words of 140 memes, this finds 0.99 instead of 0.94.
SPACE_WEIGHT = 16
NONE = 0  # the index of "no letter"


class Reading(NamedTuple):
    """A text, and the mean probability of its letters, spaces aside."""

    text: str
    confidence: float


class TextRecognizer:
    """Reads lines, one at a time, which avoids padding to the longest one. Thread-safe."""

    def __init__(self, session: InferenceSession, letters: Path) -> None:
        """`letters` has one letter per line; "none" precedes them in the network's output, the space follows them."""
        self._session = session
        self._letters = ["", *letters.read_text(encoding="utf-8").removesuffix("\n").split("\n"), " "]

    def read(self, line: Pixels) -> Reading:
        """Read a line: BGR, upright."""
        height, width = line.shape[:2]
        scaled_width = min(max(math.ceil(width * LINE_HEIGHT_PX / height), LINE_WIDTH_PX_MIN), LINE_WIDTH_PX_MAX)
        scaled = cv2.resize(line, (scaled_width, LINE_HEIGHT_PX))
        blob = cv2.dnn.blobFromImage(scaled, 1 / GREY_LEVELS_SCALE, mean=(GREY_LEVELS_MEAN,) * 3)
        (output,) = self._session.run(None, {self._session.get_inputs()[0].name: blob})
        return self._decode(output[0])

    def _decode(self, columns: npt.NDArray[np.float32]) -> Reading:
        space = len(self._letters) - 1
        weighted = columns.copy()
        weighted[:, space] *= SPACE_WEIGHT
        best = weighted.argmax(axis=1)
        is_read = best != NONE
        is_read[1:] &= best[1:] != best[:-1]
        is_letter = is_read & (best != space)
        if not is_letter.any():
            return Reading("", 0.0)
        confidence = columns[is_letter, best[is_letter]].mean()
        return Reading("".join(self._letters[index] for index in best[is_read]).strip(), float(confidence))
