"""Messages about the library and the web UI."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Search(Request):
    """Search the library.

    `tag` and `favorite` select assets. `sort` is `best`, `newest` or `oldest` and orders the matches.
    """

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/search"
    text: str
    limit: int = 10
    tag: str | None = None
    favorite: bool = False
    sort: str = "best"


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. A larger `score` is better; `path` is None without a known local file.

    `url` opens the image in a browser. An image that only the daemon can fetch is served by the web UI, so its `url` is
    None before the first `sploot ui`. `text` is written on the image, `words` are those of the query that match, and
    `reason` says what it shares with the query.
    """

    asset_id: str
    score: float | None
    path: str | None
    url: str | None
    text: str | None
    reason: str | None = None
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    favorite: bool = False
    created_at: str | None = None


@dataclass(frozen=True, slots=True)
class Hits:
    """Reply to Search. Without hits, `nearest` holds the nearest of the library, which do not match."""

    hits: tuple[Hit, ...]
    note: str | None = None
    nearest: tuple[Hit, ...] = ()


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


@dataclass(frozen=True, slots=True)
class EditAssets(Request):
    """Change tags and favourites in the library. A target is an asset id or the absolute path of a local file."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/assets"
    targets: tuple[str, ...]
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    favorite: bool | None = None


@dataclass(frozen=True, slots=True)
class EditedAsset:
    """An asset after a change. `name` is that of its file."""

    asset_id: str
    name: str
    tags: tuple[str, ...]
    favorite: bool


@dataclass(frozen=True, slots=True)
class EditedAssets:
    """Reply to EditAssets. `not_found` are the targets that the library does not have."""

    assets: tuple[EditedAsset, ...]
    not_found: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Share(Request):
    """Create a share link for each target, as in EditAssets, or with `stop` revoke it."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/share"
    targets: tuple[str, ...]
    stop: bool = False


@dataclass(frozen=True, slots=True)
class GetShareLinks(Request):
    """List the share links, newest first."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/share-links"


@dataclass(frozen=True, slots=True)
class SharedAsset:
    """An asset and its share link; `url` is None once it is not shared any more."""

    asset_id: str
    name: str
    url: str | None
    created_at: str | None = None


@dataclass(frozen=True, slots=True)
class SharedAssets:
    """Reply to Share and GetShareLinks. `not_found` are the targets that the library does not have."""

    assets: tuple[SharedAsset, ...]
    not_found: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SaveImage(Request):
    """Write the image of an asset to `file`, which must not exist; with `size_px`, as a WebP of at most this size."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/save-image"
    asset_id: str
    file: str
    size_px: int | None = None
