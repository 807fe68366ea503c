"""The asset store: what is the same in both databases. `sqlite/assets.py` and `postgres/assets.py` add the rest."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from sploot_server.domain.entities import (
    AddResult,
    Asset,
    AssetPage,
    AssetQuery,
    AssetWithText,
    Embedding,
    NewAsset,
    Tag,
    TagCount,
)
from sploot_server.storage.interfaces import OwnedEmbedding
from sploot_server.storage.rows import SqlDatabase, asset_from_row, embedding_from_row

SORT_ORDERS: Mapping[tuple[str, bool], str] = {
    ("createdAt", True): "created_at DESC, row DESC",
    ("createdAt", False): "created_at, row",
    ("updatedAt", True): "updated_at DESC, row DESC",
    ("updatedAt", False): "updated_at, row",
}
LIST_FILTER = """
    owner = $1 AND deleted_at IS NULL AND (CAST($2 AS boolean) IS NULL OR favorite = $2)
    AND (CAST($3 AS text) IS NULL
      OR row IN (SELECT at.asset FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE t.id = $3))
    AND (CAST($4 AS text) IS NULL OR mime = $4)
    AND (CAST($5 AS bigint) IS NULL OR created_at >= $5) AND (CAST($6 AS bigint) IS NULL OR created_at < $6)
