"""Odd and hostile pictures, made anew: each function returns the bytes of a file."""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import cache

from memes import FONTS
from PIL import Image, ImageCms, ImageDraw, ImageFont

TEXT = "PURPLE ELEPHANT"


@cache
def _font(px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS["anton"][0]), px)


def captioned(size: tuple[int, int] = (400, 160), *, text: str = TEXT, ink: object = "black", paper: object = "white"):
    """Draw a text on a plain ground."""
    mode = "I;16" if isinstance(paper, int) else "RGB"
    image = Image.new(mode, size, paper)  # type: ignore[arg-type]  # a colour of the mode
    if mode == "I;16":  # which has no text drawing
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).text((20, 40), text, fill=255, font=_font(48))
        image.paste(ink, mask=mask.point(lambda level: 255 * (level > 127)))  # type: ignore[arg-type]
    else:
        ImageDraw.Draw(image).text((20, 40), text, fill=ink, font=_font(48))  # type: ignore[arg-type]
    return image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def gif_with_second_frame(width: int, height: int, *, left: int = 0, top: int = 0, disposal: int = 0) -> bytes:
    """Return a GIF of 100 x 100 pixels whose second frame claims another place, size and disposal."""
    data = saved(Image.new("P", (100, 100), 1), "GIF")
    start = data.rindex(b",")
    control = b"!\xf9\x04" + bytes([disposal << 2, 0, 0, 0, 0])
    descriptor = b"," + struct.pack("<4H", left, top, width, height)
    return data[:start] + control + data[start:-1] + control + descriptor + data[start + 9 : -1] + b";"


def jpeg_of_claimed_size(width: int, height: int, *, separate_scans: bool = False) -> bytes:
    """Return a JPEG of 64 x 64 pixels that claims another size: progressive, or with one scan per component."""
    data = bytearray(saved(Image.new("RGB", (64, 64), "red"), "JPEG", progressive=not separate_scans))
    frame = data.index(b"\xff\xc0" if separate_scans else b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">2H", height, width)
    if separate_scans:
        scan = data.index(b"\xff\xda")
        data[scan : scan + 14] = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
    return bytes(data)


def cut_mpo(*, zeros: int = 0) -> bytes:
    """Return the JPEG of a phone whose second picture was cut off, or overwritten with zeros."""
    data = saved(captioned(), "MPO", save_all=True, append_images=[captioned(text="SECOND")])
    return data[: data.rindex(b"\xff\xd8\xff")] + bytes(zeros)


def jpeg_with_exif(exif: bytes) -> bytes:
    data = saved(captioned(), "JPEG")
    segment = b"Exif\0\0" + exif
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a PNG: type and content."""
    start, chunks = 8, []
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += length + 12
    return chunks


def png_of(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def png_with(kind: bytes, content: bytes, image: Image.Image | None = None) -> bytes:
    """Return a PNG with one more chunk before its pixels."""
    chunks = png_chunks(saved(image or captioned(), "PNG"))
    return png_of([chunks[0], (kind, content), *chunks[1:]])


def apng(frames: Sequence[Image.Image], *, without: Sequence[tuple[bytes, int]] = (), **options: object) -> bytes:
    """Return an animated PNG, `without` the n-th chunk of a type (counted from the end if negative)."""
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100, **options)
    chunks = png_chunks(data)
    for kind, number in without:
        del chunks[[index for index, (each, _) in enumerate(chunks) if each == kind][number]]
    return png_of(chunks)


def swapped_profile() -> bytes:
    """Return an sRGB profile with red and blue swapped."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"?XYZ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"?XYZ", b"bXYZ", 1)


def gif_with_small_frame() -> bytes:
    """Return a GIF whose only frame, 400 x 160, leaves most of the screen, 480 x 300, free."""
    data = bytearray(saved(captioned().convert("P"), "GIF"))
    data[6:10] = struct.pack("<2H", 480, 300)
    return bytes(data)


def long_page(lines: int, width: int = 1080, line_px: int = 90) -> tuple[Image.Image, list[str]]:
    """Draw a page of numbered words, 36 pixels high; return it and its words."""
    words = ("garden window yellow bridge silver", "planet coffee winter orange castle")
    image = Image.new("RGB", (width, lines * line_px + 100), "white")
    draw, drawn = ImageDraw.Draw(image), []
    font = ImageFont.truetype(str(FONTS["roboto"][0]), 36)
    for line in range(lines):
        text = f"{100 + line} {words[line % 2]}"
        draw.text((40, 50 + line * line_px), text, fill="black", font=font)
        drawn += [f"{100 + line}"]
    return image, drawn
