"""Messages about the library and the web UI."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Search(Request):
    """Search the library."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/search"
    text: str
    limit: int = 10


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. A larger `score` is better; `path` is None without a known local file.

    `url` opens the image in a browser. An image that only the daemon can fetch is served by the web UI, so its `url` is
    None before the first `sploot ui`.
    """

    asset_id: str
    score: float | None
    path: str | None
    url: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Hits:
    """Reply to Search."""

    hits: tuple[Hit, ...]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class OpenUi(Request):
    """Create a login URL of the web UI, valid once and for one minute.

    `reset` revokes all existing browser sessions. With `asset` the URL opens the image of that asset.
    """

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/ui"
    reset: bool = False
    asset: str | None = None


@dataclass(frozen=True, slots=True)
class UiUrl:
    """Reply to OpenUi."""

    url: str
