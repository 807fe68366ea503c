"""Endpoints of the push channel: embedding updates over WebSocket and as server-sent events.

Each connection has a bounded outbox and a send timeout. A client that reads too slowly is disconnected rather than
waited for: it reconnects and receives the current states, while an unbounded buffer would grow with every update.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from sploot_server.domain.entities import InvalidInput
from sploot_server.http.errors import error_response, mark_limit
from sploot_server.http.push.subscriptions import (
    Subscriber,
    SubscriberDropped,
    SubscriptionHub,
    TooManySubscribers,
    Update,
    is_final,
    is_known,
)
from sploot_server.http.request_body import parse_json
from sploot_server.http.routes.params import get_owner
from sploot_server.library.service import now_ms

WEBSOCKET_PATH = "/api/ws/upload-status"
SSE_PATH = "/api/sse/embedding-updates"
IDS_PER_MESSAGE_MAX = 1_000
IDS_PER_CLIENT_MAX = 20_000
ID_CHARS_MAX = 64
MESSAGE_BYTES_MAX = 128 * 1024
SEND_TIMEOUT_S = 10.0  # to send one update; slower clients are disconnected
HEARTBEAT_S = 15.0
TOKEN_CHECK_INTERVAL_S = 10.0  # a connection may outlive its revoked token by this time
RETRY_MS = 1_000
TRY_AGAIN_LATER = 1013  # WebSocket close code, from the registry of RFC 6455
TOO_MANY_SUBSCRIBERS = "Too many clients are subscribed; retry later"


class PushRoutes:
    """Routes of the WebSocket and the event stream."""

    def __init__(self, hub: SubscriptionHub) -> None:
        self._hub = hub

    def routes(self) -> list[BaseRoute]:
        return [WebSocketRoute(WEBSOCKET_PATH, self.socket), Route(SSE_PATH, self.stream, methods=["GET"])]

    async def socket(self, socket: WebSocket) -> None:
        """Receive `subscribe` and `unsubscribe`; send `embedding-update` for the subscribed assets."""
        try:
            with self._hub.subscribe(get_owner(socket), set()) as subscriber:
                await socket.accept()
                session = _WebSocketSession(socket, subscriber, self._hub)
                await _run_until_first(
                    session.receive_messages(), session.send_updates(), _watch_token(socket, subscriber)
                )
        except TooManySubscribers:  # not accepted yet, so the client gets an HTTP status instead of a close code
            mark_limit(socket.scope, "subscribers")
            await socket.send_denial_response(
                error_response(TOO_MANY_SUBSCRIBERS, HTTPStatus.SERVICE_UNAVAILABLE, {"retry-after": "5"})
            )

    async def stream(self, request: Request) -> Response:
        """Stream all updates, or those of `assetIds`; replay missed ones after `Last-Event-ID` as far as possible."""
        named = request.query_params.get("assetIds", "")
        ids = {each.strip() for each in named.split(",") if each.strip()}
        if len(ids) > IDS_PER_MESSAGE_MAX:
            raise InvalidInput(
                f"assetIds may list at most {IDS_PER_MESSAGE_MAX} assets; omit it to receive all updates"
            )
        cursor = request.headers.get("last-event-id", "")
        return _EventStream(self._hub, get_owner(request), ids or None, cursor)


class _WebSocketSession:
    """One WebSocket connection. An invalid message is answered with an `error` message; the connection stays open."""

    def __init__(self, socket: WebSocket, subscriber: Subscriber, hub: SubscriptionHub) -> None:
        self._socket = socket
        self._subscriber = subscriber
        self._hub = hub
        self._ids: set[str] = subscriber.ids if subscriber.ids is not None else set()

    async def receive_messages(self) -> None:
        """Handle messages until the client disconnects.

        The next message is read after the reply to this one was sent: a client that subscribes faster than it reads is
        slowed down by TCP instead of filling its outbox.
        """
        with contextlib.suppress(WebSocketDisconnect, TimeoutError):
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                try:
                    await self._handle_message(parse_json(message.get("text") or message.get("bytes") or b""))
                except ValueError:
                    await self._send({"type": "error", "error": "The message is not valid JSON"})
                except InvalidInput as error:
                    await self._send({"type": "error", "error": str(error)})

    async def send_updates(self) -> None:
        """Send updates until the client disconnects or is dropped."""
        try:
            while True:
                await self._send((await self._subscriber.next()).body)
        except SubscriberDropped as dropped:
            with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._socket.close(TRY_AGAIN_LATER, str(dropped))
        except (TimeoutError, WebSocketDisconnect):
            return

    async def _handle_message(self, message: Any) -> None:
        match message:
            case {"type": "subscribe", "assetIds": list(ids)}:
                await self._subscribe(_validate_ids(ids))
            case {"type": "unsubscribe", "assetIds": list(ids)}:
                self._ids.difference_update(_validate_ids(ids))
            case {"type": "ping"}:
                await self._send({"type": "pong"})
            case _:
                raise InvalidInput("Unknown message; expected subscribe or unsubscribe with an array assetIds, or ping")

    async def _subscribe(self, ids: list[str]) -> None:
        if len(self._ids.union(ids)) > IDS_PER_CLIENT_MAX:
            raise InvalidInput(f"At most {IDS_PER_CLIENT_MAX} assets per connection; unsubscribe from some first")
        self._ids.update(ids)  # before the states are read, so that no change between the two is missed
        await self._hub.send_snapshot(self._subscriber, ids, is_final)
        await self._subscriber.wait_until_empty()

    async def _send(self, body: Any) -> None:
        """Send a message. Raise TimeoutError for a slow reader, or WebSocketDisconnect."""
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._socket.send_text(json.dumps(body, ensure_ascii=False))


class _EventStream(Response):
    """Response that ends when the client disconnects or is too slow, or when the server stops."""

    media_type = "text/event-stream"

    def __init__(self, hub: SubscriptionHub, owner: str, ids: set[str] | None, cursor: str) -> None:
        # Without x-accel-buffering, nginx would hold events back until its buffer is full.
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._owner = owner
        self._ids = ids
        self._cursor = cursor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._hub.subscribe(self._owner, self._ids) as subscriber:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await _run_until_first(
                    _wait_for_disconnect(receive),
                    self._send_updates(subscriber, send),
                    _watch_token(HTTPConnection(scope), subscriber),
                )
        except TooManySubscribers as error:
            mark_limit(scope, "subscribers")
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY_SUBSCRIBERS, {"retry-after": "5"}) from error

    async def _send_updates(self, subscriber: Subscriber, send: Send) -> None:
        resumed = bool(self._cursor) and await self._hub.replay(subscriber, self._cursor)
        if self._ids is not None and not resumed:
            await self._hub.send_snapshot(subscriber, self._ids, is_known)
        connected = {"type": "connected", "timestamp": now_ms(), "resumed": resumed}
        with contextlib.suppress(SubscriberDropped, TimeoutError):
            await _send_chunk(send, f"retry: {RETRY_MS}\n{_format_event('connected', connected)}")
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        update = await subscriber.next()
                except TimeoutError:
                    await _send_chunk(send, f":heartbeat {now_ms()}\n\n")
                else:
                    await _send_chunk(send, self._format_update(update))
        await send({"type": "http.response.body", "body": b""})

    def _format_update(self, update: Update) -> str:
        cursor = self._hub.cursor(update)
        return (f"id: {cursor}\n" if cursor else "") + _format_event("embedding-update", update.body)


def _format_event(name: str, body: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"


async def _send_chunk(send: Send, text: str) -> None:
    async with asyncio.timeout(SEND_TIMEOUT_S):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _watch_token(connection: HTTPConnection, subscriber: Subscriber) -> None:
    """Drop the subscriber when its token becomes invalid. Never return: the first task to return ends the connection.

    The token was checked when the request began, and a stream may stay open for days.
    """
    is_still_authorized: Callable[[], Awaitable[bool]] | None = getattr(connection.state, "is_still_authorized", None)
    while is_still_authorized is not None:
        await asyncio.sleep(TOKEN_CHECK_INTERVAL_S)
        if not await is_still_authorized():
            subscriber.drop("the token is no longer valid")
            break
    await asyncio.Event().wait()


def _validate_ids(ids: list[Any]) -> list[str]:
    if len(ids) > IDS_PER_MESSAGE_MAX:
        raise InvalidInput(f"A message may list at most {IDS_PER_MESSAGE_MAX} assets")
    if not all(isinstance(each, str) and 0 < len(each) <= ID_CHARS_MAX for each in ids):
        raise InvalidInput(f"assetIds must contain strings of 1 to {ID_CHARS_MAX} characters")
    return list(dict.fromkeys(ids))


async def _run_until_first(*work: Coroutine[Any, Any, None]) -> None:
    """Run all coroutines until the first one returns, then cancel the others. Raise the first exception of any."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
