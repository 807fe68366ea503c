"""Client of the push channel: one connection for any number of assets. The only module that imports websockets.

It uses a WebSocket if the server has one, else server-sent events, else nothing: polling alone is sufficient. Updates
that are missed while the channel is closed are polled.
"""

import asyncio
import contextlib
import json
import logging
import random
from asyncio import sleep
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from splootd.clock import Clock
from splootd.core.reconnect import FAILURES_MAX, delay_s, has_exhausted_retries, next_failure_count
from splootd.credentials import Credentials
from splootd.embeddings.push_subscriptions import PushState, PushSubscriptions
from splootd.errors import InternalServerError, InvalidResponse, RateLimited
from splootd.logs import get_logger
from splootd.remote.connection_pool import RotatingPool
from splootd.remote.network_environment import create_ssl_context
from splootd.remote.pool_share import PoolShare
from splootd.remote.responses import parse_embedding_update, parse_error_message
from splootd.remote.sse import ServerSentEvent, SSEStream, open_stream
from splootd.remote.status_mapping import HttpResponse, error_for

WEBSOCKET_PATH = "/api/ws/upload-status"
SSE_PATH = "/api/sse/embedding-updates"
IDS_PER_MESSAGE_MAX = 500
MESSAGE_BYTES_MAX = 65_536
OPEN_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
PING_INTERVAL_S = 20.0  # between pings, and for the pong
STREAM_READ_TIMEOUT_S = 75.0  # Sploot's streams send a heartbeat every 30 s
CONNECTION_AGE_MAX_S = 3_600.0
"""Then reconnect: with a fresh token, and without subscriptions that are no longer needed."""

_disabled_logger = logging.getLogger("splootd.embeddings.websocket")
_disabled_logger.disabled = True  # websockets logs the handshake at DEBUG, and its headers contain the token


class PushUnsupported(Exception):
    """The server has no push channel. The message contains its response."""


class PushUnauthenticated(Exception):
    """The server rejected the sign-in of the push channel."""


