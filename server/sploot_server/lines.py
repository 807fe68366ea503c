"""HTTP/1.1 with bounds: how long a head may be and may take, and how many may be connected."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sploot_server.accounts.guesses import network_of
from sploot_server.config import Config

CLOSE_S = 5.0  # for a refusal to be taken; then the line is cut


def bounded_http(limits: Config) -> type[HttpToolsProtocol]:
    """The HTTP of uvicorn, which by itself waits for ever for a first request and reads a head of any length."""

    class Bounded(BoundedHttp):
        head_s_max = limits.head_s_max
        head_bytes_max = limits.head_bytes_max
        connections_max = limits.connections_max
        answer_s_max = limits.answer_s_max
        connections_each_max = limits.connections_each_max if _meets_strangers(limits) else limits.connections_max

    return Bounded


class BoundedHttp(HttpToolsProtocol):
    """The body of a request has limits of its own, where it is read."""

    head_s_max: float
    head_bytes_max: int
    connections_max: int
    connections_each_max: int
    answer_s_max: float

    _head_bytes = 0
    _head_is_complete = False
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        busy = {"retry-after": "1"}
        if len(self.connections) > self.connections_max:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "The server is busy; try again in a second", busy)
        elif self._same_address() > self.connections_each_max:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections come from this address", busy)
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self._go_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._head_bytes = 0 if self._head_is_complete else self._head_bytes + len(data)
        if self._head_bytes > self.head_bytes_max:
            message = f"The head of the request is larger than {self.head_bytes_max} bytes"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)

    def on_message_begin(self) -> None:
        self._head_is_complete = False
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_is_complete = True
        self._stop_clock()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop_clock()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """The client does not take its answer as fast as it comes."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.answer_s_max, self.transport.abort)

    def resume_writing(self) -> None:
        self._go_on()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, "This is not HTTP/1.1")

    def _same_address(self) -> int:
        """How many connections come from where this one does."""
        here = _network(self)
        return sum(_network(each) == here for each in self.connections)

    def _expect_head(self) -> None:
        self._stop_clock()
        self._deadline = self.loop.call_later(self.head_s_max, self._too_late)

    def _too_late(self) -> None:
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The head of the request came in too slowly")

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _go_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _refuse(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer without the application, and hang up, whether or not anybody listens."""
        self._stop_clock()
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()  # in the middle of another answer nothing can be said
            return
        body = json.dumps({"success": False, "error": message}).encode()
        told = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items()).encode()
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.transport.close()
        self.loop.call_later(CLOSE_S, self.transport.abort)


def _meets_strangers(limits: Config) -> bool:
    """Whether an address is somebody's, and not that of this machine or of a proxy."""
    return limits.is_public and limits.proxies is None


def _network(connection: object) -> str:
    client: tuple[str, int] | None = getattr(connection, "client", None)
    return network_of(client[0]) if client else ""


def uvicorn_settings(limits: Config) -> dict[str, Any]:
    """What of the configuration uvicorn itself looks after."""
    return {
        "http": bounded_http(limits),
        "ssl_certfile": limits.tls_cert,
        "ssl_keyfile": limits.tls_key,
        "proxy_headers": False,  # see `proxies.py`
    }
