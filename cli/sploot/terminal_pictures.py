"""Shows pictures in terminals that can: by kitty's graphics protocol, by iTerm2's inline images, or by sixels."""

from __future__ import annotations

import base64
import io
import os
import re
import select
import sys
import time
from collections.abc import Iterator

from splootd.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from PIL.Image import Image

ROWS, CELL_PX = 10, (10, 20)  # the height of a picture, and a usual cell
CHUNK_CHARS = 4096  # of kitty's protocol
COLORS = 255  # of a sixel picture; most terminals have 256 registers
ANSWER_TIMEOUT_S = 0.5
ANSWER_BYTES_MAX = 4096

# A terminal with kitty's protocol answers the first question. Every terminal answers the second (DA1, ECMA-48 8.3.24;
# 4 among its attributes means sixels), so nothing waits for an answer that does not come.
_QUESTIONS = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
_DA1 = re.compile(rb"\x1b\[\?([\d;]*)c")


def find_protocol() -> str:
    """Return `kitty`, `iterm2` or `sixel`. RequestError if the terminal has none of them."""
    if not sys.stdout.isatty():
        raise RequestError("bad_option", "--preview shows pictures in a terminal", "run it without a pipe or a file")
    if os.environ.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm") or os.environ.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    answer = _ask_terminal()
    if b"_Gi=31;OK" in answer:
        return "kitty"
    attributes = _DA1.search(answer)
    if attributes and b"4" in attributes[1].split(b";")[1:]:
        return "sixel"
    title = "this terminal cannot show pictures: it has neither kitty's protocol, nor iTerm2's, nor sixels"
    raise RequestError("no_pictures", title, "to see the matches: sploot search TEXT --open N")


def _ask_terminal() -> bytes:
    """Return the terminal's answers to _QUESTIONS; without a terminal to read from, nothing."""
    import termios  # noqa: PLC0415 - only used with --preview
    import tty  # noqa: PLC0415 - as above

    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return b""
    answer, deadline = b"", time.monotonic() + ANSWER_TIMEOUT_S
    settings = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSANOW)  # answers end with no newline, and are not to be printed
        os.write(terminal, _QUESTIONS.encode())
        while not _DA1.search(answer) and len(answer) < ANSWER_BYTES_MAX:
            if not select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
                break
            answer += os.read(terminal, ANSWER_BYTES_MAX)
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, settings)
        os.close(terminal)
    return answer


def render_picture(file: str, protocol: str) -> str:
    """Return the escape sequences that show a picture at the cursor, ROWS high."""
    image = _read_picture(file)
    if protocol == "sixel":
        return "".join(_render_sixel(image))
    png = io.BytesIO()
    image.save(png, "PNG")
    data = base64.b64encode(png.getvalue()).decode("ascii")
    if protocol == "iterm2":
        # https://iterm2.com/documentation-images.html
        return f"\x1b]1337;File=inline=1;size={len(png.getvalue())};height={ROWS};preserveAspectRatio=1:{data}\a"
    return "".join(_render_kitty(data))


def _render_kitty(data: str) -> Iterator[str]:
    """Yield a PNG in chunks (https://sw.kovidgoyal.net/kitty/graphics-protocol/). With `q=2` the terminal is silent."""
    for start in range(0, len(data), CHUNK_CHARS):
        first = f"a=T,f=100,r={ROWS},q=2," if start == 0 else ""
        more = int(start + CHUNK_CHARS < len(data))
        yield f"\x1b_G{first}m={more};{data[start : start + CHUNK_CHARS]}\x1b\\"


def _read_picture(file: str) -> Image:
    """Return the first frame, as large as it is shown. RequestError without Pillow, or if it cannot be decoded."""
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415 - only used with --preview
    except ImportError:
        title = "pictures in the terminal need the package Pillow"
        raise RequestError("no_pictures", title, "pip install 'sploot[local]'") from None
    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            image.thumbnail((ROWS * CELL_PX[1] * 3, ROWS * CELL_PX[1]))
            return image.convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise RequestError("no_pictures", f"the picture cannot be shown: {error}") from error


def _render_sixel(image: Image) -> Iterator[str]:
    """Yield a picture as sixels (DEC VT340): bands of six rows, each painted once per colour; runs are shortened."""
    paletted = image.convert("RGB").quantize(COLORS)
    palette, (width, height) = paletted.getpalette() or [], paletted.size
    pixels = paletted.tobytes()
    yield f'\x1bP0;1q"1;1;{width};{height}'
    for color in range(len(palette) // 3):
        red, green, blue = (round(value / 2.55) for value in palette[3 * color : 3 * color + 3])
        yield f"#{color};2;{red};{green};{blue}"
    for top in range(0, height, 6):
        rows = [pixels[y * width : (y + 1) * width] for y in range(top, min(top + 6, height))]
        for color in sorted(set(b"".join(rows))):
            bits = bytes(63 + sum((row[x] == color) << y for y, row in enumerate(rows)) for x in range(width))
            yield f"#{color}{_shorten_runs(bits.decode('ascii'))}$"
        yield "-"
    yield "\x1b\\"


def _shorten_runs(bits: str) -> str:
    return re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", bits)
