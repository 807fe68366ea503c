"""What the server says unasked: one connection for any number of assets. The only module that knows websockets.

A WebSocket where there is one, else server-sent events, else nothing: asking is always sufficient, and whatever was
said while nobody listened is asked about.
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
from splootd.core.reconnect import SPENT, delay_s, failures_after, is_spent
from splootd.credentials import Credentials
from splootd.errors import BadAnswer, RateLimited, ServerFault
from splootd.logs import logger
from splootd.remote.answers import update_of, words
from splootd.remote.events import Event, Stream, opened
from splootd.remote.inbox import Inbox, Push
from splootd.remote.lines import Lines, trust
from splootd.remote.verdict import Answer, error_of

SOCKET_PATH = "/api/ws/upload-status"
STREAM_PATH = "/api/sse/embedding-updates"
IDS_PER_MESSAGE_MAX = 500
MESSAGE_BYTES_MAX = 65_536
OPEN_S = 10.0
WRITE_S = 30.0
PING_S = 20.0  # between pings, and for the answer to one
STREAM_SILENCE_S = 75.0  # Sploot's streams have a heartbeat every 30 s
CONNECTION_S_MAX = 3_600.0
"""Then it is made anew: with a fresh token, and without what it was told of and is no longer waited for."""

_silent = logging.getLogger("splootd.remote.wire")
_silent.disabled = True  # the headers of a handshake carry the token


class Unoffered(Exception):
    """The server has no such channel; the message says what it answered."""


class Unknown(Exception):
    """The server does not know who listens."""


class Feed:
    """Fills `inbox`. `allowed` waits until the server may be spoken to."""

    def __init__(
        self,
        url: str,
        inbox: Inbox,
        *,
        credentials: Credentials,
        clock: Clock,
        allowed: Callable[[], Awaitable[None]],
        socket: Path | None = None,
    ) -> None:
        self._base = "http://library" if socket else url.rstrip("/")
        self._inbox = inbox
        self._socket = socket
        self._credentials = credentials
        self._clock = clock
        self._allowed = allowed
        self._last_id = ""
        self._log = logger("feed")

    async def run(self) -> None:
        failures = 0
        while True:
            await self._allowed()
            before, began = failures, self._clock.monotonic()
            try:
                await self.run_once()
                failures = failures_after(failures, lived_s=self._clock.monotonic() - began)
            except Unoffered as error:
                failures = SPENT
                self._log.info("no push channel", reason=str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing is lost by it: there is polling
                failures = failures_after(failures, lived_s=self._clock.monotonic() - began)
                self._log.info("push channel lost", reason=str(error) or type(error).__name__, failures=failures)
            if is_spent(failures) and not is_spent(before):
                self._inbox.begin_epoch()
            await sleep(delay_s(failures, chance=random.random()))

    async def run_once(self) -> None:
        """One connection, until it ends. Raises Unoffered, Unknown, OSError, or what websockets raises."""
        with contextlib.suppress(ConnectionClosed):
            try:
                await self._over_websocket()
            except Unoffered:
                await self._over_events()

    async def _over_websocket(self) -> None:
        async with await self._line() as line:
            with self._open("websocket"):
                await _first(CONNECTION_S_MAX, self._hear(line), self._say(line))

    async def _line(self) -> ClientConnection:
        """Raises Unoffered where something answers, but not with a WebSocket."""
        options: dict[str, Any] = {"unix": True, "path": str(self._socket)} if self._socket else {}
        if self._base.startswith("https:"):
            options["ssl"] = trust(self._base)
        try:
            return await _Connect(
                f"ws{self._base.removeprefix('http')}{SOCKET_PATH}",
                additional_headers=await self._authorization(),
                user_agent_header="splootd",
                compression=None,
                open_timeout=OPEN_S,
                ping_interval=None if self._socket else PING_S,  # on this machine a line never breaks unheard
                ping_timeout=PING_S,
                close_timeout=1.0,
                max_size=MESSAGE_BYTES_MAX,
                logger=_silent,
                **options,
            )
        except InvalidStatus as error:
            response = error.response
            headers = {name.lower(): value for name, value in response.headers.raw_items()}
            with contextlib.suppress(ServerFault, RateLimited):  # the stream may be there all the same
                await self._judge(Answer(response.status_code, headers, bytes(response.body or b"")))
            raise Unoffered(f"it answered {response.status_code}") from error
        except (WebSocketException, TimeoutError) as error:
            raise Unoffered(str(error)) from error

    async def _hear(self, line: ClientConnection) -> None:
        async for message in line:
            self._note(message)

    async def _say(self, line: ClientConnection) -> None:
        while True:
            await self._inbox.unsaid.wait()
            self._inbox.unsaid.clear()
            while any(said := self._inbox.say(IDS_PER_MESSAGE_MAX)):
                async with asyncio.timeout(WRITE_S):
                    for kind, asset_ids in zip(("subscribe", "unsubscribe"), said, strict=True):
                        if asset_ids:
                            await line.send(_message(kind, asset_ids))

    async def _over_events(self) -> None:
        """All updates of this user: in Sploot, ids in the address would limit how many there can be."""
        lines = Lines(self._base, socket=self._socket, verify=trust(self._base), connections=1, read_s=STREAM_SILENCE_S)
        try:
            headers = await self._authorization()
            async with opened(lines, STREAM_PATH, headers=headers, last_id=self._last_id) as stream:
                if not isinstance(stream, Stream):
                    await self._judge(stream)
                    raise Unoffered(f"it answered {stream.status}")
                with self._open("sse"):
                    await _first(CONNECTION_S_MAX, self._follow(stream))
        finally:
            await lines.close()

    async def _follow(self, stream: Stream) -> None:
        async for event in stream.events():
            self._note_event(event)

    def _note_event(self, event: Event) -> None:
        self._last_id = event.last_id
        if event.kind == "embedding-update":
            self._note(event.data)

    def _note(self, message: str | bytes) -> None:
        """Keep what a message says. One that cannot be understood is left aside; a refusal ends the connection."""
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return
        match value:
            case {"type": "embedding-update"}:
                with contextlib.suppress(BadAnswer):
                    self._inbox.put(*update_of(value))
            case {"type": "error"}:
                raise BadAnswer(f"the server refuses to push: {words(value) or 'it does not say why'}")

    @contextlib.contextmanager
    def _open(self, kind: Push) -> Iterator[None]:
        self._log.info("push channel open", kind=kind)
        with self._inbox.open(kind):
            yield

    async def _authorization(self) -> dict[str, str]:
        token = await self._credentials.token()
        is_sound = token is not None and token.isascii() and token.isprintable()
        return {"authorization": f"Bearer {token}"} if is_sound else {}

    async def _judge(self, answer: Answer) -> None:
        """Raises Unknown, with the next token at hand, or the error of a server that is only sick or busy now."""
        if answer.is_signed_out:
            await self._credentials.renew()
            raise Unknown("the server does not know who listens")
        if isinstance(error := error_of(answer), ServerFault | RateLimited):
            raise error


class _Connect(connect):
    """Redirects are not followed: the token is for this host only."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


def _message(kind: str, asset_ids: Collection[str]) -> str:
    return json.dumps({"type": kind, "assetIds": list(asset_ids)})


async def _first(limit_s: float, *work: Coroutine[Any, Any, None]) -> None:
    """Run all until one of them ends or the time is over, and end the others. Raises what any of them raised."""
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
