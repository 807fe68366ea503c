"""Decode the content codings gzip and deflate (RFC 9110, 8.4.1) with bounded memory, whatever the compression ratio."""

import zlib
from collections.abc import AsyncIterator


async def decode_bounded(pieces: AsyncIterator[bytes], coding: str, bytes_max: int) -> bytes:
    """Return the decoded body, or its first `bytes_max + 1` bytes if it is longer. Raises ValueError."""
    decoder = _Decoder(coding)
    body = bytearray()
    async for piece in pieces:
        body += decoder.decode(piece, bytes_max + 1 - len(body))
        if len(body) > bytes_max:
            return bytes(body)
    if not decoder.is_complete:
        raise ValueError("it is truncated")
    return bytes(body)


class _Decoder:
    """Decodes the pieces of one body."""

    def __init__(self, coding: str) -> None:
        name = coding.strip().lower()
        if name not in ("identity", "gzip", "x-gzip", "deflate"):
            raise ValueError(f"it is compressed with {name!r}, which was not requested")
        self._is_deflate = name == "deflate"
        self._zlib = None if name == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib or gzip
        self._has_started = False

    @property
    def is_complete(self) -> bool:
        return self._zlib is None or self._zlib.eof or not self._has_started  # HEAD, 204: no body to decode

    def decode(self, piece: bytes, bytes_max: int) -> bytes:
        """Decode at most `bytes_max` bytes; the rest is lost."""
        if self._zlib is None:
            return piece[:bytes_max]
        is_first, self._has_started = not self._has_started, True
        # Some servers send deflate without the frame of zlib, whose first byte has 8 in its lower half.
        if is_first and self._is_deflate and piece[:1] and piece[0] & 0x0F != zlib.DEFLATED:
            self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            return self._zlib.decompress(piece, bytes_max)
        except zlib.error as error:
            raise ValueError(str(error)) from error
