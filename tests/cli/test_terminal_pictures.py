"""Pictures in a terminal: a pseudo-terminal answers as kitty, as one with sixels, or as one with neither."""

import base64
import io
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sploot.terminal_pictures import render_picture
from temp_home import Home
from toy_home import toy_home

WORDS = "two halves"
KITTY, SIXEL, PLAIN = b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c", b"\x1b[?62;4;22c", b"\x1b[?62;22c"
CHUNK = re.compile(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\")


def picture(path: Path) -> Image.Image:
    """Draw a picture of two halves, red and blue, as a file."""
    image = Image.new("RGB", (90, 60), (255, 0, 0))
    image.paste((0, 0, 255), (45, 0, 90, 60))
    image.save(path)
    return image


def read_sixels(text: str) -> Image.Image:
    """Draw sixels, as a terminal does (DEC STD 070)."""
    head = re.match(r'\x1bP0;1q"1;1;(\d+);(\d+)', text)
    assert head
    assert text.endswith("\x1b\\")
    image = Image.new("RGB", (int(head[1]), int(head[2])))
    palette: dict[int, tuple[int, ...]] = {}
    x = top = color = 0
    for token in re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)(.)|([$-])|([?-~])", text[head.end() : -2]):
        if token[1]:
            color = int(token[1])
            palette |= {color: tuple(round(int(part) * 2.55) for part in token.groups()[1:4])} if token[2] else {}
        elif token[7]:
            x, top = 0, top + 6 * (token[7] == "-")
        else:
            bits, end = ord(token[6] or token[8]) - 63, x + int(token[5] or 1)
            for y in (y for y in range(6) if bits >> y & 1):
                image.paste(palette[color], (x, top + y, end, top + y + 1))
            x = end
    return image


def test_sixels_draw_the_picture(tmp_path: Path):
    drawn_from = picture(tmp_path / "a.png")
    drawn = read_sixels(render_picture(str(tmp_path / "a.png"), "sixel"))
    assert drawn.size == drawn_from.size
    for place in ((0, 0), (44, 59), (46, 0), (89, 59)):
        assert drawn.getpixel(place) == drawn_from.getpixel(place)


def test_kitty_and_iterm2_get_the_picture_as_png(tmp_path: Path):
    file = tmp_path / "a.jpg"
    picture(file)
    chunks = CHUNK.findall(render_picture(str(file), "kitty"))
    assert chunks[0][0].startswith("a=T,f=100,")
    assert [control.endswith("m=1") for control, _ in chunks] == [True] * (len(chunks) - 1) + [False]
    inline = re.fullmatch(r"\x1b\]1337;File=inline=1;.*?:(.*)\a", render_picture(str(file), "iterm2"))
    assert inline
    for data in ("".join(part for _, part in chunks), inline[1]):
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (90, 60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with toy_home(tmp_path_factory.mktemp("h")) as home:
        picture(home.folder / "two halves.png")
        home.ok("add", "two halves.png", "--wait", "--timeout", "60")
        yield home


def run_in_terminal(home: Home, answer: bytes, *words: str) -> str:
    """Run `sploot WORDS` in a terminal that gives this answer to a question about itself; return all output."""
    master, terminal = pty.openpty()
    # `--preview` asks its controlling terminal, which only a session without one can get.
    take_terminal = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{take_terminal}; os.execv(sys.argv[1], sys.argv[1:])", *home.command(*words)],
        env={**home.variables(), "TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    output, has_answered = b"", False
    while select.select([master], [], [], 30)[0]:
        try:
            output += os.read(master, 65_536)
        except OSError:  # the last writer has closed it
            break
        if not has_answered and b"\x1b[c" in output:
            has_answered = bool(os.write(master, answer))
    os.close(master)
    process.wait(10)
    return output.decode()


@pytest.mark.parametrize(
    ("answer", "start"), [(KITTY, "\x1b_Ga=T,f=100"), (SIXEL, "\x1bP0;1q")], ids=["kitty", "sixel"]
)
def test_a_preview_uses_what_the_terminal_can(home: Home, answer: bytes, start: str):
    output = run_in_terminal(home, answer, "search", WORDS, "--preview")
    assert start in output
    assert "error" not in output


def test_a_terminal_without_pictures_and_a_pipe_say_so(home: Home):
    output = run_in_terminal(home, PLAIN, "search", WORDS, "--preview")
    assert "this terminal cannot show pictures" in output
    done = home.run("search", WORDS, "--preview")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: --preview shows pictures in a terminal")
