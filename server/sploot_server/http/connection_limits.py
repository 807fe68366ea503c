"""uvicorn's HTTP/1.1 protocol with limits: size and time of request headers, slow readers, number of connections."""

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sploot_server.auth.rate_limit import client_network
from sploot_server.config import Config
from sploot_server.http.admission import HAS_PLACE
from sploot_server.measurements import Measurements

LINGER_TIMEOUT_S = 5.0  # for the client to read an error response before the connection is aborted


def http_protocol_class(config: Config, measurements: Measurements) -> type[HttpToolsProtocol]:
    """Return a protocol class with the limits of `config`.

    uvicorn itself has no timeout for the first request of a connection and no limit on the size of the headers.
    """

    class ConfiguredProtocol(LimitedHttpProtocol):
        on_limit = staticmethod(measurements.record_limit)
        header_timeout_s = config.header_timeout_s
        header_bytes_max = config.header_bytes_max
        connections_max = config.connections_max
        send_timeout_s = config.send_timeout_s
        connections_per_address_max = (
            config.connections_per_address_max if _limits_each_address(config) else config.connections_max
        )

    return ConfiguredProtocol


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 protocol with limits on headers, connections and sending. `request_body` limits the bodies.

    If all connections are in use, a new one takes the place of the longest idle one. Connections count as idle unless
    their request holds a place: strangers without a token cannot keep others out.
    """

    on_limit: Callable[[str], None]
    header_timeout_s: float
    header_bytes_max: int
    connections_max: int
    connections_per_address_max: int
    send_timeout_s: float

    _header_bytes = 0
    _headers_complete = False
    idle_since_s = 0.0
    _header_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.idle_since_s = self.loop.time()
        busy = {"retry-after": "1"}
        if len(self.connections) > self.connections_max and not self._close_longest_idle():
            self.on_limit("connections")
            self._reject(HTTPStatus.SERVICE_UNAVAILABLE, "The server is busy; retry in one second", busy)
        elif self._count_same_network() > self.connections_per_address_max:
            self.on_limit("connections_per_address")
            self._reject(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections from this address", busy)
        else:
            self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_header_timer()
        self._cancel_send_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._header_bytes = 0 if self._headers_complete else self._header_bytes + len(data)
        if self._header_bytes > self.header_bytes_max and not self.transport.is_closing():
            self._reject_headers()

    def on_message_begin(self) -> None:
        self._headers_complete = False
        self._start_header_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Raise _HeadersTooLarge for headers that arrived in one piece, which `data_received` has not measured yet.

        The parser turns it into its own error, and uvicorn calls `send_400_response`.
        """
        self._header_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if self._header_bytes > self.header_bytes_max:
            raise _HeadersTooLarge
        self._headers_complete = True
        self._cancel_header_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self.idle_since_s = self.loop.time()
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        self._cancel_header_timer()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Start the send timer: the client reads the response slower than it is produced.

        Waiting without a timeout would let a client that never reads hold its request slot forever.
        """
        super().pause_writing()
        self._send_timer = self.loop.call_later(self.send_timeout_s, self._on_send_timeout)

    def _on_send_timeout(self) -> None:
        self.on_limit("send_time")
        self.transport.abort()

    def resume_writing(self) -> None:
        self._cancel_send_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        if self._header_bytes > self.header_bytes_max:
            self._reject_headers()
        else:
            self._reject(HTTPStatus.BAD_REQUEST, "The request is not valid HTTP/1.1")

    @property
    def is_idle(self) -> bool:
        """Return True if no request holds a place."""
        return self.scope is None or not self.scope["state"].get(HAS_PLACE)

    def _close_longest_idle(self) -> bool:
        """Close the longest idle of the other connections; return False if each of them holds a place."""
        others = (each for each in self.connections if isinstance(each, LimitedHttpProtocol) and each is not self)
        longest_idle = min((each for each in others if each.is_idle), key=lambda each: each.idle_since_s, default=None)
        if longest_idle is not None:
            self.connections.discard(longest_idle)  # now: `connection_lost` runs only after other new connections
            longest_idle.transport.abort()
        return longest_idle is not None

    def _count_same_network(self) -> int:
        """Count the connections from the network of this client."""
        network = _client_network(self)
        return sum(_client_network(each) == network for each in self.connections)

    def _start_header_timer(self) -> None:
        self._cancel_header_timer()
        self._header_timer = self.loop.call_later(self.header_timeout_s, self._on_header_timeout)

    def _on_header_timeout(self) -> None:
        self.on_limit("headers")
        self._reject(HTTPStatus.REQUEST_TIMEOUT, "The request headers arrived too slowly")

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _cancel_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _reject_headers(self) -> None:
        self.on_limit("headers")
        message = f"The request headers are larger than {self.header_bytes_max} bytes"
        self._reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)

    def _reject(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Send an error response without calling the application, and close the connection."""
        self._cancel_header_timer()
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()  # a second status line would be read as part of the response being sent
            return
        body = json.dumps({"success": False, "error": message}).encode()
        response_headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in response_headers.items()).encode()
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.transport.close()  # sends what is buffered first, which a client that never reads delays forever
        self.loop.call_later(LINGER_TIMEOUT_S, self.transport.abort)


class _HeadersTooLarge(Exception):
    """The headers of a request exceed the limit."""


def _limits_each_address(config: Config) -> bool:
    """Return True if each address belongs to one client, which is false for loopback and behind a proxy."""
    return config.is_public and config.trusted_proxies is None


def _client_network(connection: object) -> str:
    client: tuple[str, int] | None = getattr(connection, "client", None)
    return client_network(client[0]) if client else ""


def uvicorn_settings(config: Config, measurements: Measurements) -> dict[str, Any]:
    """Return the uvicorn settings that depend on the configuration."""
    return {
        "http": http_protocol_class(config, measurements),
        "ssl_certfile": config.tls_cert,
        "ssl_keyfile": config.tls_key,
        "proxy_headers": False,  # see `forwarded.py`
    }
