"""Text detection: finds lines of text in an image by differentiable binarization (Liao et al., AAAI 2020).

The network returns, for each pixel, the probability that it belongs to the shrunk core of a line. Runs in worker
processes only.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from onnxruntime import InferenceSession

Pixels = npt.NDArray[np.uint8]
Corners = npt.NDArray[np.float32]

STRIDE_PX = 32  # of the network: the sides of its input are multiples
GREY_LEVELS_MEAN = GREY_LEVELS_SCALE = 127.5
CORE_PROBABILITY_MIN = 0.3
LINE_PROBABILITY_MIN = 0.5
GROWTH = 1.6  # from a line's core to the line: times area / perimeter, on each side
CORE_SIDE_PX_MIN = 3
LINE_SIDE_PX_MIN = 4
FLAT_RATIO = 8  # flatter images are padded: the network finds nothing at an edge that it sees nothing beyond
CONTOURS_MAX = 4_000
ROW_PX = 10  # lines whose tops are nearer than this, one to the next, are read from left to right
DILATION = np.ones((2, 2), np.uint8)


class TextDetector:
    """Finds lines of text. Thread-safe."""

    def __init__(self, session: InferenceSession, side_px: int) -> None:
        """Shrink images to `side_px` on their longer side: time grows with the area, and small print vanishes."""
        self._session = session
        self._side_px = side_px

    def detect(self, image: Pixels, lines_max: int) -> list[Corners]:
        """Return the corners of the first lines in pixels of the image (BGR), in reading order.

        Each has the shape 4 x 2: left and top first, then clockwise. Tall lines are not turned.
        """
        height, width = image.shape[:2]
        padding = max(0, -(-width // FLAT_RATIO) - height // 2) if width > FLAT_RATIO * height else 0
        padded: Any = cv2.copyMakeBorder(image, padding, padding, 0, 0, cv2.BORDER_CONSTANT) if padding else image
        probabilities = self._run(padded)
        scale = np.array([width, padded.shape[0]], np.float32) / np.array(probabilities.shape[::-1], np.float32)
        lines = []
        for corners in _find_lines(probabilities):
            line = np.clip(corners * scale - (0, padding), 0, (width - 1, height - 1)).astype(np.float32)
            if min(line_size(line)) >= LINE_SIDE_PX_MIN:
                lines.append(line)
        return _in_reading_order(lines)[:lines_max]

    def _run(self, image: Pixels) -> npt.NDArray[np.float32]:
        height, width = image.shape[:2]
        scale = min(1.0, self._side_px / max(height, width))
        size = [max(STRIDE_PX, round(side * scale / STRIDE_PX) * STRIDE_PX) for side in (width, height)]
        resized = cv2.resize(image, size)
        blob = cv2.dnn.blobFromImage(resized, 1 / GREY_LEVELS_SCALE, mean=(GREY_LEVELS_MEAN,) * 3)
        (output,) = self._session.run(None, {self._session.get_inputs()[0].name: blob})
        probabilities: npt.NDArray[np.float32] = output[0, 0]
        return probabilities


def line_size(corners: Corners) -> tuple[float, float]:
    """Return width and height of a line in pixels."""
    left_top, right_top, right_bottom, left_bottom = corners
    return (
        float(max(np.linalg.norm(right_top - left_top), np.linalg.norm(right_bottom - left_bottom))),
        float(max(np.linalg.norm(left_bottom - left_top), np.linalg.norm(right_bottom - right_top))),
    )


def _find_lines(probabilities: npt.NDArray[np.float32]) -> list[Corners]:
    cores = cv2.dilate((probabilities > CORE_PROBABILITY_MIN).astype(np.uint8), DILATION)
    contours, _ = cv2.findContours(cores, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    lines = []
    for contour in contours[-CONTOURS_MAX:]:  # they come from the bottom upwards
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < CORE_SIDE_PX_MIN:
            continue
        if _mean_within(probabilities, cv2.boxPoints((centre, (width, height), angle))) < LINE_PROBABILITY_MIN:
            continue
        growth = GROWTH * width * height / (width + height)  # both sides: 2 * area / perimeter
        lines.append(_from_left_top(cv2.boxPoints((centre, (width + growth, height + growth), angle))))
    return lines


def _mean_within(probabilities: npt.NDArray[np.float32], corners: Any) -> float:
    x, y, width, height = cv2.boundingRect(corners)
    left, top = max(0, x), max(0, y)
    part = probabilities[top : y + height, left : x + width]
    mask = np.zeros(part.shape, np.uint8)
    cv2.fillConvexPoly(mask, (corners - (left, top)).astype(np.int32), 1)
    return float(cv2.mean(part, mask)[0])


def _from_left_top(corners: Any) -> Corners:
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (pair[np.argsort(pair[:, 1], kind="stable")] for pair in (by_x[:2], by_x[2:]))
    return np.array([left[0], right[0], right[1], left[1]], np.float32)


def _in_reading_order(lines: list[Corners]) -> list[Corners]:
    """Sort lines into rows from top to bottom, and each row from left to right."""
    rows: list[list[Corners]] = []
    top = -np.inf
    for line in sorted(lines, key=lambda line: float(line[0, 1])):
        if line[0, 1] - top >= ROW_PX:
            rows.append([])
        rows[-1].append(line)
        top = line[0, 1]
    return [line for row in rows for line in sorted(row, key=lambda line: float(line[0, 0]))]
