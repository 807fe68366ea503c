"""Paths as the user writes them, and as the daemon takes them: absolute, resolved in the caller's own folder."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from splootd.errors import RequestError

PATH_BYTES_MAX = 65_536
PIECE_BYTES = 65_536


def absolute(path: str) -> str:
    """`path` from the root on, with `~` expanded. Links and `..` stay: the daemon resolves them where the files are."""
    given = Path(path)
    with suppress(RuntimeError):  # `~somebody` who does not exist is a name like any other
        given = given.expanduser()
    return str(given.absolute())


def after_word(word: str) -> str:
    """What is to become of files, with its folder from the root on. The daemon knows which words there are."""
    kind, colon, folder = word.partition(":")
    return f"{kind}:{absolute(folder)}" if colon and folder else word


def target(word: str) -> str:
    """What a command means by `word`: an id, unless there is a file of that name."""
    return word if word.isdecimal() and not os.path.lexists(word) else absolute(word)


def listed(source: str, *, by_null: bool) -> Iterator[str]:
    """Paths from the file `source`, or from standard input for `-`, read as they are needed."""
    with _opened(source) as stream:
        for path in _split(stream, b"\0" if by_null else b"\n"):
            if path:
                yield absolute(os.fsdecode(path))


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(source).open("rb") as stream:
            yield stream
    except OSError as error:
        raise RequestError("bad_list", f"{source} cannot be read: {error.strerror}") from error


def _split(stream: BinaryIO, end: bytes) -> Iterator[bytes]:
    rest = b""
    while piece := os.read(stream.fileno(), PIECE_BYTES):
        *whole, rest = (rest + piece).split(end)
        yield from whole
        if len(rest) > PATH_BYTES_MAX:
            raise RequestError("bad_list", f"a line of the list is longer than {PATH_BYTES_MAX} bytes")
    yield rest
