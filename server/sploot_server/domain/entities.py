"""Domain values and errors of the library: frozen dataclasses, independent of HTTP, SQL and files."""

import secrets
from collections.abc import Mapping, Sequence
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
class Template:
    """A well-known picture that many memes share."""

    id: str
    name: str
    keywords: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TemplateSummary:
    """A template, and the numbers of its pictures and of the assets that show it."""

    template: Template
    picture_count: int
    asset_count: int


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
    folder: str  # the name of the folder that held the file; '' if unknown
    mime: str
    size_bytes: int
    width: int | None
    height: int | None
    favorite: bool
    created_at_ms: int
    updated_at_ms: int
    embedding: Embedding
    tags: Sequence[Tag] = ()
    text: str | None = None  # recognized in the image, '' if it contains none; None until it has been read
    deleted_at_ms: int | None = None
    templates: Sequence[Template] = ()


@dataclass(frozen=True, slots=True)
class NewAsset:
    """An asset to be added; its bytes are already durable in the blob store."""

    id: str
    checksum: str
    filename: str
    mime: str
    size_bytes: int
    tags: Sequence[str]
    folder: str = ""
    favorite: bool = False
    created_at_ms: int | None = None  # None: the current time
    updated_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AddResult:
    """The result of adding content: `created` is false if the library already had it."""

    asset: Asset
    created: bool


@dataclass(frozen=True, slots=True)
class AssetPage:
    """One page of `total` assets; `near_duplicate_counts` has the numbers of their live near-duplicates by id."""

    assets: Sequence[Asset]
    total: int
    near_duplicate_counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AssetChange:
    """A change to many assets; None and empty lists change nothing."""

    favorite: bool | None = None
    add_tags: Sequence[str] = ()
    remove_tags: Sequence[str] = ()

    @property
    def changes_tags(self) -> bool:
        """Whether any tag is added or removed."""
        return bool(self.add_tags or self.remove_tags)


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Live assets that look the same, the best first, and their number, which may exceed those listed."""

    assets: Sequence[Asset]
    asset_count: int


@dataclass(frozen=True, slots=True)
class DuplicateGroupPage:
    groups: Sequence[DuplicateGroup]
    total: int


@dataclass(frozen=True, slots=True)
class FolderCount:
    """The name of a folder that held files, and the number of live assets from it."""

    name: str
    asset_count: int


class LibraryError(Exception):
    """Base class of rejected requests; the message is a sentence for users."""


class InvalidInput(LibraryError):
    """The content or a value in the request is invalid; a retry does not help."""


class TooLarge(LibraryError):
    """The content exceeds the configured size limit."""


class ContentMismatch(LibraryError):
    """A file to be uploaded by path does not match its declared size or checksum."""


class OutOfSpace(LibraryError):
    """The quota of the owner or the disk of the library has no room for the content.

    `limit` is the limit that refuses it, `quota` or `disk_reserve`.
    """

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


class BodyTimeout(LibraryError):
    """The request body arrived too slowly."""


class BackendUnavailable(LibraryError):
    """The database or blob store is unreachable; a change without a response may not have been stored."""


class OriginalMissing(LibraryError):
    """The blob store lacks an original that the database lists."""

    def __init__(self) -> None:
        super().__init__("The original of this asset is missing from the library's store; tell the operator")


class NoThumbnail(LibraryError):
    """No thumbnail of this asset can be rendered."""

    def __init__(self) -> None:
        super().__init__("This asset has no thumbnail: the file cannot be decoded")


class NotFound(LibraryError):
    """No live asset has the requested id."""

    def __init__(self) -> None:
        super().__init__("Asset not found")
