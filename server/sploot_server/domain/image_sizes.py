"""Sizes at which images are shown and analyzed, and the tiles of long and wide ones.

Shrunk as a whole, the screenshot of a long page would lose its text.
"""

WALL_PX = 256  # the thumbnail that the web UI shows at first; larger ones are rendered on demand

SIDE_PX_MAX = 1472  # twice the detector's size, so that the recognizer gets small print at a higher resolution
ASPECT_RATIO_MAX = 2.5  # of an image that is analyzed as a whole
TILES_MAX = 12
OVERLAP_PX = SIDE_PX_MAX // 4  # higher than a line, and wider than most words
STEP_PX = SIDE_PX_MAX - OVERLAP_PX
SHORT_SIDE_PX_MIN = 8  # no text fits into less

EDGE_PX = 3  # text that ends nearer to a tile's edge is cut

Size = tuple[int, int]
Box = tuple[int, int, int, int]


def fit_within(width: int, height: int, side_px: int) -> Size:
    """Return the size at which the longer side has at most `side_px`."""
    scale = min(1.0, side_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def fit_for_reading(width: int, height: int) -> Size:
    """Return the size at which an image is analyzed."""
    short, long = sorted((width, height))
    if short * ASPECT_RATIO_MAX >= long or short < SHORT_SIDE_PX_MIN:
        return fit_within(width, height, SIDE_PX_MAX)
    # A tile is twice as long as wide.
    scale = min(1.0, SIDE_PX_MAX / 2 / short, (TILES_MAX * STEP_PX + OVERLAP_PX) / long)
    return max(1, round(width * scale)), max(1, round(height * scale))


def tiles(width: int, height: int) -> list[Box]:
    """Return the boxes in which an image of `fit_for_reading` is analyzed: left, top, right, bottom, in reading order.

    They overlap by at least OVERLAP_PX, so that a line or word that one of them cuts is whole in the next.
    """
    long = max(width, height)
    count = 1 + max(0, -(-(long - SIDE_PX_MAX) // STEP_PX))
    length = min(long, SIDE_PX_MAX)
    starts = [(long - length) * index // max(1, count - 1) for index in range(count)]
    if height >= width:
        return [(0, start, width, start + length) for start in starts]
    return [(start, 0, start + length, height) for start in starts]


def is_cut(top: float, bottom: float, tile: Box, height: int) -> bool:
    """Return whether a line, from `top` to `bottom` within its tile, is cut by an edge that is not the image's own.

    The line is whole in the next tile.
    """
    return (tile[1] > 0 and top < EDGE_PX) or (tile[3] < height and bottom > tile[3] - tile[1] - EDGE_PX)
