"""Decide whether failures are the fault of one content or of the server."""

from collections.abc import Collection

from splootd.core.circuit_breaker import FAILURE_THRESHOLD

PROBES_MAX = 20
"""Consecutive probes that may fail while the server answers every control request. After that each failure counts
against its file: ten minutes. Without this limit a library whose owner has removed many pictures, which fails on each
of them for ever, would block the queue."""

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


class FailureAttribution:
    """Groups failures by content, and finds the contents that fail although the server works."""

    def __init__(self) -> None:
        self._server_failures = FailureGroups()  # the server failed as a whole
        self._content_failures = FailureGroups()  # the server failed on these and answered control requests
        self._known_bad: set[int] = set()  # failed before other contents succeeded
        self._failed_probes = 0  # consecutive, while the server answered control requests

    def record_success(self) -> None:
        """Record an uploaded item: contents that failed before it are bad themselves."""
        self._failed_probes = 0
        self._server_failures.clear()
        if len(self._known_bad) < KNOWN_BAD_MAX:
            self._known_bad.update(self._content_failures.contents())
        self._content_failures.clear()

    def add_server_failure(self, content: bytes, item_id: int) -> int:
        """Record a failure of the server and return the number of `content`."""
        return self._server_failures.add(content, item_id)

    def add_content_failure(self, content: bytes, item_id: int, *, is_probe: bool) -> bool:
        """Record a failure on one content. Return whether the content is at fault, so that the attempt counts."""
        number = self._content_failures.add(content, item_id)
        self._failed_probes += is_probe
        if number in self._known_bad or self._failed_probes > PROBES_MAX:
            self._content_failures.pop([number])
            return True
        return False

    @property
    def is_server_suspect(self) -> bool:
        """Whether so many different contents failed that the server is the likely cause."""
        return len(self._content_failures) >= FAILURE_THRESHOLD

    def take_server_failures(self, contents: Collection[int]) -> set[int]:
        """Forget the server failures of `contents` and return their items, whose attempts are refunded."""
        return self._server_failures.pop(contents)

    def take_content_failures(self) -> set[int]:
        """Forget all content failures and return their items, whose attempts are refunded."""
        return self._content_failures.pop(self._content_failures.contents())
