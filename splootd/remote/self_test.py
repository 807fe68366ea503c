"""Self-test of a server with an image of our own, for `sploot doctor` and for the circuit breaker."""

import hashlib
import secrets
import struct
import zlib

from splootd.core.item import Version
from splootd.file_reader import Content
from splootd.remote.client import SplootClient


async def run_self_test(client: SplootClient) -> bool:
    """Upload a random image, look it up, and delete it permanently. Raises the ItemError of the first failed request.

    Return whether the server reported the image correctly before and after its deletion.
    """
    data = tiny_png(secrets.token_bytes(48))
    sha256 = hashlib.sha256(data).digest()
    version = Version(size=len(data), mtime_ns=0, device=0, inode=0)
    stored = await client.upload(Content(b"/self-test.png", version, sha256, "image/png", "png", True, data, None))
    try:
        found = await client.check(sha256, control=True)
    finally:
        await client.delete_permanently(stored.asset_id)
    return found is not None and await client.check(sha256, control=True) is None


def tiny_png(pixels: bytes) -> bytes:
    """Encode 48 bytes as a PNG of 4 by 4 RGB pixels (ISO/IEC 15948)."""
    rows = b"".join(b"\0" + pixels[at : at + 12] for at in range(0, 48, 12))
    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
