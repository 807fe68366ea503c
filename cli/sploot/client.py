"""The control API seen from the command line.

Whoever is in a hurry asks by `answer`, everybody else by `ask`: the protocol takes longer to import than the fastest
commands take.
"""

from __future__ import annotations

import json
import os

from sploot.connection import LostError, message, message_of
from splootd import API, __version__
from splootd.errors import RequestError, SplootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeVar

    from sploot.connection import Connection, Head, News
    from splootd.protocol import Request

    T = TypeVar("T")

TRIES_MAX = 5  # at one request, each with another daemon


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

        body = self._exchange(message_of(request, _key()))
        return _understood(lambda: decode(reply, json.loads(body)))

    def text(self, request: Request) -> str:
        """The daemon's answer where that is plain text."""
        return self._exchange(message_of(request, "")).decode()

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


def _refusal(body: bytes) -> SplootError:
    from splootd.protocol import Problem  # noqa: PLC0415 - see above
    from splootd.wire import MalformedError, decode  # noqa: PLC0415 - as above

    try:
        problem = decode(Problem, json.loads(body))
    except (MalformedError, ValueError):
        return SplootError("the daemon refused without a reason", "sploot logs")
    return RequestError(problem.code, problem.title, problem.hint, status=problem.status)
