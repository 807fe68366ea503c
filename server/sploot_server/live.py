"""News of embeddings over a WebSocket and as server-sent events, as they happen and to whom they concern."""

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

from sploot_server.bodies import parse_json
from sploot_server.library import now_ms
from sploot_server.model import Invalid
from sploot_server.refusals import refusal
from sploot_server.routes.values import owner_of
from sploot_server.updates import Dropped, Full, Listener, Update, Updates, has_ended, is_known

SOCKET_PATH = "/api/ws/upload-status"
STREAM_PATH = "/api/sse/embedding-updates"
IDS_PER_MESSAGE_MAX = 1_000
IDS_PER_CLIENT_MAX = 20_000
ID_CHARS_MAX = 64
MESSAGE_BYTES_MAX = 128 * 1024
SEND_S_MAX = 10.0  # for one update to leave; who takes longer is dropped
HEARTBEAT_S = 15.0
TOKEN_LOOK_S = 10.0  # how long a line may outlive its token
RETRY_MS = 1_000
TRY_AGAIN_LATER = 1013  # WebSocket close code, from the registry of RFC 6455
BUSY = "Too many clients are listening; try again later"


class Live:
    """The two endpoints; `updates` is behind both."""

    def __init__(self, updates: Updates) -> None:
        self._updates = updates

    def routes(self) -> list[BaseRoute]:
        return [WebSocketRoute(SOCKET_PATH, self.socket), Route(STREAM_PATH, self.stream, methods=["GET"])]

    async def socket(self, socket: WebSocket) -> None:
        """`subscribe` and `unsubscribe` come in, `embedding-update` goes out, of subscribed assets alone."""
        try:
            with self._updates.listen(owner_of(socket), set()) as listener:
                await socket.accept()
                conversation = _Conversation(socket, listener, self._updates)
                await _first(conversation.hear(), conversation.tell(), _watch(socket, listener))
        except Full:
            await socket.send_denial_response(refusal(BUSY, HTTPStatus.SERVICE_UNAVAILABLE, {"retry-after": "5"}))

    async def stream(self, request: Request) -> Response:
        """All updates, or those of `assetIds`; `Last-Event-ID` brings what was missed, as far as it is kept."""
        named = request.query_params.get("assetIds", "")
        ids = {each.strip() for each in named.split(",") if each.strip()}
        if len(ids) > IDS_PER_MESSAGE_MAX:
            raise Invalid(f"At most {IDS_PER_MESSAGE_MAX} assets can be named; name none to hear of all")
        mark = request.headers.get("last-event-id", "")
        return _EventStream(self._updates, owner_of(request), ids or None, mark)


class _Conversation:
    """One WebSocket. What a client may not say is answered with an `error`; the line stays."""

    def __init__(self, socket: WebSocket, listener: Listener, updates: Updates) -> None:
        self._socket = socket
        self._listener = listener
        self._updates = updates
        self._ids: set[str] = listener.ids if listener.ids is not None else set()

    async def hear(self) -> None:
        """Until the client leaves. The next message is read when the answer to this one has gone out."""
        with contextlib.suppress(WebSocketDisconnect, TimeoutError):
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                try:
                    await self._obey(parse_json(message.get("text") or message.get("bytes") or b""))
                except ValueError:
                    await self._send({"type": "error", "error": "The message is not valid JSON"})
                except Invalid as error:
                    await self._send({"type": "error", "error": str(error)})

    async def tell(self) -> None:
        """Until the client leaves or is dropped."""
        try:
            while True:
                await self._send((await self._listener.next()).body)
        except Dropped as dropped:
            with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
                async with asyncio.timeout(SEND_S_MAX):
                    await self._socket.close(TRY_AGAIN_LATER, str(dropped))
        except (TimeoutError, WebSocketDisconnect):
            return

    async def _obey(self, message: Any) -> None:
        match message:
            case {"type": "subscribe", "assetIds": list(ids)}:
                await self._subscribe(_checked(ids))
            case {"type": "unsubscribe", "assetIds": list(ids)}:
                self._ids.difference_update(_checked(ids))
            case {"type": "ping"}:
                await self._send({"type": "pong"})
            case _:
                raise Invalid("The message is no subscribe, unsubscribe or ping; the first two need assetIds, an array")

    async def _subscribe(self, ids: list[str]) -> None:
        if len(self._ids.union(ids)) > IDS_PER_CLIENT_MAX:
            raise Invalid(f"At most {IDS_PER_CLIENT_MAX} assets can be subscribed to; unsubscribe from some first")
        self._ids.update(ids)  # before the states are read: nothing falls in between
        await self._updates.tell_states(self._listener, ids, has_ended)
        await self._listener.emptied()

    async def _send(self, body: Any) -> None:
        """Raises TimeoutError for a client that does not take it, and WebSocketDisconnect."""
        async with asyncio.timeout(SEND_S_MAX):
            await self._socket.send_text(json.dumps(body, ensure_ascii=False))


class _EventStream(Response):
    """A response that ends when the client leaves, is too slow, or the server ends."""

    media_type = "text/event-stream"

    def __init__(self, updates: Updates, owner: str, ids: set[str] | None, mark: str) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._updates = updates
        self._owner = owner
        self._ids = ids
        self._mark = mark

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._updates.listen(self._owner, self._ids) as listener:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await _first(_left(receive), self._tell(listener, send), _watch(HTTPConnection(scope), listener))
        except Full as error:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, BUSY, {"retry-after": "5"}) from error

    async def _tell(self, listener: Listener, send: Send) -> None:
        resumed = bool(self._mark) and await self._updates.replay(listener, self._mark)
        if self._ids is not None and not resumed:
            await self._updates.tell_states(listener, self._ids, is_known)
        connected = {"type": "connected", "timestamp": now_ms(), "resumed": resumed}
        with contextlib.suppress(Dropped, TimeoutError):
            await _send_piece(send, f"retry: {RETRY_MS}\n{_event('connected', connected)}")
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        update = await listener.next()
                except TimeoutError:
                    await _send_piece(send, f":heartbeat {now_ms()}\n\n")
                else:
                    await _send_piece(send, self._as_event(update))
        await send({"type": "http.response.body", "body": b""})

    def _as_event(self, update: Update) -> str:
        mark = self._updates.mark(update)
        return (f"id: {mark}\n" if mark else "") + _event("embedding-update", update.body)


def _event(name: str, body: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"


async def _send_piece(send: Send, text: str) -> None:
    async with asyncio.timeout(SEND_S_MAX):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _left(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _watch(connection: HTTPConnection, listener: Listener) -> None:
    """Let go who is no longer let in. Does not end by itself."""
    let_in: Callable[[], Awaitable[bool]] | None = getattr(connection.state, "let_in", None)
    while let_in is not None:
        await asyncio.sleep(TOKEN_LOOK_S)
        if not await let_in():
            listener.drop("the token has ended")
            break
    await asyncio.Event().wait()


def _checked(ids: list[Any]) -> list[str]:
    if len(ids) > IDS_PER_MESSAGE_MAX:
        raise Invalid(f"At most {IDS_PER_MESSAGE_MAX} assets can be named in one message")
    if not all(isinstance(each, str) and 0 < len(each) <= ID_CHARS_MAX for each in ids):
        raise Invalid(f"assetIds must hold texts of 1 to {ID_CHARS_MAX} characters")
    return list(dict.fromkeys(ids))


async def _first(*work: Coroutine[Any, Any, None]) -> None:
    """Run all until the first of them ends, and end the others. Raises what any of them raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome
