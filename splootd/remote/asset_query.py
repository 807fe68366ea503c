"""What the web UI asks of the library: a filter and an order, as parameters of Sploot's API."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

KINDS = frozenset({"gif", "tall", "no_text", "untagged"})
EXTENSION = "assetQueries"
"""The feature of a server that knows every kind, order, folder and date; Sploot itself knows favourites and tags."""


class Sort(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"
    LARGEST = "largest"
    COPIED = "copied"  # the most recently copied first
    SHUFFLE = "shuffle"


API_SORT = {
    Sort.NEWEST: ("createdAt", "desc"),
    Sort.OLDEST: ("createdAt", "asc"),
    Sort.LARGEST: ("size", "desc"),
    Sort.COPIED: ("copiedAt", "desc"),
    Sort.SHUFFLE: ("shuffle", "desc"),
}


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """Selects assets; None and False mean no restriction. `after` and `before` are ISO 8601 times.

    `duplicates_of` is the id of an asset, and selects its duplicate group.
    """

    is_favorite: bool = False
    tag_id: str | None = None
    kind: str | None = None
    folder: str | None = None
    template: str | None = None
    duplicates_of: str | None = None
    after: str | None = None
    before: str | None = None
    is_deleted: bool = False

    @property
    def needs_extension(self) -> bool:
        """Whether a plain Sploot would ignore a part of this filter."""
        restrictions = (self.kind, self.folder, self.template, self.duplicates_of, self.after, self.before)
        return self.is_deleted or any(restrictions)

    @property
    def api_fields(self) -> dict[str, Any]:
        """The restrictions that lists and searches share, by their names in the API."""
        fields = {
            "tagId": self.tag_id,
            "kind": self.kind,
            "folder": self.folder,
            "template": self.template,
            "duplicatesOf": self.duplicates_of,
            "createdAfter": self.after,
            "createdBefore": self.before,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Removal(StrEnum):
    """What becomes of assets: into the trash, out of it, or out of it for good."""

    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"


@dataclass(frozen=True, slots=True)
class AssetChange:
    """A change to many assets. With a `removal` nothing else is changed."""

    is_favorite: bool | None = None
    added_tags: Sequence[str] = ()
    removed_tags: Sequence[str] = ()
    removal: Removal | None = None

    @property
    def api_fields(self) -> dict[str, Any]:
        """The change by its names in the API."""
        if self.removal is not None:
            return {"action": self.removal}
        favorite = {} if self.is_favorite is None else {"favorite": self.is_favorite}
        return {"addTags": list(self.added_tags), "removeTags": list(self.removed_tags), **favorite}


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a list. Each `seed` is another order of `Sort.SHUFFLE`."""

    sort: Sort = Sort.NEWEST
    seed: int = 0

    @property
    def needs_extension(self) -> bool:
        """Whether a plain Sploot does not know this order."""
        return self.sort not in (Sort.NEWEST, Sort.OLDEST)

    @property
    def api_fields(self) -> dict[str, Any]:
        """The order by its names in the API."""
        sort_by, direction = API_SORT[self.sort]
        seed = {"seed": self.seed} if self.sort is Sort.SHUFFLE else {}
        return {"sortBy": sort_by, "sortOrder": direction, **seed}
