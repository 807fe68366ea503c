"""Client of the control API.

`request` takes and returns messages of `splootd.protocol`. `request_json` avoids that import for the fastest commands.
"""

from __future__ import annotations

import json
import os

from sploot.connection import ConnectionLostError, encode_message, encode_request
from splootd import API, __version__
from splootd.errors import RequestError, SplootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeVar

    from sploot.connection import Connection, Event, ResponseHead
    from splootd.protocol import Request

    T = TypeVar("T")

ATTEMPTS_MAX = 5  # per request, each on a new connection


class Client:
    """Sends requests to the daemon. When the connection is lost, `connect` opens a new one and starts the daemon.

    `replace_older` receives the version of a daemon that is older than this program, and returns True if it has stopped
    that daemon.

    Every change carries an idempotency key, so that a retry after a lost response never takes effect twice.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        warn: Callable[[str], None],
        replace_older: Callable[[str], bool] = lambda _version: False,
    ) -> None:
        self._connect = connect
        self._warn = warn
        self._replace_older = replace_older
        self._connection = connect()
        self._is_checked = False

    def close(self) -> None:
        self._connection.close()

    def request(self, request: Request, reply: type[T]) -> T:
        """Return the daemon's reply; RequestError if it rejects the request."""
        from splootd.codec import decode  # noqa: PLC0415 - see above

        body = self._send_with_retry(encode_request(request, _new_idempotency_key()))
        return _decode_reply(lambda: decode(reply, json.loads(body)))

    def request_text(self, request: Request) -> str:
        """Return a plain-text reply."""
        return self._send_with_retry(encode_request(request, "")).decode()

    def request_json(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request given by path and fields, and return the JSON reply undecoded."""
        body = b"" if fields is None else json.dumps(fields).encode("ascii")
        reply = self._send_with_retry(encode_message(method, path, body, _new_idempotency_key()))
        return _decode_reply(lambda: dict(json.loads(reply)))

    def stream_events(self, request: Request, timeout_s: Callable[[], float]) -> Iterator[Event | None]:
        """Yield the events of a stream, and None whenever `timeout_s()` has passed without one.

        ConnectionLostError if the connection is lost.
        """
        return self._open_stream(request).read_events(timeout_s)

    def stream_lines(self, request: Request) -> Iterator[str]:
        """Yield the lines of a streamed reply. ConnectionLostError if the connection is lost."""
        rest = b""
        for chunk in self._open_stream(request).read_chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode() for line in whole)

    def _open_stream(self, request: Request) -> Connection:
        """Send the request and return the connection that carries the streamed reply."""
        head = self._connection.send_request(request, "")
        if head.status != 200:
            raise _error_from_problem(self._connection.read_body(head))
        self._check_version(head)
        return self._connection

    def _send_with_retry(self, message: bytes) -> bytes:
        """Return the body of the response, retrying on a new connection when one is lost."""
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                self._reconnect()
            try:
                head = self._connection.send_message(message)
                body = self._connection.read_body(head)
                self._check_version(head)
            except ConnectionLostError:
                # The request may have been executed before the reply was lost; the same key makes the retry safe.
                continue
            if head.status != 200:
                raise _error_from_problem(body)
            return body
        raise SplootError(
            f"the daemon closed the connection in the middle of a response, {ATTEMPTS_MAX} times", "sploot logs"
        )

    def _reconnect(self) -> None:
        self._connection.close()
        self._connection = self._connect()

    def _check_version(self, head: ResponseHead) -> None:
        """Check once per client that the versions of daemon and command line are compatible.

        An older daemon is replaced; ConnectionLostError makes the caller retry with the new one.
        """
        if self._is_checked:
            return
        self._is_checked = True
        version, api = head.headers.get("sploot-version", "unknown"), head.headers.get("sploot-api", "")
        if (version, api) == (__version__, API):
            return
        from sploot.version_order import is_older  # noqa: PLC0415 - rarely needed

        if is_older(version, __version__) and self._replace_older(version):
            raise ConnectionLostError
        hint = "to start the daemon of this version: sploot daemon restart"
        if api.partition(".")[0] != API.partition(".")[0]:
            raise SplootError(f"the daemon is version {version}, this command is {__version__}", hint)
        if version != __version__:
            self._warn(f"the daemon is version {version}, this command is {__version__}; {hint}")


def _decode_reply(decode_body: Callable[[], T]) -> T:
    try:
        return decode_body()
    except (ValueError, TypeError) as error:
        raise SplootError(f"the daemon sent an invalid reply: {error}", "sploot daemon restart") from None


def _new_idempotency_key() -> str:
    return os.urandom(16).hex()


def _error_from_problem(body: bytes) -> SplootError:
    from splootd.codec import MalformedError, decode  # noqa: PLC0415 - as above
    from splootd.protocol import Problem  # noqa: PLC0415 - see above

    try:
        problem = decode(Problem, json.loads(body))
    except (MalformedError, ValueError):
        return SplootError("the daemon rejected the request without a reason", "sploot logs")
    return RequestError(problem.code, problem.title, problem.hint, status=problem.status)
