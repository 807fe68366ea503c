"""Lists of paths that other programs make, as `sploot add --from` reads them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sploot.paths import absolute
from splootd.errors import RequestError

PATH_BYTES_MAX = 65_536
PIECE_BYTES = 65_536


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
