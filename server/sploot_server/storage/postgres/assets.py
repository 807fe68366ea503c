"""Assets and tags in PostgreSQL."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager

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
    new_id,
)
from sploot_server.storage.interfaces import OwnedEmbedding
from sploot_server.storage.postgres.database import CONTENT_LOCK, PostgresDatabase, Transaction
from sploot_server.storage.rows import SORT_ORDERS, asset_from_row

LIST_FILTER = """
    owner = $1 AND deleted_at IS NULL AND ($2::boolean IS NULL OR favorite = $2) AND ($3::text IS NULL
    OR row IN (SELECT at.asset FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE t.id = $3))
    AND ($4::text IS NULL OR mime = $4)
    AND ($5::bigint IS NULL OR created_at >= $5) AND ($6::bigint IS NULL OR created_at < $6)
"""
SELECT_LIVE_ROW = "SELECT row FROM assets WHERE id = $1 AND owner = $2 AND deleted_at IS NULL FOR UPDATE"


class PostgresAssets:
    """AssetStore on one PostgreSQL database, scoped to `owner`."""

    def __init__(self, database: PostgresDatabase, owner: str = "") -> None:
        self._database = database
        self._owner = owner

    def for_owner(self, owner: str) -> "PostgresAssets":
        return PostgresAssets(self._database, owner)

    async def add(self, new: NewAsset, *, now_ms: int) -> AddResult:
        async with self._database.transaction() as transaction:
            row, created = await self._insert_or_restore(transaction, new, now_ms)
            await self._add_tags(transaction, row, new.tags, now_ms)
            [row_with_details] = await transaction.fetch("SELECT * FROM asset_details WHERE row = $1", row)
        return AddResult(asset_from_row(row_with_details), created)

    async def add_all(self, new: Sequence[NewAsset], *, now_ms: int) -> Sequence[AddResult]:
        return [await self.add(each, now_ms=now_ms) for each in new]

    async def find_by_checksum(self, checksum: str) -> Asset | None:
        return await self._fetch_asset(
            "SELECT * FROM asset_details WHERE checksum = $1 AND owner = $2 AND deleted_at IS NULL", checksum
        )

    async def find_by_checksums(self, checksums: Sequence[str]) -> Mapping[str, Asset]:
        named = "SELECT * FROM asset_details WHERE owner = $1 AND deleted_at IS NULL AND checksum = ANY($2::text[])"
        rows = await self._database.fetch(named, self._owner, checksums)
        return {row["checksum"]: asset_from_row(row) for row in rows}

    async def get(self, asset_id: str) -> Asset | None:
        return await self._fetch_asset(
            "SELECT * FROM asset_details WHERE id = $1 AND owner = $2 AND deleted_at IS NULL", asset_id
        )

    async def list(self, query: AssetQuery) -> AssetPage:
        values = (
            *(self._owner, query.favorite, query.tag_id),
            *(query.mime, query.created_from_ms, query.created_before_ms),
        )
        order = SORT_ORDERS[query.sort_by, query.descending]
        # S608: only constants of this program are formatted into these two statements.
        count = f"SELECT count(*) AS asset_count FROM assets WHERE {LIST_FILTER}"  # noqa: S608
        page = f"SELECT * FROM asset_details WHERE {LIST_FILTER} ORDER BY {order} LIMIT $7 OFFSET $8"  # noqa: S608
        [total] = await self._database.fetch(count, *values)
        rows = await self._database.fetch(page, *values, query.limit, query.offset)
        return AssetPage([asset_from_row(row) for row in rows], total["asset_count"])

    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None, now_ms: int) -> bool:
        async with self._database.transaction() as transaction:
            found = await transaction.fetch(SELECT_LIVE_ROW, asset_id, self._owner)
            for [row] in found:
                changed = "UPDATE assets SET favorite = coalesce($2, favorite), updated_at = $3 WHERE row = $1"
                await transaction.fetch(changed, row, favorite, now_ms)
                if tags is not None:
                    await transaction.fetch("DELETE FROM asset_tags WHERE asset = $1", row)
                    await self._add_tags(transaction, row, tags, now_ms)
        return bool(found)

    async def delete(self, asset_id: str, *, now_ms: int) -> bool:
        hidden = "UPDATE assets SET deleted_at = $3 WHERE id = $1 AND owner = $2 RETURNING row"
        return bool(await self._database.fetch(hidden, asset_id, self._owner, now_ms))

    async def purge(self, asset_id: str) -> str | None:
        removed = "DELETE FROM assets WHERE id = $1 AND owner = $2 RETURNING checksum"
        rows = await self._database.fetch(removed, asset_id, self._owner)
        return rows[0]["checksum"] if rows else None

    async def get_checksum(self, asset_id: str) -> str | None:
        of_asset = "SELECT checksum FROM assets WHERE id = $1 AND owner = $2"
        rows = await self._database.fetch(of_asset, asset_id, self._owner)
        return rows[0]["checksum"] if rows else None

    async def list_tags(self) -> Sequence[TagCount]:
        rows = await self._database.fetch(
            "SELECT t.id, t.name, t.created_at, count(a.row) AS asset_count FROM tags t "
            "LEFT JOIN asset_tags at ON at.tag = t.row LEFT JOIN assets a ON a.row = at.asset AND a.deleted_at IS NULL "
            "WHERE t.owner = $1 GROUP BY t.row ORDER BY t.folded_name",
            self._owner,
        )
        return [TagCount(Tag(row["id"], row["name"]), row["asset_count"], row["created_at"]) for row in rows]

    async def add_tags(
        self, asset_id: str, *, names: Sequence[str], tag_ids: Sequence[str], now_ms: int
    ) -> Sequence[Tag] | None:
        async with self._database.transaction() as transaction:
            found = await transaction.fetch(SELECT_LIVE_ROW, asset_id, self._owner)
            known = await transaction.fetch(
                "SELECT name FROM tags WHERE owner = $1 AND id = ANY($2::text[])", self._owner, tag_ids
            )
            names = [*names, *(tag["name"] for tag in known)]
            return await self._add_tags(transaction, found[0]["row"], names, now_ms) if found else None

    async def get_embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, Embedding]:
        named = "SELECT * FROM asset_details WHERE owner = $1 AND deleted_at IS NULL AND id = ANY($2::text[])"
        rows = await self._database.fetch(named, self._owner, asset_ids)
        return {row["id"]: asset_from_row(row).embedding for row in rows}

    async def list_after(self, row: int, limit: int) -> Sequence[AssetWithText]:
        rows = await self._database.fetch(
            "SELECT d.*, e.text FROM asset_details d JOIN embeddings e ON e.asset = d.row "
            "WHERE d.owner = $1 AND d.row > $2 ORDER BY d.row LIMIT $3",
            *(self._owner, row, limit),
        )
        return [
            AssetWithText(each["row"], asset_from_row(each), each["text"] or "", each["deleted_at"] is not None)
            for each in rows
        ]

    async def get_owned_embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, OwnedEmbedding]:
        rows = await self._database.fetch("SELECT * FROM asset_details WHERE id = ANY($1::text[])", asset_ids)
        return {
            row["id"]: OwnedEmbedding(
                row["owner"], asset_from_row(row).embedding if row["deleted_at"] is None else None
            )
            for row in rows
        }

    def content_lock(self, checksum: str) -> AbstractAsyncContextManager[None]:
        # An advisory lock's key is a signed 32-bit number: the first 32 bits of the checksum, shifted into that range.
        return self._database.advisory_lock(CONTENT_LOCK, int(checksum[:8], 16) - 2**31)

    async def is_referenced(self, checksum: str) -> bool:
        return bool(await self._database.fetch("SELECT 1 FROM assets WHERE checksum = $1 LIMIT 1", checksum))

    async def _fetch_asset(self, statement: str, key: str) -> Asset | None:
        rows = await self._database.fetch(statement, key, self._owner)
        return asset_from_row(rows[0]) if rows else None

    async def _insert_or_restore(self, transaction: Transaction, new: NewAsset, now_ms: int) -> tuple[int, bool]:
        """Return the row of this content, and whether it was inserted or restored."""
        inserted = await transaction.fetch(
            "INSERT INTO assets (owner, id, checksum, filename, mime, size_bytes, favorite, created_at, updated_at) "
            "VALUES ($1, CASE WHEN EXISTS (SELECT 1 FROM assets WHERE id = $2) THEN $10 ELSE $2 END, "
            "$3, $4, $5, $6, $7, $8, $9) ON CONFLICT (checksum, owner) DO NOTHING RETURNING row",
            *(self._owner, new.id, new.checksum, new.filename, new.mime, new.size_bytes, new.favorite),
            *(new.created_at_ms or now_ms, new.updated_at_ms or now_ms, new_id()),
        )
        if inserted:
            await transaction.fetch(
                "INSERT INTO embeddings (asset, queued_at, due_at) VALUES ($1, $2, $2)", inserted[0]["row"], now_ms
            )
            return inserted[0]["row"], True
        # DO NOTHING has waited for a concurrent insert of the same content, so its row is committed and visible here.
        existing = "SELECT row, deleted_at FROM assets WHERE checksum = $1 AND owner = $2 FOR UPDATE"
        [found] = await transaction.fetch(existing, new.checksum, self._owner)
        if found["deleted_at"] is not None:
            restored = "UPDATE assets SET deleted_at = NULL, updated_at = $2 WHERE row = $1"
            await transaction.fetch(restored, found["row"], now_ms)
        return found["row"], found["deleted_at"] is not None

    async def _add_tags(self, transaction: Transaction, row: int, names: Sequence[str], now_ms: int) -> Sequence[Tag]:
        """Add tags to an asset by name; create those its owner does not have."""
        names_by_key = {name.casefold(): name for name in reversed(names)}
        # Always in the same order: two transactions that insert the same tags in opposite orders would deadlock.
        for key in sorted(names_by_key):
            await transaction.fetch(
                "INSERT INTO tags (owner, id, name, folded_name, created_at) VALUES ($1, $2, $3, $4, $5) "
                "ON CONFLICT (owner, folded_name) DO NOTHING",
                *(self._owner, new_id(), names_by_key[key], key, now_ms),
            )
        known = await transaction.fetch(
            "SELECT row, id, name, folded_name FROM tags WHERE owner = $1 AND folded_name = ANY($2::text[])",
            *(self._owner, list(names_by_key)),
        )
        await transaction.fetch(
            "INSERT INTO asset_tags (asset, tag) SELECT $1, unnest($2::bigint[]) ON CONFLICT DO NOTHING",
            *(row, [tag["row"] for tag in known]),
        )
        tags = {tag["folded_name"]: Tag(tag["id"], tag["name"]) for tag in known}
        return [tags[name.casefold()] for name in names]
