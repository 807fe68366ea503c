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
    """A match; a larger `score` is better. `path` is None without a file here, `url` without a way for a browser."""

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
    """Where the page, or an asset on it, is for a browser, once and for a minute. `reset` shuts out all others."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/ui"
    reset: bool = False
    asset: str | None = None


@dataclass(frozen=True, slots=True)
class PageAddress:
    url: str
