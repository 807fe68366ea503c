"""Attribute failures to the file, the server or this machine. The admission controller acts on it."""

import enum
from collections.abc import Collection
from dataclasses import dataclass

from splootd.core.circuit_breaker import FAILURE_THRESHOLD, CircuitState
from splootd.errors import (
    ConnectionLost,
    InternalServerError,
    InvalidResponse,
    ItemError,
    ResourceExhausted,
    ServerError,
)

KNOWN_BAD_MAX = 10_000  # contents remembered as failing


class FailureGroups:
    """The items that failed, grouped by content: several items may be copies of one content."""

    def __init__(self) -> None:
        self._items: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, content: bytes, item_id: int) -> int:
        """Record a failed item and return the number of its content."""
        number = int.from_bytes(content[:8])
        self._items.setdefault(number, set()).add(item_id)
        return number

    def contents(self) -> Collection[int]:
        return tuple(self._items)

    def pop(self, contents: Collection[int]) -> set[int]:
        """Remove `contents` and return the items that failed with them."""
        return {item_id for content in contents for item_id in self._items.pop(content, ())}

    def clear(self) -> None:
        self._items.clear()


class FailureCause(enum.Enum):
    """What caused a failure."""

    FILE = enum.auto()  # the server was not involved
    CONTENT = enum.auto()  # the server failed on this content and answered control requests: the attempt counts
    CONTENTS = enum.auto()  # so many contents failed in this way that the server is the likely cause
    SERVER = enum.auto()  # the server failed as a whole, or the connection to it
    MACHINE = enum.auto()  # this machine is out of a resource


@dataclass(frozen=True, slots=True)
class Attribution:
    """The cause of one failure. `failure` is its number for the circuit breaker: equal numbers count once."""

    cause: FailureCause
    failure: int = 0
    server_responds: bool = False  # it was unreachable before


class FailureAttribution:
    """Groups failures by content, and finds the contents that fail although the server works.

    A content is at fault if others, or the image of the self-test, were uploaded after its first failure. The server is
    suspect if one content after another fails, by its response or by breaking the connection. Failures of the server as
    a whole are counted by `failure_id`, so that a request with many files counts once.
    """

    def __init__(self) -> None:
        self._server_failures = FailureGroups()  # the server failed as a whole
        self._content_failures = FailureGroups()  # the server failed on these and answered control requests
        self._known_bad: set[int] = set()  # failed before other contents succeeded
        self._suspects: set[int] = set()  # contents that opened the circuit breaker: a self-test shows what is at fault
        self.opened_by_contents = False  # what opened the circuit breaker

    def record_success(self) -> None:
        """Record an uploaded item: contents that failed before it are bad themselves."""
        self._server_failures.clear()
        if len(self._known_bad) < KNOWN_BAD_MAX:
            self._known_bad |= self._suspects.union(self._content_failures.contents())
        self._suspects.clear()
        self._content_failures.clear()

    def attribute(self, error: ItemError, *, item_id: int, content: bytes, circuit: CircuitState) -> Attribution:
        """Record a failed attempt with a content and return its cause."""
        match error:
            case ConnectionLost() | InternalServerError() | InvalidResponse():
                return self._attribute_content_failure(item_id, content, circuit)
            case ResourceExhausted():
                return Attribution(FailureCause.MACHINE)
            case ServerError():
                return Attribution(FailureCause.SERVER, self._server_failures.add(error.failure_id, item_id))
        return Attribution(FailureCause.FILE)

    def take_refunds(self, attribution: Attribution, contents: Collection[int]) -> set[int]:
        """Return and forget the items whose attempts are refunded because `attribution` opened the circuit breaker.

        `contents` are the numbers of the failures that the breaker had counted.
        """
        self.opened_by_contents = attribution.cause is FailureCause.CONTENTS
        if self.opened_by_contents:
            failed = self._content_failures.contents()
            self._suspects.update(failed)
            return self._content_failures.pop(failed)
        return self._server_failures.pop(contents)

    def _attribute_content_failure(self, item_id: int, content: bytes, circuit: CircuitState) -> Attribution:
        is_late = circuit is not CircuitState.CLOSED and self.opened_by_contents
        responds = circuit is not CircuitState.CLOSED and not self.opened_by_contents
        number = self._content_failures.add(content, item_id)
        if number in self._known_bad:
            self._content_failures.pop([number])
            return Attribution(FailureCause.CONTENT, server_responds=responds)
        is_server_suspect = is_late or len(self._content_failures) >= FAILURE_THRESHOLD
        return Attribution(
            FailureCause.CONTENTS if is_server_suspect else FailureCause.CONTENT, server_responds=responds
        )
