"""Reads request bodies within limits of size and time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import ClientDisconnect, Request

from sploot_server.domain.entities import BodyTimeout, InvalidInput, TooLarge

JSON_BYTES_MAX = 64 * 1024
IDLE_TIMEOUT_S = 30.0  # longest pause between two chunks, and grace period of the minimum rate
BYTES_PER_S_MIN = 1024  # on average, after the grace period
DISCARD_BYTES_MAX = 64 * 1024 * 1024
DISCARD_TIMEOUT_S = 10.0


async def stream_body(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in chunks. Raise BodyTimeout, or ClientDisconnect if the client disconnects.

    A pause limit alone is not enough: a client that sends one byte every 29 seconds (slow POST) would hold a request
    slot for days. The deadline therefore also follows the average rate.
    """
    clock = asyncio.get_running_loop().time
    began, received = clock(), 0
    request.state.body_ended = False
    while not request.state.body_ended:
        deadline = min(clock(), began + received / BYTES_PER_S_MIN) + IDLE_TIMEOUT_S
        try:
            async with asyncio.timeout_at(deadline):
                message = await request.receive()
        except TimeoutError as error:
            raise BodyTimeout("The request body arrived too slowly") from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        # Set before the yield: if the consumer raises on the last chunk, `discard_body` must not wait for another one.
        request.state.body_ended = not message.get("more_body", False)
        chunk = message.get("body", b"")
        received += len(chunk)
        if chunk:
            yield chunk


async def read_object(
    request: Request, *, malformed: str = "The request body is not valid JSON", bytes_max: int = JSON_BYTES_MAX
) -> dict[str, Any]:
    """Read at most `bytes_max` of a JSON object. Raise TooLarge, or InvalidInput, for no JSON with `malformed`."""
    body = bytearray()
    async for chunk in stream_body(request):
        body += chunk
        if len(body) > bytes_max:
            raise TooLarge(f"The request body is larger than {bytes_max // 1024} KB")
    try:
        parsed = parse_json(body)
    except ValueError as error:
        raise InvalidInput(malformed) from error
    if not isinstance(parsed, dict):
        raise InvalidInput("The request body must be a JSON object")
    return parsed


def parse_json(data: bytes | bytearray) -> Any:
    r"""Parse JSON. Raise ValueError for malformed or too deeply nested JSON and for lone surrogates.

    JSON allows half of a surrogate pair (`"\ud800"`), but UTF-8 does not, so SQLite and responses cannot hold it.
    """
    try:
        value = json.loads(data)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


async def discard_body(request: Request) -> bool:
    """Read and discard the rest of a rejected body; return False if the connection must be closed instead.

    Most clients send the whole body before they read the response. Without this they block, or receive a TCP reset
    instead of the response. The effort is bounded in bytes and time.
    """
    if getattr(request.state, "body_ended", False):
        return True
    if int(request.headers.get("content-length", "0")) > DISCARD_BYTES_MAX:
        return False
    received = 0
    try:
        async with asyncio.timeout(DISCARD_TIMEOUT_S):
            message = await request.receive()
            while message["type"] == "http.request" and message.get("more_body", False):
                received += len(message.get("body", b""))
                if received > DISCARD_BYTES_MAX:
                    return False
                message = await request.receive()
    except TimeoutError:
        return False
    return True
