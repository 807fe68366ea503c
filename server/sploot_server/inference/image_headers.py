"""What the headers of image files tell before anything is decoded. Pure functions of a file object or of its bytes."""

from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
GIF_STARTS = (b"GIF87a", b"GIF89a")
JPEG_SEQUENTIAL = (0xC0, 0xC1)  # SOF0 and SOF1 (ITU-T T.81, table B.1)
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the others define tables
JPEG_SCAN = 0xDA
PNG_ESSENTIAL = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
END_MARKERS = {JPEG_START: b"\xff\xd9", PNG_START: b"IEND", GIF_STARTS[0]: b";", GIF_STARTS[1]: b";"}
TAIL_BYTES = 4096


def is_single_scan_jpeg(file: BinaryIO) -> bool:
    """Return whether a JPEG can be decoded row by row.

    For a progressive image, or one whose components come in scans of their own, libjpeg keeps the coefficients of all
    stored pixels, at whatever scale it decodes.
    """
    components = 0
    for marker, segment in _jpeg_segments(file):
        if marker in JPEG_FRAMES:
            if marker not in JPEG_SEQUENTIAL or len(segment) < 6:
                return False
            components = segment[5]
        elif marker == JPEG_SCAN:
            return bool(segment) and segment[0] == components
    return False


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Return the segments up to the first scan: marker code and content. Garbage ends them."""
    file.seek(2)
    while (start := file.read(2))[:1] == b"\xff" and len(start) == 2:
        marker = start[1]
        if marker == 0xFF:  # a fill byte
            file.seek(-1, 1)
            continue
        length = int.from_bytes(file.read(2), "big")
        yield marker, file.read(max(length - 2, 0))
        if marker == JPEG_SCAN:
            return


def count_gif_frames(file: BinaryIO, frames_max: int) -> int:
    """Return the number of frames, at most `frames_max`. Pillow counts all, which takes seconds for half a million."""
    file.seek(10)
    flags = file.read(3)[:1]
    frames = 0
    _skip_colour_table(file, flags)
    while frames < frames_max:
        match file.read(1):
            case b",":
                frames += 1
                _skip_colour_table(file, file.read(9)[8:])
                file.seek(1, 1)
            case b"!":
                file.seek(1, 1)
            case b"\0":  # some encoders write one block end too many
                continue
            case _:
                break
        while size := file.read(1)[:1].strip(b"\0"):
            file.seek(size[0], 1)
    return frames


def _skip_colour_table(file: BinaryIO, flags: bytes) -> None:
    if flags and flags[0] & 0x80:
        file.seek(3 << (flags[0] & 7) + 1, 1)


def essential_png(file: BinaryIO) -> BinaryIO | None:
    """Return a PNG with only those chunks that its pixels need, or None if the file is no PNG.

    A broken chunk of another kind (a profile, EXIF, an animation) is no reason to lose the image.
    """
    data = file.read()
    if not data.startswith(PNG_START):
        return None
    start, kept = len(PNG_START), [PNG_START]
    while start + 8 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] in PNG_ESSENTIAL:
            kept.append(data[start:end])
        start = end
    return BytesIO(b"".join(kept))


def is_cut_off(file: BinaryIO) -> bool:
    """Return whether a JPEG, PNG or GIF lacks its end."""
    file.seek(0)
    head = file.read(8)
    marker = next((marker for start, marker in END_MARKERS.items() if head.startswith(start)), b"")
    file.seek(max(file.seek(0, 2) - TAIL_BYTES, 0))
    return marker not in file.read()
