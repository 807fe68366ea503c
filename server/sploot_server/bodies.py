"""Request bodies, read within limits of size and time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import ClientDisconnect, Request

from sploot_server.model import Invalid, TooLarge, TooSlow

JSON_BYTES_MAX = 64 * 1024
SILENCE_S_MAX = 30.0  # the longest pause, and the head start of a slow client
BYTES_PER_S_MIN = 1024  # on average, after the head start
DISCARD_BYTES_MAX = 64 * 1024 * 1024
DISCARD_S_MAX = 10.0


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes in. Raises TooSlow, or ClientDisconnect if the client goes away."""
    clock = asyncio.get_running_loop().time
    began, received = clock(), 0
    request.state.body_ended = False
    while not request.state.body_ended:
        deadline = min(clock(), began + received / BYTES_PER_S_MIN) + SILENCE_S_MAX
        try:
            async with asyncio.timeout_at(deadline):
                message = await request.receive()
        except TimeoutError as error:
            raise TooSlow("The request body came in too slowly") from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        # Noted before the piece is passed on: whoever chokes on the last one must not wait for more.
        request.state.body_ended = not message.get("more_body", False)
        piece = message.get("body", b"")
        received += len(piece)
        if piece:
            yield piece


async def read_json(request: Request, *, malformed: str, bytes_max: int = JSON_BYTES_MAX) -> Any:
    """The body as JSON, at most `bytes_max`. Raises Invalid with `malformed` if it is not JSON."""
    body = bytearray()
    async for piece in pieces(request):
        body += piece
        if len(body) > bytes_max:
            raise TooLarge(f"The request body is larger than {bytes_max // 1024} KB")
    try:
        return parse_json(body)
    except ValueError as error:
        raise Invalid(malformed) from error


def parse_json(data: bytes | bytearray) -> Any:
    r"""Raises ValueError for what is not JSON, is nested too deeply, or has text that is not Unicode.

    JSON may carry half of a surrogate pair (`"\ud800"`), which neither SQLite nor an answer can.
    """
    try:
        value = json.loads(data)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


async def discard(request: Request) -> bool:
    """Read what is left of a refused body, so that a client that sends before it listens gets to hear why.

    False if there is more than is worth reading: the connection is then to be closed.
    """
    if getattr(request.state, "body_ended", False):
        return True
    if int(request.headers.get("content-length", "0")) > DISCARD_BYTES_MAX:
        return False
    received = 0
    try:
        async with asyncio.timeout(DISCARD_S_MAX):
            message = await request.receive()
            while message["type"] == "http.request" and message.get("more_body", False):
                received += len(message.get("body", b""))
                if received > DISCARD_BYTES_MAX:
                    return False
                message = await request.receive()
    except TimeoutError:
        return False
    return True
