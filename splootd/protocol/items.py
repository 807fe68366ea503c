"""Messages that list items and explain a single one."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class ListItems(Request):
    """List items, newest first: those older than the id `before`, or the next ones newer than the id `after`.

    `text` filters by file name. One request scans a bounded number of rows; the reply has the position to continue at.
    With `lines` the reply is not `Items` but `limit` rows as newline-delimited JSON, without an upper bound.
    """

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/items"
    state: str | None = None
    folder: str | None = None
    error_code: str | None = None
    before: int | None = None
    limit: int = 100
    after: int | None = None
    text: str | None = None
    lines: bool = False


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item of the queue."""

    id: int
    path: str
    state: str
    priority: str
    shard: int
    size: int
    sha256: str | None
    asset_id: str | None
    attempts: int
    added_at: str
    updated_at: str
    next_at: str | None
    error_message: str | None
    duplicate: bool
    folder: str | None
    tags: tuple[str, ...]
    error_code: str | None = None  # the value of `--error`
    remedy: str | None = None  # what to do about an item that ended with an error, with the command
    can_retry: bool = False  # the same file may succeed now


@dataclass(frozen=True, slots=True)
class Items:
    """One page of items, newest first. `before` or `after` is the cursor of the next page, None on the last one."""

    items: tuple[ItemRow, ...]
    before: int | None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class GetExplanation(Request):
    """Explain the state of one file, given by id or path."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/why"
    target: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One failed attempt; `action` is the retry action that followed."""

    at: str
    error_code: str
    action: str
    error_message: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """State of one file, its failed attempts, and the next step in words."""

    item: ItemRow
    attempts: tuple[AttemptRow, ...]
    next: str
    versions: int
    can_retry: bool = False  # as in ItemRow; also true if the file has changed since its error
    removed_at: str | None = None  # when its removal from the library was detected
