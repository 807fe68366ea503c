"""The control API seen from the command line: HTTP/1.1 on a Unix socket with nothing but the standard library.

An HTTP library would cost more time to import than most commands take, and the protocol more than the fastest take:
whoever is in such a hurry asks by `answer`, everybody else by `ask`.
"""

from __future__ import annotations

import _socket  # what `socket` adds to it is not needed here, and takes longer to import than all of this
import json
import os

from splootd import API, __version__
from splootd.errors import RequestError, SplootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeVar

    from splootd.protocol import Request

    T = TypeVar("T")

TRIES_MAX = 5  # at one request, each with another daemon
REPLY_S = 120.0  # a search may have to wait for the library to load its models
HEAD_BYTES_MAX = 65_536
REPLY_BYTES_MAX = 64_000_000
PIECE_BYTES = 65_536

News = tuple[str, dict[str, "Any"]]


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
        return self.exchange(_message_of(request, key))

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


class Client:
    """Asks the daemon; reconnects by `connect` when the line breaks, which starts the daemon if it has gone.

    `replace` is told the version of a daemon that is older than this program, and says whether it has made it go.

    A request that changes something carries a key, so that asking again never does it twice.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        warn: Callable[[str], None],
        replace: Callable[[str], bool] = lambda _version: False,
    ) -> None:
        self._connect = connect
        self._warn = warn
        self._replace = replace
        self._connection = connect()
        self._is_checked = False

    def close(self) -> None:
        self._connection.close()

    def ask(self, request: Request, reply: type[T]) -> T:
        """The daemon's answer; RequestError when it refuses."""
        from splootd.wire import decode  # noqa: PLC0415 - see above

        body = self._exchange(_message_of(request, _key()))
        return _understood(lambda: decode(reply, json.loads(body)))

    def text(self, request: Request) -> str:
        """The daemon's answer where that is plain text."""
        return self._exchange(_message_of(request, "")).decode()

    def answer(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As `ask`, for a request that is spelt out: the answer as it comes."""
        body = b"" if fields is None else json.dumps(fields).encode("ascii")
        answer = self._exchange(message(method, path, body, _key()))
        return _understood(lambda: dict(json.loads(answer)))

    def follow(self, request: Request, wait_s: Callable[[], float]) -> Iterator[News | None]:
        """News of a stream; None whenever `wait_s()` has passed without. LostError when the line breaks."""
        return self._stream(request).events(wait_s)

    def lines(self, request: Request) -> Iterator[str]:
        """The lines of an answer that streams, without their ends. LostError when the line to the daemon breaks."""
        rest = b""
        for piece in self._stream(request).pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode() for line in whole)

    def _stream(self, request: Request) -> Connection:
        """The connection on which the answer streams."""
        head = self._connection.send(request, "")
        if head.status != 200:
            raise _refusal(self._connection.body(head))
        self._check(head)
        return self._connection

    def _exchange(self, words: bytes) -> bytes:
        """The body of the answer, from whichever daemon has lived long enough to give it."""
        for tries in range(TRIES_MAX):
            if tries:
                self._reconnect()
            try:
                head = self._connection.exchange(words)
                body = self._connection.body(head)
                self._check(head)
            except LostError:
                continue
            if head.status != 200:
                raise _refusal(body)
            return body
        raise SplootError(f"the daemon hung up in the middle of an answer, {TRIES_MAX} times", "sploot logs")

    def _reconnect(self) -> None:
        self._connection.close()
        self._connection = self._connect()

    def _check(self, head: Head) -> None:
        """See to it once that daemon and command line understand each other.

        An older daemon is replaced, and the line to it lost with it.
        """
        if self._is_checked:
            return
        self._is_checked = True
        version, api = head.headers.get("sploot-version", "unknown"), head.headers.get("sploot-api", "")
        if is_older(version, __version__) and self._replace(version):
            raise LostError
        hint = "to run this command's version: sploot daemon restart"
        if api.partition(".")[0] != API.partition(".")[0]:
            raise SplootError(f"the daemon is version {version}, this command is {__version__}", hint)
        if version != __version__:
            self._warn(f"the daemon is version {version}, this command is {__version__}; {hint}")


def is_older(version: str, than: str) -> bool:
    """Whether `version` comes before `than`; False when either is not made of numbers."""
    try:
        return [int(part) for part in version.split(".")] < [int(part) for part in than.split(".")]
    except ValueError:
        return False


def _understood(read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, TypeError) as error:
        raise SplootError(f"the daemon's answer cannot be understood: {error}", "sploot daemon restart") from None


def _key() -> str:
    return os.urandom(16).hex()


def _message_of(request: Request, key: str) -> bytes:
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


def _refusal(body: bytes) -> SplootError:
    from splootd.protocol import Problem  # noqa: PLC0415 - see above
    from splootd.wire import MalformedError, decode  # noqa: PLC0415 - as above

    try:
        problem = decode(Problem, json.loads(body))
    except (MalformedError, ValueError):
        return SplootError("the daemon refused without a reason", "sploot logs")
    return RequestError(problem.code, problem.title, problem.hint, status=problem.status)


def _event(text: bytes) -> News | None:
    """One server-sent event, or None for a comment, which only shows that the other end is alive."""
    fields = dict(line.partition(": ")[::2] for line in text.decode("ascii").split("\n") if not line.startswith(":"))
    if "data" not in fields:
        return None
    return fields.get("event", "message"), json.loads(fields["data"])
