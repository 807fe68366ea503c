"""A connection to the daemon: HTTP/1.1 on a Unix socket with nothing but the standard library.

An HTTP library would cost more time to import than most commands take, and the protocol more than the fastest take:
it is imported by those who ask in its terms.
"""

from __future__ import annotations

import _socket  # what `socket` adds to it is not needed here, and takes longer to import than all of this
import json
import os

from splootd import __version__
from splootd.errors import SplootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from splootd.protocol import Request

REPLY_S = 120.0  # a search may have to wait for the library to load its models
HEAD_BYTES_MAX = 65_536
REPLY_BYTES_MAX = 64_000_000
PIECE_BYTES = 65_536
MAY_LISTEN = frozenset({os.getuid(), 0})

News = tuple[str, dict[str, "Any"]]


class NoDaemonError(SplootError):
    """The daemon can be neither reached nor started."""


class LostError(Exception):
    """The line broke before the whole answer had come."""


class Head:
    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers


class Connection:
    """One connection to the daemon: a request out, an answer in, in turn."""

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

    def send(self, request: Request, key: str) -> Head:
        """Send `request`; the head of the answer."""
        return self.exchange(message_of(request, key))

    def exchange(self, words: bytes) -> Head:
        """Send what `message` has made; the head of the answer."""
        try:
            self._socket.settimeout(REPLY_S)  # fails on a line that was given up when no new one could be had
            self._socket.sendall(words)
            return self._head()
        except TimeoutError:
            raise SplootError(f"the daemon gave no answer within {REPLY_S:.0f} s", "sploot logs") from None
        except OSError as error:
            raise LostError from error

    def body(self, head: Head) -> bytes:
        """The whole body of the answer that `head` began."""
        try:
            length = int(head.headers.get("content-length", "0"))
            if length > REPLY_BYTES_MAX:
                raise SplootError(f"the daemon's answer is larger than {REPLY_BYTES_MAX} bytes")
            while len(self._buffer) < length:
                self._receive()
        except TimeoutError:
            raise SplootError("the daemon stopped in the middle of an answer", "sploot logs") from None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def events(self, wait_s: Callable[[], float]) -> Iterator[News | None]:
        """Server-sent events as they come, None whenever `wait_s()` has passed without any."""
        text = b""
        while True:
            chunk = self._chunk()
            if chunk is None:
                self._socket.settimeout(max(wait_s(), 0.001))
                try:
                    self._receive()
                except TimeoutError:
                    yield None
            elif not chunk:
                return
            else:
                *whole, text = (text + chunk).split(b"\n\n")
                yield from (event for event in map(_event, whole) if event)

    def pieces(self) -> Iterator[bytes]:
        """A streamed body as it comes."""
        self._socket.settimeout(REPLY_S)
        try:
            while (chunk := self._chunk()) != b"":
                if chunk is None:
                    self._receive()
                else:
                    yield chunk
        except TimeoutError:
            raise SplootError("the daemon stopped in the middle of an answer", "sploot logs") from None

    def _head(self) -> Head:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise SplootError("the daemon's answer cannot be understood", "sploot daemon restart")
            self._receive()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer[:] = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Head(int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs})

    def _chunk(self) -> bytes | None:
        """The next chunk of a streamed body, empty at its end, or None when it has not all come yet."""
        number, ended, rest = bytes(self._buffer).partition(b"\r\n")
        length = int(number, 16) if ended else 0
        if not ended or len(rest) < length + 2:
            return None
        self._buffer[:] = rest[length + 2 :]
        return rest[:length]

    def _receive(self) -> None:
        try:
            piece = self._socket.recv(PIECE_BYTES)
        except TimeoutError:
            raise
        except OSError as error:
            raise LostError from error
        if not piece:
            raise LostError
        self._buffer += piece


def running(socket: str | os.PathLike[str]) -> Connection | None:
    """A connection to the daemon, or None when there is no daemon."""
    folder = os.path.dirname(socket)  # noqa: PTH120 - pathlib takes time to import
    try:
        if os.stat(folder).st_uid not in MAY_LISTEN:  # noqa: PTH116 - as above
            raise NoDaemonError(f"{folder} belongs to somebody else", "what is said there, they would hear")
        return Connection(socket)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise NoDaemonError(
            f"the daemon's socket {socket} cannot be used: {error.strerror}", "check who owns that folder"
        ) from error


def message_of(request: Request, key: str) -> bytes:
    """`request` as HTTP."""
    from splootd.wire import encode, query  # noqa: PLC0415 - see above

    if request.method == "GET":
        asked = query(request)
        return message("GET", request.path + (f"?{asked}" if asked else ""), b"", key)
    return message(request.method, request.path, json.dumps(encode(request)).encode("ascii"), key)


def message(method: str, target: str, body: bytes, key: str) -> bytes:
    """A request as HTTP."""
    lines = [f"{method} {target} HTTP/1.1", "Host: sploot", f"Sploot-Client: {__version__}"]
    if method != "GET":
        lines += [f"Idempotency-Key: {key}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _event(text: bytes) -> News | None:
    """One server-sent event, or None for a comment, which only shows that the other end is alive."""
    fields = dict(line.partition(": ")[::2] for line in text.decode("ascii").split("\n") if not line.startswith(":"))
    if "data" not in fields:
        return None
    return fields.get("event", "message"), json.loads(fields["data"])
