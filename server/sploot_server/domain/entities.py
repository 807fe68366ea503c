"""Domain values and errors of the library: frozen dataclasses, independent of HTTP, SQL and files."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ID_BITS = 120
ID_DIGITS = 24
BASE36_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def new_id() -> str:
    """Return a random id in Sploot's format: `c` and 24 base-36 digits (120 random bits)."""
    number, letters = secrets.randbits(ID_BITS), []
    for _ in range(ID_DIGITS):
        number, digit = divmod(number, len(BASE36_DIGITS))
        letters.append(BASE36_DIGITS[digit])
    return "c" + "".join(letters)


class EmbeddingState(StrEnum):
    """The state of an asset's embedding job."""

    PENDING = "pending"  # in the queue, or scheduled for a retry
    PROCESSING = "processing"  # claimed by a worker
    READY = "ready"  # searchable
    FAILED = "failed"  # out of attempts; `error_message` has the reason


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of one asset without its vectors. `dim` is 0 unless the state is READY."""

    state: EmbeddingState
    model: str | None
    dim: int
    error_message: str | None
    queued_at_ms: int
    completed_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Tag:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag and the number of assets that carry it."""

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
    """An asset to be added; its bytes are already durable in the blob store."""

    id: str
    checksum: str
    filename: str
    mime: str
    size_bytes: int
    tags: Sequence[str]
    favorite: bool = False
    created_at_ms: int | None = None  # None: the current time
    updated_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AssetWithText:
    """An asset and its recognized text. `row` increases as assets are added."""

    row: int
    asset: Asset
    text: str
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class AddResult:
    """The result of adding content: `created` is false if the library already had it."""

    asset: Asset
    created: bool


@dataclass(frozen=True, slots=True)
class AssetPage:
    assets: Sequence[Asset]
    total: int


@dataclass(frozen=True, slots=True)
class AssetQuery:
    """A filter, a sort order and a page of live assets."""

    limit: int = 50
    offset: int = 0
    sort_by: str = "createdAt"
    descending: bool = True
    favorite: bool | None = None
    tag_id: str | None = None
    mime: str | None = None
    created_from_ms: int | None = None
    created_before_ms: int | None = None  # exclusive


class LibraryError(Exception):
    """Base class of rejected requests; the message is a sentence for users."""


class InvalidInput(LibraryError):
    """The content or a value in the request is invalid; a retry does not help."""


class TooLarge(LibraryError):
    """The content exceeds the configured size limit."""


class ContentMismatch(LibraryError):
    """A file to be uploaded by path does not match its declared size or checksum."""


class BodyTimeout(LibraryError):
    """The request body arrived too slowly."""


class BackendUnavailable(LibraryError):
    """The database or blob store is unreachable; a change without a response may not have been stored."""


class NoThumbnail(LibraryError):
    """No thumbnail of this asset can be rendered."""

    def __init__(self) -> None:
        super().__init__("This asset has no thumbnail: the file cannot be decoded")


class NotFound(LibraryError):
    """No live asset has the requested id."""

    def __init__(self) -> None:
        super().__init__("Asset not found")
