"""Single requests of a tus client."""

import base64
import hashlib
from collections.abc import AsyncIterator

import httpx
from toy_library import picture

PATH = "/api/upload/resumable"
PLAIN = {"tus-resumable": "1.0.0"}
DATA = picture("a cat on a keyboard") + bytes(5_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


def checksum(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


async def begin(client: httpx.AsyncClient, length: int = len(DATA), **headers: str) -> str:
    response = await client.post(PATH, headers={**PLAIN, "upload-length": str(length), **hyphenate(headers)})
    assert response.status_code == 201, response.text
    return response.headers["location"]


async def patch(
    client: httpx.AsyncClient, url: str, offset: int, data: bytes | AsyncIterator[bytes], **headers: str
) -> httpx.Response:
    fixed = {**PLAIN, "content-type": "application/offset+octet-stream", "upload-offset": str(offset)}
    return await client.patch(url, headers={**fixed, **hyphenate(headers)}, content=data)


async def offset_of(client: httpx.AsyncClient, url: str) -> int:
    response = await client.head(url, headers=PLAIN)
    assert response.status_code == 200
    return int(response.headers["upload-offset"])


def hyphenate(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """Return a body without a known length."""
    for piece in data:
        yield piece
