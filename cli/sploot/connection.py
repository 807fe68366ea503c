"""A connection to the daemon: HTTP/1.1 over a Unix socket, with the standard library only.

Importing an HTTP library takes longer than most commands take to run, and importing `splootd.protocol` longer than the
fastest ones. So the protocol is only imported where a typed request is encoded.
"""

from __future__ import annotations

import _socket  # `socket` adds nothing that is needed here, and takes longer to import than this module
import json
import os

from splootd import __version__
from splootd.errors import SplootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from splootd.protocol import Request

REPLY_TIMEOUT_S = 120.0  # a search may wait until the library has loaded its models
SILENCE_S = 1.0  # without a response, before the state of the daemon's process is looked at
HEAD_BYTES_MAX = 65_536
REPLY_BYTES_MAX = 64_000_000
RECEIVE_BYTES = 65_536
TRUSTED_UIDS = frozenset({os.getuid(), 0})

Event = tuple[str, dict[str, "Any"]]


class NoDaemonError(SplootError):
    """The daemon can be neither reached nor started."""


class ConnectionLostError(Exception):
    """The connection was lost before the whole response arrived."""


class ResponseHead:
    """Status and headers of a response. Header names are lower-case."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers


class Connection:
    """One connection to the daemon, for one request at a time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._buffer = bytearray()
        try:
            self._socket.connect(os.fspath(path))
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def send_request(self, request: Request, key: str) -> ResponseHead:
        """Send `request` and return the head of the response."""
        return self.send_message(encode_request(request, key))

    def send_message(self, message_bytes: bytes) -> ResponseHead:
        """Send a message made by `encode_message` and return the head of the response."""
        try:
            self._socket.settimeout(SILENCE_S)  # raises OSError if the socket was closed and reconnecting failed
            self._socket.sendall(message_bytes)
            return self._await_head()
        except TimeoutError:
            raise SplootError(f"no response from the daemon within {REPLY_TIMEOUT_S:.0f} s", "sploot logs") from None
        except OSError as error:
            raise ConnectionLostError from error

    def read_body(self, head: ResponseHead) -> bytes:
        """Return the body of the response with this head."""
        try:
            length = int(head.headers.get("content-length", "0"))
            if length > REPLY_BYTES_MAX:
                raise SplootError(f"the daemon's response is larger than {REPLY_BYTES_MAX} bytes")
            while len(self._buffer) < length:
                self._receive()
        except TimeoutError:
            raise SplootError("the daemon stopped sending in the middle of a response", "sploot logs") from None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def read_events(self, timeout_s: Callable[[], float]) -> Iterator[Event | None]:
        """Yield server-sent events as they arrive, and None whenever `timeout_s()` has passed without one."""
        text = b""
        while True:
            chunk = self._next_chunk()
            if chunk is None:
                self._socket.settimeout(max(timeout_s(), 0.001))  # 0 would make the socket non-blocking
                try:
                    self._receive()
                except TimeoutError:
                    yield None
            elif not chunk:
                return
            else:
                *whole, text = (text + chunk).split(b"\n\n")
                yield from (event for event in map(_parse_event, whole) if event)

    def read_chunks(self) -> Iterator[bytes]:
        """Yield the chunks of a chunked body as they arrive."""
        self._socket.settimeout(REPLY_TIMEOUT_S)
        try:
            while (chunk := self._next_chunk()) != b"":
                if chunk is None:
                    self._receive()
                else:
                    yield chunk
        except TimeoutError:
            raise SplootError("the daemon stopped sending in the middle of a response", "sploot logs") from None

    def _await_head(self) -> ResponseHead:
        """Return the head of the response; NoDaemonError soon if the daemon's process is stopped or frozen."""
        try:
            return self._read_head()
        except TimeoutError:
            from sploot.frozen_process import explain_frozen_daemon  # noqa: PLC0415 - rarely needed

            if explanation := explain_frozen_daemon():
                raise NoDaemonError(*explanation) from None
        self._socket.settimeout(REPLY_TIMEOUT_S)
        return self._read_head()

    def _read_head(self) -> ResponseHead:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise SplootError("the daemon sent an invalid response", "sploot daemon restart")
            self._receive()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer[:] = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return ResponseHead(int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs})

    def _next_chunk(self) -> bytes | None:
        """Return the next chunk, empty at the end of the body, or None until it has arrived completely."""
        # RFC 9112, section 7.1. The daemon sends no chunk extensions and no trailers, so neither is parsed.
        number, has_size_line, rest = bytes(self._buffer).partition(b"\r\n")
        length = int(number, 16) if has_size_line else 0
        if not has_size_line or len(rest) < length + 2:
            return None
        self._buffer[:] = rest[length + 2 :]
        return rest[:length]

    def _receive(self) -> None:
        try:
            received = self._socket.recv(RECEIVE_BYTES)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLostError from error
        if not received:
            raise ConnectionLostError
        self._buffer += received


def connect_if_running(socket: str | os.PathLike[str]) -> Connection | None:
    """Return a connection to the daemon, or None if no daemon is running."""
    folder = os.path.dirname(socket)  # noqa: PTH120 - pathlib takes time to import
    try:
        # In a shared folder such as /tmp another user may have created this folder and listen on a socket in it.
        if os.stat(folder).st_uid not in TRUSTED_UIDS:  # noqa: PTH116 - as above
            raise NoDaemonError(f"{folder} belongs to another user", "they could read everything that is sent there")
        return Connection(socket)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise NoDaemonError(
            f"the daemon's socket {socket} cannot be used: {error.strerror}", "check the owner of that folder"
        ) from error


def encode_request(request: Request, key: str) -> bytes:
    """Return `request` as an HTTP message."""
    from splootd.codec import encode, encode_query  # noqa: PLC0415 - see above

    if request.method == "GET":
        query_string = encode_query(request)
        return encode_message("GET", request.path + (f"?{query_string}" if query_string else ""), b"", key)
    return encode_message(request.method, request.path, json.dumps(encode(request)).encode("ascii"), key)


def encode_message(method: str, target: str, body: bytes, key: str) -> bytes:
    """Return an HTTP request message; `key` is its idempotency key, unless it is a GET."""
    lines = [f"{method} {target} HTTP/1.1", "Host: sploot", f"Sploot-Client: {__version__}"]
    if method != "GET":
        lines += [f"Idempotency-Key: {key}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _parse_event(text: bytes) -> Event | None:
    """Parse one server-sent event; return None for a comment, which is a keep-alive."""
    fields = dict(line.partition(": ")[::2] for line in text.decode("ascii").split("\n") if not line.startswith(":"))
    if "data" not in fields:
        return None
    return fields.get("event", "message"), json.loads(fields["data"])
