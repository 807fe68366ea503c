"""Messages that change single items: retry, bump and forget."""

from dataclasses import dataclass, field
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Retry(Request):
    """Requeue failed items as urgent: those with these ids, with this error code, or all that a retry can help."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/retry"
    ids: tuple[int, ...] = ()
    error_code: str | None = None
    all: bool = False


@dataclass(frozen=True, slots=True)
class Bump(Request):
    """Move items to the front of the queue. Each target is an id or a path."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/bump"
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forget(Request):
    """Remove items from the queue, never from disk or server. Each target is an id or a path."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/forget"
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangeReply:
    """Ids of the changed items, the targets that matched no item in a suitable state, and the items left by error."""

    ids: tuple[int, ...]
    not_found: tuple[str, ...] = ()
    left_counts: dict[str, int] = field(default_factory=dict)
