"""Which assets of an owner a list or a search returns, and in which order."""

from dataclasses import dataclass, field
from enum import StrEnum

SEED_MAX = 2**31 - 1


class AssetKind(StrEnum):
    """What an asset is, apart from its name, its time and its tags."""

    GIF = "gif"
    TALL = "tall"  # at least twice as high as wide
    NO_TEXT = "no_text"  # read, and without a word
    UNTAGGED = "untagged"


class AssetSort(StrEnum):
    """What the order of a list goes by. Values are those of `sortBy`; the last three extend Sploot's."""

    CREATED = "createdAt"
    UPDATED = "updatedAt"
    SIZE = "size"
    COPIED = "copiedAt"  # assets that were never copied are last
    SHUFFLE = "shuffle"


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """Restricts a list or a search to some of an owner's assets; None means no restriction.

    `is_deleted` selects the trash, which no search covers.
    """

    owner: str = ""
    favorite: bool | None = None
    tag_id: str | None = None
    mime: str | None = None
    kind: AssetKind | None = None
    folder: str | None = None
    template: str | None = None  # its id or its case-folded name
    duplicates_of: str | None = None  # id of an asset: its duplicate group, with itself
    created_from_ms: int | None = None
    created_before_ms: int | None = None  # exclusive
    is_deleted: bool = False

    @property
    def is_unrestricted(self) -> bool:
        """Return whether the filter matches all live assets of the owner."""
        return self == AssetFilter(self.owner)


@dataclass(frozen=True, slots=True)
class AssetQuery:
    """A filter, an order and a page. `seed` selects one of the orders of `AssetSort.SHUFFLE`."""

    filter: AssetFilter = field(default_factory=AssetFilter)
    sort: AssetSort = AssetSort.CREATED
    descending: bool = True
    seed: int = 0
    limit: int = 50
    offset: int = 0
