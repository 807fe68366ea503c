"""Uniform borders and bars of a picture, which reposts add and near-duplicates ignore. For worker processes only."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE_PX = 320  # at which borders are looked for
DEVIATION_MAX = 3.0  # mean distance of a border's pixels from its colour, in levels of 255; JPEG leaves up to 2
COLOUR_DISTANCE_MAX = 8.0  # between the lines of one border
KEPT_MIN = 0.25  # of each side; a picture of which less would remain has no borders

Levels = NDArray[np.float32]


def trim_borders(picture: Image.Image) -> Image.Image:
    """Return an RGB picture without its uniform borders and bars."""
    scale = min(1.0, SIDE_PX / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    levels = np.asarray(picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0), np.float32)
    top = left = 0
    bottom, right = size[1], size[0]
    # Twice: where the picture has a border all around, its rows are uniform only between the bars, and its columns too.
    for _ in range(2):
        top, bottom = _shrink(levels[:, left:right], top, bottom)
        left, right = _shrink(levels[top:bottom].swapaxes(0, 1), left, right)
    if right - left < KEPT_MIN * size[0] or bottom - top < KEPT_MIN * size[1]:
        return picture
    x, y = picture.width / size[0], picture.height / size[1]
    box = round(left * x), round(top * y), round(right * x), round(bottom * y)
    return picture if box == (0, 0, *picture.size) else picture.crop(box)


def _shrink(levels: Levels, start: int, end: int) -> tuple[int, int]:
    """Return a range of lines without the uniform ones of one colour at each end; the same range if all are uniform."""
    lines = levels[start:end]
    first = _count_uniform(lines)
    return (start, end) if first == len(lines) else (start + first, end - _count_uniform(lines[::-1]))


def _count_uniform(lines: Levels) -> int:
    """Return the number of uniform lines of one colour before the first other line."""
    border = lines[0].mean(axis=0)
    for number, line in enumerate(lines):  # most pictures have no borders: their first line ends the loop
        colour = line.mean(axis=0)
        if np.abs(line - colour).mean() > DEVIATION_MAX or np.abs(colour - border).max() > COLOUR_DISTANCE_MAX:
            return number
    return len(lines)