"""
# S608: only constants of this program are formatted into statements.


class AssetStore(ABC):
    """Stores assets, their tags and the state of their embeddings. A write is durable when its call returns.

    All methods but the last three are scoped to one owner: other owners' assets do not exist for them. The owner of a
    library without accounts is ''. An asset is live until it is deleted; it keeps its row until it is purged.
    """

    IN_LIST: ClassVar[str]
    """The condition that a text is in the list `$1`."""

    def __init__(self, database: SqlDatabase, owner: str) -> None:
        self._sql = database
        self._owner = owner

    @abstractmethod
    def for_owner(self, owner: str) -> "AssetStore":
        """Return the same store, scoped to this owner."""

    @abstractmethod
    async def add(self, new: NewAsset, *, now_ms: int) -> AddResult:
        """Add content; restore it under its old id if it was deleted; return the live asset if it has one.

        Add the tags in every case. Concurrent calls with the same checksum create one asset.
        """

    @abstractmethod
    async def add_all(self, new: Sequence[NewAsset], *, now_ms: int) -> Sequence[AddResult]:
        """Call `add` for each asset."""

    async def find_by_checksum(self, checksum: str) -> Asset | None:
        """Return the live asset with this content."""
        return (await self.find_by_checksums([checksum])).get(checksum)

    async def find_by_checksums(self, checksums: Sequence[str]) -> Mapping[str, Asset]:
        """Return the live assets with these contents by checksum, with one statement."""
        named = f"SELECT * FROM asset_details WHERE checksum {self.IN_LIST} AND owner = $2 AND deleted_at IS NULL"  # noqa: S608
        rows = await self._sql.fetch(named, checksums, self._owner)
        return {row["checksum"]: asset_from_row(row) for row in rows}

    async def get(self, asset_id: str) -> Asset | None:
        """Return the live asset with this id."""
        named = "SELECT * FROM asset_details WHERE id = $1 AND owner = $2 AND deleted_at IS NULL"
        rows = await self._sql.fetch(named, asset_id, self._owner)
        return asset_from_row(rows[0]) if rows else None

    async def list(self, query: AssetQuery) -> AssetPage:
        """Return one page of the live assets, and their number."""
        values = (
            *(self._owner, query.favorite, query.tag_id),
            *(query.mime, query.created_from_ms, query.created_before_ms),
        )
        order = SORT_ORDERS[query.sort_by, query.descending]
        count = f"SELECT count(*) AS asset_count FROM assets WHERE {LIST_FILTER}"  # noqa: S608
        page = f"SELECT * FROM asset_details WHERE {LIST_FILTER} ORDER BY {order} LIMIT $7 OFFSET $8"  # noqa: S608
        [total] = await self._sql.fetch(count, *values)
        rows = await self._sql.fetch(page, *values, query.limit, query.offset)
        return AssetPage([asset_from_row(row) for row in rows], total["asset_count"])

    @abstractmethod
    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None, now_ms: int) -> bool:
        """Change what is not None; `tags` replaces all tags. Return False if no live asset has this id."""

    async def delete(self, asset_id: str, *, now_ms: int) -> bool:
        """Delete an asset; adding its content again restores it. Idempotent; return False if the id is unknown."""
        hidden = "UPDATE assets SET deleted_at = $3 WHERE id = $1 AND owner = $2 RETURNING row"
        return bool(await self._sql.execute(hidden, values=(asset_id, self._owner, now_ms)))

    @abstractmethod
    async def purge(self, asset_id: str) -> str | None:
        """Remove an asset permanently, deleted or not; return its checksum, or None if the id is unknown."""

    async def get_checksum(self, asset_id: str) -> str | None:
        """Return the checksum of an asset, deleted or not."""
        rows = await self._sql.fetch("SELECT checksum FROM assets WHERE id = $1 AND owner = $2", asset_id, self._owner)
        return rows[0]["checksum"] if rows else None

    async def list_tags(self) -> Sequence[TagCount]:
        """Return all tags by name, each with the number of its live assets."""
        rows = await self._sql.fetch(
            "SELECT t.id, t.name, t.created_at, count(a.row) AS asset_count FROM tags t "
            "LEFT JOIN asset_tags at ON at.tag = t.row LEFT JOIN assets a ON a.row = at.asset AND a.deleted_at IS NULL "
            "WHERE t.owner = $1 GROUP BY t.row ORDER BY t.folded_name",
            self._owner,
        )
        return [TagCount(Tag(row["id"], row["name"]), row["asset_count"], row["created_at"]) for row in rows]

    @abstractmethod
    async def add_tags(
        self, asset_id: str, *, names: Sequence[str], tag_ids: Sequence[str], now_ms: int
    ) -> Sequence[Tag] | None:
        """Add tags by name (created if new) and by id (unknown ids are ignored); None if no live asset has this id."""

    async def get_embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, Embedding]:
        """Return the embeddings of the live assets among `asset_ids`."""
        owned = await self.get_owned_embeddings(asset_ids)
        return {
            asset_id: each.embedding
            for asset_id, each in owned.items()
            if each.owner == self._owner and each.embedding is not None
        }

    async def list_after(self, row: int, limit: int) -> Sequence[AssetWithText]:
        """Return assets with a higher row in that order, deleted ones included."""
        rows = await self._sql.fetch(
            "SELECT d.*, e.text FROM asset_details d JOIN embeddings e ON e.asset = d.row "
            "WHERE d.owner = $1 AND d.row > $2 ORDER BY d.row LIMIT $3",
            *(self._owner, row, limit),
        )
        return [
            AssetWithText(each["row"], asset_from_row(each), each["text"] or "", each["deleted_at"] is not None)
            for each in rows
        ]

    async def get_owned_embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, OwnedEmbedding]:
        """Return the existing assets among `asset_ids`, of all owners, deleted ones included."""
        rows = await self._sql.fetch(f"SELECT * FROM asset_details WHERE id {self.IN_LIST}", asset_ids)  # noqa: S608
        return {
            row["id"]: OwnedEmbedding(row["owner"], embedding_from_row(row) if row["deleted_at"] is None else None)
            for row in rows
        }

    @abstractmethod
    def content_lock(self, checksum: str) -> AbstractAsyncContextManager[None]:
        """Lock a content against other processes that add or purge it; they must take the lock, too."""

    async def is_referenced(self, checksum: str) -> bool:
        """Return whether any owner has this content, deleted or not: its bytes must then be kept."""
        return bool(await self._sql.fetch("SELECT 1 FROM assets WHERE checksum = $1 LIMIT 1", checksum))
