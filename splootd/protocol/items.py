"""Single files in the queue."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class ListItems(Request):
    """Items, newest first: those older than the id `before`, or the next ones newer than the id `after`.

    `text` is looked for in the names of files, so far in one request and no further: the reply says where to go on.
    With `lines` the reply is no `Items` but rows, `limit` of them however many that is, each on a line of its own.
    """

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/items"
    state: str | None = None
    folder: str | None = None
    reason: str | None = None
    before: int | None = None
    limit: int = 100
    after: int | None = None
    text: str | None = None
    lines: bool = False


@dataclass(frozen=True, slots=True)
class ItemRow:
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
    reason: str | None
    duplicate: bool
    folder: str | None
    tags: tuple[str, ...]
    fault: str | None = None  # the code that `--reason` takes


@dataclass(frozen=True, slots=True)
class Items:
    """One page, newest first; `before` asks for the next one, None when there is none. So does `after`, upwards."""

    items: tuple[ItemRow, ...]
    before: int | None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Why(Request):
    """The story of one file, by id or path."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/why"
    target: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    at: str
    fault: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Story:
    """One file: where it stands, what was tried, what happens next, in a sentence."""

    item: ItemRow
    attempts: tuple[AttemptRow, ...]
    next: str
    versions: int
    removed_at: str | None = None  # when it was noticed that the library does not have it any more