class PushClient:
    """Receives pushed updates into `subscriptions`. `wait_until_reachable` waits until a request may be sent."""

    def __init__(
        self,
        url: str,
        subscriptions: PushSubscriptions,
        *,
        credentials: Credentials,
        clock: Clock,
        wait_until_reachable: Callable[[], Awaitable[None]],
        socket: Path | None = None,
    ) -> None:
        self._base = "http://library" if socket else url.rstrip("/")
        self._subscriptions = subscriptions
        self._socket = socket
        self._credentials = credentials
        self._clock = clock
        self._wait_until_reachable = wait_until_reachable
        self._last_event_id = ""
        self._log = get_logger("push")

    async def run(self) -> None:
        """Keep a connection open; reconnect with a growing delay."""
        failures = 0
        while True:
            await self._wait_until_reachable()
            before, started_at = failures, self._clock.monotonic()
            try:
                await self.run_once()
                failures = next_failure_count(failures, connected_s=self._clock.monotonic() - started_at)
            except PushUnsupported as error:
                failures = FAILURES_MAX
                self._log.info("no push channel", reason=str(error))
            except Exception as error:  # noqa: BLE001 - no error of the push channel matters: polling continues
                failures = next_failure_count(failures, connected_s=self._clock.monotonic() - started_at)
                self._log.info("push channel lost", reason=str(error) or type(error).__name__, failures=failures)
            if has_exhausted_retries(failures) and not has_exhausted_retries(before):
                self._subscriptions.begin_generation()
            await sleep(delay_s(failures, chance=random.random()))

    async def run_once(self) -> None:
        """Open one connection and serve it until it ends.

        Raises PushUnsupported, PushUnauthenticated, OSError, or the exceptions of httpx and websockets.
        """
        with contextlib.suppress(ConnectionClosed):
            try:
                await self._run_websocket()
            except PushUnsupported:
                await self._run_sse()

    async def _run_websocket(self) -> None:
        async with await self._connect_websocket() as websocket:
            with self._open_channel("websocket"):
                await _run_until_first(
                    CONNECTION_AGE_MAX_S, self._receive_messages(websocket), self._send_subscriptions(websocket)
                )

    async def _connect_websocket(self) -> ClientConnection:
        """Connect. Raises PushUnsupported if the response is not a WebSocket handshake."""
        options: dict[str, Any] = {"unix": True, "path": str(self._socket)} if self._socket else {}
        if self._base.startswith("https:"):
            options["ssl"] = create_ssl_context()
        try:
            return await _ConnectWithoutRedirects(
                f"ws{self._base.removeprefix('http')}{WEBSOCKET_PATH}",
                additional_headers=await self._authorization_header(),
                user_agent_header="splootd",
                compression=None,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=None if self._socket else PING_INTERVAL_S,  # a Unix socket never breaks silently
                ping_timeout=PING_INTERVAL_S,
                close_timeout=1.0,
                max_size=MESSAGE_BYTES_MAX,
                logger=_disabled_logger,
                **options,
            )
        except InvalidStatus as error:
            response = error.response
            headers = {name.lower(): value for name, value in response.headers.raw_items()}
            with contextlib.suppress(InternalServerError, RateLimited):  # the event stream may work all the same
                await self._raise_for_status(HttpResponse(response.status_code, headers, bytes(response.body or b"")))
            raise PushUnsupported(f"the server responded with {response.status_code}") from error
        except (WebSocketException, TimeoutError) as error:
            raise PushUnsupported(str(error)) from error

    async def _receive_messages(self, websocket: ClientConnection) -> None:
        async for message in websocket:
            self._handle_message(message)

    async def _send_subscriptions(self, websocket: ClientConnection) -> None:
        while True:
            await self._subscriptions.dirty.wait()
            self._subscriptions.dirty.clear()  # before the changes are read, or a change in between would be lost
            while any(changes := self._subscriptions.pending_changes(IDS_PER_MESSAGE_MAX)):
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    for kind, asset_ids in zip(("subscribe", "unsubscribe"), changes, strict=True):
                        if asset_ids:
                            await websocket.send(_encode_message(kind, asset_ids))

    async def _run_sse(self) -> None:
        """Receive the updates of all assets of the user. Asset ids in the URL would limit their number."""
        pool = RotatingPool(self._base, socket=self._socket, connections_max=1)
        share = PoolShare(pool, read_s=STREAM_READ_TIMEOUT_S)
        try:
            headers = await self._authorization_header()
            async with open_stream(share, SSE_PATH, headers=headers, last_event_id=self._last_event_id) as stream:
                if not isinstance(stream, SSEStream):
                    await self._raise_for_status(stream)
                    raise PushUnsupported(f"the server responded with {stream.status}")
                with self._open_channel("sse"):
                    await _run_until_first(CONNECTION_AGE_MAX_S, self._receive_events(stream))
        finally:
            await pool.close()

    async def _receive_events(self, stream: SSEStream) -> None:
        async for event in stream.events():
            self._handle_event(event)

    def _handle_event(self, event: ServerSentEvent) -> None:
        self._last_event_id = event.last_event_id
        if event.event_type == "embedding-update":
            self._handle_message(event.data)

    def _handle_message(self, message: str | bytes) -> None:
        """Store an update. Ignore messages that cannot be parsed; an error message ends the connection."""
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return
        match value:
            case {"type": "embedding-update"}:
                with contextlib.suppress(InvalidResponse):
                    self._subscriptions.put(*parse_embedding_update(value))
            case {"type": "error"}:
                raise InvalidResponse(
                    f"the server closed the push channel: {parse_error_message(value) or 'no reason given'}"
                )

    @contextlib.contextmanager
    def _open_channel(self, kind: PushState) -> Iterator[None]:
        self._log.info("push channel open", kind=kind)
        with self._subscriptions.open_channel(kind):
            yield

    async def _authorization_header(self) -> dict[str, str]:
        token = await self._credentials.token()
        is_sound = token is not None and token.isascii() and token.isprintable()
        return {"authorization": f"Bearer {token}"} if is_sound else {}

    async def _raise_for_status(self, response: HttpResponse) -> None:
        """Raise PushUnauthenticated, after a refresh of the token, or the error of a server that fails temporarily."""
        if response.is_unauthenticated:
            await self._credentials.refresh()
            raise PushUnauthenticated("the server rejected the token")
        if isinstance(error := error_for(response), InternalServerError | RateLimited):
            raise error


class _ConnectWithoutRedirects(connect):
    """A WebSocket connection that follows no redirects: the token is for this host only."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


def _encode_message(kind: str, asset_ids: Collection[str]) -> str:
    return json.dumps({"type": kind, "assetIds": list(asset_ids)})


async def _run_until_first(limit_s: float, *work: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until one of them ends or `limit_s` is over, then cancel the others. Raises their exceptions."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome
