"""The asset store: what is the same in both databases. `sqlite/assets.py` and `postgres/assets.py` add the rest."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import ClassVar

from sploot_server.domain.asset_query import AssetQuery
from sploot_server.domain.entities import (
    AddResult,
    Asset,
    AssetChange,
    AssetPage,
    DuplicateGroup,
    DuplicateGroupPage,
    Embedding,
    FolderCount,
    NewAsset,
    Tag,
    TagCount,
)
from sploot_server.storage.asset_filter import Parameters, filter_condition, sort_key
from sploot_server.storage.interfaces import OwnedEmbedding, Quota
from sploot_server.storage.rows import SqlDatabase, asset_from_row, embedding_from_row

GROUP_ASSETS_MAX = 100  # of a duplicate group in a list
# The rows of a page are found first: the details of those that are skipped are never computed. Each duplicate group of
# the page is counted once, however many of its assets the page shows. SQLite keeps the order of a CROSS JOIN:
# by itself it starts with all assets of the owner, although the groups are given.
SELECT_PAGE = """
    WITH page AS (
      SELECT a.row, {key} AS sort_key FROM assets a WHERE {condition}
      ORDER BY sort_key {direction}, a.row {direction} LIMIT {limit} OFFSET {offset}),
    groups AS (
      SELECT k.duplicate_group, count(*) AS asset_count FROM image_hashes k CROSS JOIN assets b
      WHERE k.duplicate_group IN (SELECT h.duplicate_group FROM image_hashes h JOIN page ON page.row = h.asset)
        AND b.row = k.asset AND b.owner = $1 AND b.deleted_at IS NULL
      GROUP BY k.duplicate_group)
    SELECT d.*, coalesce(g.asset_count, 1) - 1 AS near_duplicate_count
    FROM page JOIN asset_details d ON d.row = page.row
    LEFT JOIN image_hashes h ON h.asset = d.row LEFT JOIN groups g ON g.duplicate_group = h.duplicate_group
    ORDER BY page.sort_key {direction}, d.row {direction}
"""
# S608: only constants of this program are formatted into statements.
DUPLICATE_GROUPS = """
    SELECT h.duplicate_group, max(a.row) AS newest_row, count(*) AS asset_count
    FROM image_hashes h JOIN assets a ON a.row = h.asset
    WHERE a.owner = $1 AND a.deleted_at IS NULL GROUP BY h.duplicate_group HAVING count(*) > 1
"""
# The best asset of a group has the most pixels, then the most bytes, and was then added first.
SELECT_DUPLICATES = f"""
    WITH groups AS ({DUPLICATE_GROUPS} ORDER BY newest_row DESC LIMIT $2 OFFSET $3),
    ranked AS (
      SELECT a.row, g.*, row_number() OVER (
        PARTITION BY g.duplicate_group
        ORDER BY CAST(coalesce(a.width, 0) AS bigint) * coalesce(a.height, 0) DESC, a.size_bytes DESC,
          a.created_at, a.row) AS place
      FROM groups g JOIN image_hashes h ON h.duplicate_group = g.duplicate_group JOIN assets a ON a.row = h.asset
      WHERE a.owner = $1 AND a.deleted_at IS NULL)
    SELECT d.*, r.duplicate_group, r.asset_count FROM ranked r JOIN asset_details d ON d.row = r.row
    WHERE r.place <= {GROUP_ASSETS_MAX} ORDER BY r.newest_row DESC, r.place
"""  # noqa: S608 - constants


class AssetStore(ABC):
    """Stores assets, their tags and the state of their embeddings. A write is durable when its call returns.

    The methods before `get_owned_embeddings` are scoped to one owner: other owners' assets do not exist for them. The
    owner of a library without accounts is ''. An asset is live until it is deleted, and has a row until its purge.
    """

    IN_LIST: ClassVar[str]
    """The condition that a text is in the list `$1`."""

    def __init__(self, database: SqlDatabase, owner: str) -> None:
        self._sql = database
        self._owner = owner

    @property
    def owner(self) -> str:
        return self._owner

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

    async def get(self, asset_id: str, *, with_deleted: bool = False) -> Asset | None:
        """Return the live asset with this id, or also a deleted one."""
        named = "SELECT * FROM asset_details WHERE id = $1 AND owner = $2"
        row = await self._sql.fetch_row(named, asset_id, self._owner)
        return asset_from_row(row) if row and (with_deleted or row["deleted_at"] is None) else None

    async def list(self, query: AssetQuery) -> AssetPage:
        """Return one page of the assets that match the filter, and their number."""
        parameters = Parameters()
        condition = filter_condition(replace(query.filter, owner=self._owner), parameters)
        count = f"SELECT count(*) AS asset_count FROM assets a WHERE {condition}"  # noqa: S608
        [total] = await self._sql.fetch(count, *parameters.values)
        page = SELECT_PAGE.format(
            key=sort_key(query.sort, query.seed, parameters),
            condition=condition,
            direction="DESC" if query.descending else "ASC",
            limit=parameters.add(query.limit),
            offset=parameters.add(query.offset),
        )
        rows = await self._sql.fetch(page, *parameters.values)
        near_duplicate_counts = {row["id"]: row["near_duplicate_count"] for row in rows}
        return AssetPage([asset_from_row(row) for row in rows], total["asset_count"], near_duplicate_counts)

    async def list_folders(self) -> Sequence[FolderCount]:
        """Return the names of the folders that held the live assets, with their numbers of assets."""
        rows = await self._sql.fetch(
            "SELECT folder, count(*) AS asset_count FROM assets a "
            "WHERE owner = $1 AND deleted_at IS NULL AND folder <> '' GROUP BY folder ORDER BY folder",
            self._owner,
        )
        return [FolderCount(row["folder"], row["asset_count"]) for row in rows]

    async def mark_copied(self, asset_id: str, *, now_ms: int) -> bool:
        """Record that an asset was taken out to be used. Return False if no live asset has this id."""
        marked = "UPDATE assets SET copied_at = $3 WHERE id = $1 AND owner = $2 AND deleted_at IS NULL RETURNING row"
        return bool(await self._sql.execute(marked, values=(asset_id, self._owner, now_ms)))

    @abstractmethod
    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None, now_ms: int) -> bool:
        """Change what is not None; `tags` replaces all tags. Return False if no live asset has this id."""

    async def delete(self, asset_id: str, *, now_ms: int) -> bool:
        """Delete an asset; adding its content again restores it, without its share link.

        Idempotent; return False if the id is unknown.
        """
        hidden = "UPDATE assets SET deleted_at = $3 WHERE id = $1 AND owner = $2 RETURNING row"
        return bool(await self._sql.execute(hidden, values=(asset_id, self._owner, now_ms)))

    @abstractmethod
    async def change(self, asset_ids: Sequence[str], change: AssetChange, *, now_ms: int) -> Sequence[str]:
        """Change the live assets among `asset_ids` in one transaction; return their ids."""

    async def delete_all(self, asset_ids: Sequence[str], *, now_ms: int) -> Sequence[str]:
        """Delete the live assets among `asset_ids`; return their ids."""
        hidden = (
            f"UPDATE assets SET deleted_at = $3 WHERE id {self.IN_LIST} AND owner = $2 AND deleted_at IS NULL "  # noqa: S608
            "RETURNING id"
        )
        rows = await self._sql.execute(hidden, values=(asset_ids, self._owner, now_ms))
        return [row["id"] for row in rows]

    async def restore_all(self, asset_ids: Sequence[str], *, now_ms: int) -> Sequence[str]:
        """Make the deleted assets among `asset_ids` live again; return their ids."""
        shown = (
            f"UPDATE assets SET deleted_at = NULL, updated_at = $3 WHERE id {self.IN_LIST} AND owner = $2 "  # noqa: S608
            "AND deleted_at IS NOT NULL RETURNING id"
        )
        rows = await self._sql.execute(shown, values=(asset_ids, self._owner, now_ms))
        return [row["id"] for row in rows]

    @abstractmethod
    async def purge(self, asset_id: str, *, deleted_before_ms: int | None = None) -> str | None:
        """Remove an asset permanently; return its checksum, or None if the id is unknown.

        With `deleted_before_ms` only an asset that was deleted before that time is removed.
        """

    async def get_checksum(self, asset_id: str) -> str | None:
        """Return the checksum of an asset, deleted or not."""
        row = await self._sql.fetch_row(
            "SELECT checksum FROM assets WHERE id = $1 AND owner = $2", asset_id, self._owner
        )
        return row["checksum"] if row else None

    async def get_quota(self, *, without: str = "") -> Quota | None:
        """Return the quota of the owner; None if there is none. The content with checksum `without` does not count."""
        rows = await self._sql.fetch(
            "SELECT quota_bytes, (SELECT CAST(coalesce(sum(size_bytes), 0) AS bigint) FROM assets WHERE owner = $1) "
            "- coalesce((SELECT size_bytes FROM assets WHERE checksum = $2 AND owner = $1), 0) AS used_bytes "
            "FROM users WHERE id = $1 AND quota_bytes IS NOT NULL",
            *(self._owner, without),
        )
        return Quota(rows[0]["quota_bytes"], rows[0]["used_bytes"]) if rows else None

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
    async def rename_tag(self, tag_id: str, name: str) -> Tag | None:
        """Rename a tag; if another tag has this name, all assets of both keep that one. Return it; None if unknown."""

    @abstractmethod
    async def delete_tag(self, tag_id: str) -> bool:
        """Remove a tag from all assets. Return False if the id is unknown."""

    async def list_duplicate_groups(self, *, limit: int, offset: int) -> DuplicateGroupPage:
        """Return one page of the groups of live near-duplicates, those with the newest assets first."""
        total = f"SELECT count(*) AS group_count FROM ({DUPLICATE_GROUPS}) AS duplicate_groups"  # noqa: S608
        [counted] = await self._sql.fetch(total, self._owner)
        rows = await self._sql.fetch(SELECT_DUPLICATES, self._owner, limit, offset)
        groups = [list(each) for _, each in itertools.groupby(rows, key=lambda row: row["duplicate_group"])]
        return DuplicateGroupPage(
            [DuplicateGroup([asset_from_row(row) for row in each], each[0]["asset_count"]) for each in groups],
            counted["group_count"],
        )

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

    async def list_after(self, row: int, limit: int) -> Sequence[tuple[int, Asset]]:
        """Return assets with a higher row in that order, deleted ones included, each with its row."""
        rows = await self._sql.fetch(
            "SELECT * FROM asset_details WHERE owner = $1 AND row > $2 ORDER BY row LIMIT $3",
            *(self._owner, row, limit),
        )
        return [(each["row"], asset_from_row(each)) for each in rows]

    async def list_deleted_before(self, deleted_before_ms: int, limit: int) -> Sequence[tuple[str, str]]:
        """Return owner and id of assets of all owners that were deleted before this time, the first deleted first."""
        rows = await self._sql.fetch(
            "SELECT owner, id FROM assets "
            "WHERE deleted_at IS NOT NULL AND deleted_at < $1 ORDER BY deleted_at LIMIT $2",
            *(deleted_before_ms, limit),
        )
        return [(row["owner"], row["id"]) for row in rows]

    async def list_live_contents_after(self, checksum: str, limit: int) -> Sequence[tuple[str, str]]:
        """Return checksum and type of the contents of all owners' live assets, after a checksum in their order."""
        rows = await self._sql.fetch(
            "SELECT checksum, min(mime) AS mime FROM assets WHERE deleted_at IS NULL AND checksum > $1 "
            "GROUP BY checksum ORDER BY checksum LIMIT $2",
            *(checksum, limit),
        )
        return [(row["checksum"], row["mime"]) for row in rows]

    async def count_contents(self) -> int:
        """Return the number of different contents of all owners' live assets."""
        [row] = await self._sql.fetch("SELECT count(DISTINCT checksum) AS count FROM assets WHERE deleted_at IS NULL")
        return int(row["count"])

    async def get_owned_embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, OwnedEmbedding]:
        """Return the existing assets among `asset_ids`, of all owners, deleted ones included."""
        rows = await self._sql.fetch(f"SELECT * FROM asset_details WHERE id {self.IN_LIST}", asset_ids)  # noqa: S608
        return {
            row["id"]: OwnedEmbedding(row["owner"], embedding_from_row(row) if row["deleted_at"] is None else None)
            for row in rows
        }

    async def list_contents_after(self, checksum: str, limit: int) -> Sequence[tuple[str, int]]:
        """Return the contents of all owners with a higher checksum, in that order, each with its size."""
        rows = await self._sql.fetch(
            "SELECT checksum, max(size_bytes) AS size FROM assets WHERE checksum > $1 "
            "GROUP BY checksum ORDER BY checksum LIMIT $2",
            *(checksum, limit),
        )
        return [(row["checksum"], row["size"]) for row in rows]

    async def list_of_content(self, checksum: str) -> Sequence[Asset]:
        """Return the assets of all owners with this content, deleted ones included."""
        rows = await self._sql.fetch("SELECT * FROM asset_details WHERE checksum = $1 ORDER BY row", checksum)
        return [asset_from_row(each) for each in rows]

    async def delete_content(self, checksum: str, *, now_ms: int) -> None:
        """Delete the assets of all owners with this content; adding it again restores them."""
        hidden = "UPDATE assets SET deleted_at = $2 WHERE checksum = $1 AND deleted_at IS NULL"
        await self._sql.execute(hidden, values=(checksum, now_ms))

    async def set_content_size(self, checksum: str, size_bytes: int) -> None:
        await self._sql.execute("UPDATE assets SET size_bytes = $2 WHERE checksum = $1", values=(checksum, size_bytes))

    @abstractmethod
    def content_lock(self, checksum: str) -> AbstractAsyncContextManager[None]:
        """Lock a content against other processes that add or purge it; they must take the lock, too."""

    async def is_referenced(self, checksum: str) -> bool:
        """Return whether any owner has this content, deleted or not: its bytes must then be kept."""
        return await self._sql.fetch_row("SELECT 1 FROM assets WHERE checksum = $1 LIMIT 1", checksum) is not None
