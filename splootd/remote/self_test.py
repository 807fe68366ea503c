"""Self-test of a server with images of our own, for `sploot doctor` and for the circuit breaker."""

import hashlib
import secrets
import struct
import zlib

from splootd.core.item import Version
from splootd.errors import ConnectionLost, InternalServerError, InvalidResponse
from splootd.file_reader import Content
from splootd.remote.client import SplootClient


async def run_self_test(client: SplootClient) -> bool:
    """Upload a random PNG, look it up, and delete it permanently. Raises the ItemError of the first failed request.

    Return whether the server reported the image correctly before and after its deletion.
    """
    return await _test_with(client, tiny_png(secrets.token_bytes(48)), "png")


async def probe_with_images(client: SplootClient) -> None:
    """As `run_self_test`; if that fails, repeat it with a GIF: something on the way may refuse one type of image."""
    try:
        await run_self_test(client)
    except (ConnectionLost, InternalServerError, InvalidResponse):
        await _test_with(client, tiny_gif(secrets.token_bytes(6)), "gif")


async def _test_with(client: SplootClient, data: bytes, kind: str) -> bool:
    sha256, path = hashlib.sha256(data).digest(), f"/self-test.{kind}".encode()
    version = Version(size=len(data), mtime_ns=0, device=0, inode=0)
    stored = await client.upload(Content(path, version, sha256, f"image/{kind}", kind, True, data, None))
    try:
        found = await client.check(sha256, control=True)
    finally:
        await client.delete_permanently(stored.asset_id)
    return found is not None and await client.check(sha256, control=True) is None


def tiny_gif(colours: bytes) -> bytes:
    """Encode a GIF of one pixel with a table of two RGB colours."""
    screen, image = struct.pack("<HHBBB", 1, 1, 0x80, 0, 0), struct.pack("<BHHHHB", 0x2C, 0, 0, 1, 1, 0)
    return b"GIF89a" + screen + colours + image + b"\x02\x02\x44\x01\x00;"


def tiny_png(pixels: bytes) -> bytes:
    """Encode 48 bytes as a PNG of 4 by 4 RGB pixels (ISO/IEC 15948)."""
    rows = b"".join(b"\0" + pixels[at : at + 12] for at in range(0, 48, 12))
    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
