"""Reads lists of paths for `sploot add --from`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sploot.paths import absolute
from splootd.errors import RequestError

PATH_BYTES_MAX = 65_536
CHUNK_BYTES = 65_536


def read_paths(source: str, *, by_null: bool) -> Iterator[str]:
    """Yield the paths in the file `source`, or on standard input for `-`, without reading ahead."""
    with _open_source(source) as stream:
        for path in _split(stream, b"\0" if by_null else b"\n"):
            if path:
                yield absolute(os.fsdecode(path))


@contextmanager
def _open_source(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(source).open("rb") as stream:
            yield stream
    except OSError as error:
        raise RequestError("bad_list", f"{source} cannot be read: {error.strerror}") from error


def _split(stream: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while chunk := os.read(stream.fileno(), CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(separator)
        yield from whole
        if len(rest) > PATH_BYTES_MAX:
            raise RequestError("bad_list", f"an entry of the list is longer than {PATH_BYTES_MAX} bytes")
    yield rest
