"""What the library is made of: plain frozen values, no HTTP, no SQL, no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class EmbeddingState(StrEnum):
    """Where an asset stands on its way to being searchable."""

    PENDING = "pending"  # waiting for its turn, delayed retries included
    PROCESSING = "processing"  # in the hands of the worker
    READY = "ready"  # searchable, if there is anything to read in it
    FAILED = "failed"  # given up; `error` says why


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of one asset, without the vector itself. `dim` is 0 unless the state is READY."""

    state: EmbeddingState
    model: str | None
    dim: int
    error: str | None
    queued_at_ms: int
    completed_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Tag:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag and how many assets carry it."""

    tag: Tag
    asset_count: int
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Asset:
    """One content in the library. `checksum` is the lower-case hex SHA-256 of the original bytes."""

    id: str
    checksum: str
    filename: str
    mime: str
    size_bytes: int
    width: int | None
    height: int | None
    favorite: bool
    created_at_ms: int
    updated_at_ms: int
    embedding: Embedding
    tags: Sequence[Tag] = ()


@dataclass(frozen=True, slots=True)
class NewAsset:
    """Content whose bytes are already safe in the blob store."""

    id: str
    checksum: str
    filename: str
    mime: str
    size_bytes: int
    tags: Sequence[str]
    favorite: bool = False
    created_at_ms: int | None = None  # as of now if None
    updated_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """An asset with the text that was read in it. `row` counts up as assets are added."""

    row: int
    asset: Asset
    text: str
    hidden: bool


@dataclass(frozen=True, slots=True)
class Added:
    """The outcome of adding content: `created` is false when the library had it already."""

    asset: Asset
    created: bool


@dataclass(frozen=True, slots=True)
class AssetPage:
    assets: Sequence[Asset]
    total: int


@dataclass(frozen=True, slots=True)
class AssetQuery:
    """Which live assets to list, and in which order."""

    limit: int = 50
    offset: int = 0
    sort_by: str = "createdAt"
    descending: bool = True
    favorite: bool | None = None
    tag_id: str | None = None
    mime: str | None = None
    created_from_ms: int | None = None
    created_before_ms: int | None = None  # not itself included


class LibraryError(Exception):
    """A request the library refuses; the message is a sentence for people."""


class Invalid(LibraryError):
    """The content or a value in the request is not acceptable, now or later."""


class TooLarge(LibraryError):
    """More bytes than the configured limit."""


class NotAsAnnounced(LibraryError):
    """A file that was handed over is not, or no longer, what was said of it."""


class TooSlow(LibraryError):
    """The body came in so slowly that waiting for the rest is not worth a connection."""


class Unreachable(LibraryError):
    """What the library is kept in cannot be reached at the moment; nothing was changed that was not answered."""


class NoThumbnail(LibraryError):
    """This is nothing that a still can be made of."""

    def __init__(self) -> None:
        super().__init__("There is no thumbnail of this: it cannot be decoded")


class NotFound(LibraryError):
    """No live asset has this id."""

    def __init__(self) -> None:
        super().__init__("Asset not found")
