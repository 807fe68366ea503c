"""The library, and the page that shows it."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Search(Request):
    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/search"
    text: str
    limit: int = 10


@dataclass(frozen=True, slots=True)
class Hit:
    """One meme that matches; a larger `score` is better, and `path` is None where no local file is known.

    `url` opens it in a browser; what only the daemon may fetch is on the page, so None before the first `sploot ui`.
    """

    asset_id: str
    score: float | None
    path: str | None
    url: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Hits:
    hits: tuple[Hit, ...]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class OpenPage(Request):
    """Where the page is for a browser, once and for a minute. `reset` makes every browser of before a stranger.

    With an `asset` the address leads to its picture.
    """

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/ui"
    reset: bool = False
    asset: str | None = None


@dataclass(frozen=True, slots=True)
class PageAddress:
    url: str
