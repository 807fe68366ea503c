"""Assets and tags in PostgreSQL."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from sploot_server.domain.entities import AddResult, AssetChange, NewAsset, Tag, new_id
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.postgres.database import CONTENT_LOCK, PostgresDatabase, Transaction
from sploot_server.storage.postgres.search_index import index_words
from sploot_server.storage.rows import asset_from_row

SELECT_LIVE_ROW = "SELECT row FROM assets WHERE id = $1 AND owner = $2 AND deleted_at IS NULL FOR UPDATE"


class PostgresAssets(AssetStore):
    """AssetStore on one PostgreSQL database, scoped to `owner`."""

    IN_LIST = "= ANY($1::text[])"

    def __init__(self, database: PostgresDatabase, owner: str = "") -> None:
        super().__init__(database, owner)
        self._database = database

    def for_owner(self, owner: str) -> "PostgresAssets":
        return PostgresAssets(self._database, owner)

    async def add(self, new: NewAsset, *, now_ms: int) -> AddResult:
        async with self._database.transaction() as transaction:
            row, created = await self._insert_or_restore(transaction, new, now_ms)
            if new.tags:
                await self._add_tags(transaction, row, new.tags, now_ms)
            [row_with_details] = await transaction.fetch("SELECT * FROM asset_details WHERE row = $1", row)
        return AddResult(asset_from_row(row_with_details), created)

    async def add_all(self, new: Sequence[NewAsset], *, now_ms: int) -> Sequence[AddResult]:
        return [await self.add(each, now_ms=now_ms) for each in new]

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

    async def change(self, asset_ids: Sequence[str], change: AssetChange, *, now_ms: int) -> Sequence[str]:
        async with self._database.transaction() as transaction:
            assets = await transaction.fetch(  # in the order of rows: two changes of the same assets would deadlock
                "SELECT row, id FROM assets WHERE id = ANY($1::text[]) AND owner = $2 AND deleted_at IS NULL "
                "ORDER BY row FOR UPDATE",
                *(asset_ids, self._owner),
            )
            rows = [asset["row"] for asset in assets]
            changed = (
                "UPDATE assets SET favorite = coalesce($2, favorite), updated_at = $3 WHERE row = ANY($1::bigint[])"
            )
            await transaction.fetch(changed, rows, change.favorite, now_ms)
            if change.changes_tags:
                await transaction.fetch(
                    "DELETE FROM asset_tags WHERE asset = ANY($1::bigint[]) AND tag IN "
                    "(SELECT row FROM tags WHERE owner = $2 AND folded_name = ANY($3::text[]))",
                    *(rows, self._owner, [name.casefold() for name in change.remove_tags]),
                )
                for row in rows:
                    await self._add_tags(transaction, row, change.add_tags, now_ms)
        return [asset["id"] for asset in assets]

    async def purge(self, asset_id: str, *, deleted_before_ms: int | None = None) -> str | None:
        removed = (
            "DELETE FROM assets WHERE id = $1 AND owner = $2 AND ($3::bigint IS NULL OR deleted_at < $3) "
            "RETURNING checksum"
        )
        rows = await self._database.fetch(removed, asset_id, self._owner, deleted_before_ms)
        return rows[0]["checksum"] if rows else None

    async def rename_tag(self, tag_id: str, name: str) -> Tag | None:
        async with self._database.transaction() as transaction:
            tags = await transaction.fetch(
                "SELECT row, id, id = $2 AS is_renamed FROM tags "
                "WHERE owner = $1 AND (id = $2 OR folded_name = $3) ORDER BY row FOR UPDATE",
                *(self._owner, tag_id, name.casefold()),
            )
            renamed = next((tag for tag in tags if tag["is_renamed"]), None)
            if renamed is None:
                return None
            kept = next((tag for tag in tags if not tag["is_renamed"]), renamed)
            if kept is not renamed:
                await transaction.fetch(
                    "INSERT INTO asset_tags (asset, tag) SELECT asset, $1 FROM asset_tags WHERE tag = $2 "
                    "ON CONFLICT DO NOTHING",
                    *(kept["row"], renamed["row"]),
                )
                await transaction.fetch("DELETE FROM tags WHERE row = $1", renamed["row"])
            named = "UPDATE tags SET name = $2, folded_name = $3 WHERE row = $1"
            await transaction.fetch(named, kept["row"], name, name.casefold())
            for asset in await transaction.fetch("SELECT asset FROM asset_tags WHERE tag = $1", kept["row"]):
                await index_words(transaction, asset["asset"])
        return Tag(kept["id"], name)

    async def delete_tag(self, tag_id: str) -> bool:
        async with self._database.transaction() as transaction:
            tagged = await transaction.fetch(
                "SELECT at.asset FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE t.owner = $1 AND t.id = $2",
                *(self._owner, tag_id),
            )
            deleted = "DELETE FROM tags WHERE owner = $1 AND id = $2 RETURNING row"
            removed = await transaction.fetch(deleted, self._owner, tag_id)
            for asset in tagged:
                await index_words(transaction, asset["asset"])
        return bool(removed)

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

    def content_lock(self, checksum: str) -> AbstractAsyncContextManager[None]:
        # An advisory lock's key is a signed 32-bit number: the first 32 bits of the checksum, shifted into that range.
        return self._database.advisory_lock(CONTENT_LOCK, int(checksum[:8], 16) - 2**31)

    async def _insert_or_restore(self, transaction: Transaction, new: NewAsset, now_ms: int) -> tuple[int, bool]:
        """Return the row of this content, and whether it was inserted or restored."""
        inserted = await transaction.fetch(
            "INSERT INTO assets "
            "(owner, id, checksum, filename, mime, size_bytes, favorite, created_at, updated_at, folder) "
            "VALUES ($1, CASE WHEN EXISTS (SELECT 1 FROM assets WHERE id = $2) THEN $10 ELSE $2 END, "
            "$3, $4, $5, $6, $7, $8, $9, $11) ON CONFLICT (checksum, owner) DO NOTHING RETURNING row",
            *(self._owner, new.id, new.checksum, new.filename, new.mime, new.size_bytes, new.favorite),
            *(new.created_at_ms or now_ms, new.updated_at_ms or now_ms, new_id(), new.folder),
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
        await index_words(transaction, row)
        tags = {tag["folded_name"]: Tag(tag["id"], tag["name"]) for tag in known}
        return [tags[name.casefold()] for name in names]
