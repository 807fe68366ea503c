"""Queueing files and folders."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Add(Request):
    """Queue files, import folders. `add` continues an earlier call's list; `watch` keeps looking at the folders.

    `after` is what becomes of the files once the library has them: keep, trash, or move: and an absolute folder.
    """

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/add"
    paths: tuple[str, ...]
    watch: bool = True
    priority: str = "normal"
    tags: tuple[str, ...] = ()
    force: bool = False
    dry_run: bool = False
    add: int | None = None
    after: str = "keep"


@dataclass(frozen=True, slots=True)
class PathOutcome:
    """What became of one path that was named: `queued`, `known`, `folder`, ... or an error with its sentence."""

    path: str
    outcome: str
    detail: str | None = None
    item: int | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """The answer to Add. `counts` is by outcome; `walking` says that folders are still being looked through."""

    add: int | None
    counts: dict[str, int]
    paths: tuple[PathOutcome, ...]
    walking: bool


@dataclass(frozen=True, slots=True)
class GetProgress(Request):
    """How far one add has come; with `follow` as server-sent events until it has ended."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/progress"
    add: int
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one add has come. `states` sums to `total`; bytes count what need not be sent any more."""

    add: int
    walking: bool
    total: int
    states: dict[str, int]
    duplicates: int
    bytes_total: int
    bytes_done: int
    ended: bool
    due_at: str | None = None  # the first, when all that has not ended waits for a time of its own
