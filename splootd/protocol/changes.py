"""Changes to single files in the queue."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Retry(Request):
    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/retry"
    ids: tuple[int, ...] = ()
    reason: str | None = None
    all: bool = False


@dataclass(frozen=True, slots=True)
class Bump(Request):
    """To the front; each target is an id or a path."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/bump"
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forget(Request):
    """Out of the queue, never from disk or server; each target is an id or a path."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/forget"
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """Which items a command changed, and which of its targets there are none of."""

    ids: tuple[int, ...]
    not_found: tuple[str, ...] = ()
