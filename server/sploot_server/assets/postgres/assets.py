"""Assets and tags in PostgreSQL."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from sploot_server.assets import Owned
from sploot_server.assets.postgres.database import CONTENT_LOCK, PostgresDatabase, Statements
from sploot_server.assets.sqlite import ORDERS, asset_of, new_id
from sploot_server.model import Added, Asset, AssetPage, AssetQuery, Content, Embedding, NewAsset, Tag, TagCount

LISTED = """
    owner = $1 AND deleted_at IS NULL AND ($2::boolean IS NULL OR favorite = $2) AND ($3::text IS NULL
    OR row IN (SELECT at.asset FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE t.id = $3))
    AND ($4::text IS NULL OR mime = $4)
    AND ($5::bigint IS NULL OR created_at >= $5) AND ($6::bigint IS NULL OR created_at < $6)
"""
LIVE_ROW = "SELECT row FROM assets WHERE id = $1 AND owner = $2 AND deleted_at IS NULL FOR UPDATE"


class PostgresAssets:
    """AssetStore on one PostgreSQL database, as `owner` sees it."""

    def __init__(self, database: PostgresDatabase, owner: str = "") -> None:
        self._database = database
        self._owner = owner

    def of(self, owner: str) -> "PostgresAssets":
        return PostgresAssets(self._database, owner)

    async def add(self, new: NewAsset, *, now_ms: int) -> Added:
        async with self._database.transaction() as statements:
            row, created = await self._insert(statements, new, now_ms)
            await self._tag(statements, row, new.tags, now_ms)
            [whole] = await statements.fetch("SELECT * FROM whole_assets WHERE row = $1", row)
        return Added(asset_of(whole), created)

    async def add_all(self, new: Sequence[NewAsset], *, now_ms: int) -> Sequence[Added]:
        return [await self.add(each, now_ms=now_ms) for each in new]

    async def find(self, checksum: str) -> Asset | None:
        return await self._one(
            "SELECT * FROM whole_assets WHERE checksum = $1 AND owner = $2 AND deleted_at IS NULL", checksum
        )

    async def find_all(self, checksums: Sequence[str]) -> Mapping[str, Asset]:
        named = "SELECT * FROM whole_assets WHERE owner = $1 AND deleted_at IS NULL AND checksum = ANY($2::text[])"
        rows = await self._database.fetch(named, self._owner, checksums)
        return {row["checksum"]: asset_of(row) for row in rows}

    async def get(self, asset_id: str) -> Asset | None:
        return await self._one(
            "SELECT * FROM whole_assets WHERE id = $1 AND owner = $2 AND deleted_at IS NULL", asset_id
        )

    async def list(self, query: AssetQuery) -> AssetPage:
        values = (
            *(self._owner, query.favorite, query.tag_id),
            *(query.mime, query.created_from_ms, query.created_before_ms),
        )
        order = ORDERS[query.sort_by, query.descending]
        # S608: only constants of this program go into the text of these two.
        count = f"SELECT count(*) AS assets FROM assets WHERE {LISTED}"  # noqa: S608
        page = f"SELECT * FROM whole_assets WHERE {LISTED} ORDER BY {order} LIMIT $7 OFFSET $8"  # noqa: S608
        [total] = await self._database.fetch(count, *values)
        rows = await self._database.fetch(page, *values, query.limit, query.offset)
        return AssetPage([asset_of(row) for row in rows], total["assets"])

    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None, now_ms: int) -> bool:
        async with self._database.transaction() as statements:
            found = await statements.fetch(LIVE_ROW, asset_id, self._owner)
            for [row] in found:
                changed = "UPDATE assets SET favorite = coalesce($2, favorite), updated_at = $3 WHERE row = $1"
                await statements.fetch(changed, row, favorite, now_ms)
                if tags is not None:
                    await statements.fetch("DELETE FROM asset_tags WHERE asset = $1", row)
                    await self._tag(statements, row, tags, now_ms)
        return bool(found)

    async def delete(self, asset_id: str, *, now_ms: int) -> bool:
        hidden = "UPDATE assets SET deleted_at = $3 WHERE id = $1 AND owner = $2 RETURNING row"
        return bool(await self._database.fetch(hidden, asset_id, self._owner, now_ms))

    async def purge(self, asset_id: str) -> str | None:
        removed = "DELETE FROM assets WHERE id = $1 AND owner = $2 RETURNING checksum"
        rows = await self._database.fetch(removed, asset_id, self._owner)
        return rows[0]["checksum"] if rows else None

    async def checksum_of(self, asset_id: str) -> str | None:
        of_asset = "SELECT checksum FROM assets WHERE id = $1 AND owner = $2"
        rows = await self._database.fetch(of_asset, asset_id, self._owner)
        return rows[0]["checksum"] if rows else None

    async def tags(self) -> Sequence[TagCount]:
        rows = await self._database.fetch(
            "SELECT t.id, t.name, t.created_at, count(a.row) AS assets FROM tags t "
            "LEFT JOIN asset_tags at ON at.tag = t.row LEFT JOIN assets a ON a.row = at.asset AND a.deleted_at IS NULL "
            "WHERE t.owner = $1 GROUP BY t.row ORDER BY t.folded",
            self._owner,
        )
        return [TagCount(Tag(row["id"], row["name"]), row["assets"], row["created_at"]) for row in rows]

    async def add_tags(
        self, asset_id: str, *, names: Sequence[str], tag_ids: Sequence[str], now_ms: int
    ) -> Sequence[Tag] | None:
        async with self._database.transaction() as statements:
            found = await statements.fetch(LIVE_ROW, asset_id, self._owner)
            known = await statements.fetch(
                "SELECT name FROM tags WHERE owner = $1 AND id = ANY($2::text[])", self._owner, tag_ids
            )
            names = [*names, *(tag["name"] for tag in known)]
            return await self._tag(statements, found[0]["row"], names, now_ms) if found else None

    async def embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, Embedding]:
        named = "SELECT * FROM whole_assets WHERE owner = $1 AND deleted_at IS NULL AND id = ANY($2::text[])"
        rows = await self._database.fetch(named, self._owner, asset_ids)
        return {row["id"]: asset_of(row).embedding for row in rows}

    async def contents_after(self, row: int, limit: int) -> Sequence[Content]:
        rows = await self._database.fetch(
            "SELECT w.*, e.text FROM whole_assets w JOIN embeddings e ON e.asset = w.row "
            "WHERE w.owner = $1 AND w.row > $2 ORDER BY w.row LIMIT $3",
            *(self._owner, row, limit),
        )
        return [
            Content(each["row"], asset_of(each), each["text"] or "", each["deleted_at"] is not None) for each in rows
        ]

    async def owned(self, asset_ids: Sequence[str]) -> Mapping[str, Owned]:
        rows = await self._database.fetch("SELECT * FROM whole_assets WHERE id = ANY($1::text[])", asset_ids)
        return {
            row["id"]: Owned(row["owner"], asset_of(row).embedding if row["deleted_at"] is None else None)
            for row in rows
        }

    def holding(self, checksum: str) -> AbstractAsyncContextManager[None]:
        return self._database.excluding(CONTENT_LOCK, int(checksum[:8], 16) - 2**31)

    async def is_held(self, checksum: str) -> bool:
        return bool(await self._database.fetch("SELECT 1 FROM assets WHERE checksum = $1 LIMIT 1", checksum))

    async def _one(self, statement: str, key: str) -> Asset | None:
        rows = await self._database.fetch(statement, key, self._owner)
        return asset_of(rows[0]) if rows else None

    async def _insert(self, statements: Statements, new: NewAsset, now_ms: int) -> tuple[int, bool]:
        """The row of this content, and whether it is new or was hidden."""
        inserted = await statements.fetch(
            "INSERT INTO assets (owner, id, checksum, filename, mime, size_bytes, favorite, created_at, updated_at) "
            "VALUES ($1, CASE WHEN EXISTS (SELECT 1 FROM assets WHERE id = $2) THEN $10 ELSE $2 END, "
            "$3, $4, $5, $6, $7, $8, $9) ON CONFLICT (checksum, owner) DO NOTHING RETURNING row",
            *(self._owner, new.id, new.checksum, new.filename, new.mime, new.size_bytes, new.favorite),
            *(new.created_at_ms or now_ms, new.updated_at_ms or now_ms, new_id()),
        )
        if inserted:
            await statements.fetch(
                "INSERT INTO embeddings (asset, queued_at, due_at) VALUES ($1, $2, $2)", inserted[0]["row"], now_ms
            )
            return inserted[0]["row"], True
        same = "SELECT row, deleted_at FROM assets WHERE checksum = $1 AND owner = $2 FOR UPDATE"
        [found] = await statements.fetch(same, new.checksum, self._owner)
        if found["deleted_at"] is not None:
            restored = "UPDATE assets SET deleted_at = NULL, updated_at = $2 WHERE row = $1"
            await statements.fetch(restored, found["row"], now_ms)
        return found["row"], found["deleted_at"] is not None

    async def _tag(self, statements: Statements, row: int, names: Sequence[str], now_ms: int) -> Sequence[Tag]:
        """Give an asset tags of its owner's, made if new; always in one order, so that no two wait for each other."""
        folded = {name.casefold(): name for name in reversed(names)}
        for key in sorted(folded):
            await statements.fetch(
                "INSERT INTO tags (owner, id, name, folded, created_at) VALUES ($1, $2, $3, $4, $5) "
                "ON CONFLICT (owner, folded) DO NOTHING",
                *(self._owner, new_id(), folded[key], key, now_ms),
            )
        known = await statements.fetch(
            "SELECT row, id, name, folded FROM tags WHERE owner = $1 AND folded = ANY($2::text[])",
            *(self._owner, list(folded)),
        )
        await statements.fetch(
            "INSERT INTO asset_tags (asset, tag) SELECT $1, unnest($2::bigint[]) ON CONFLICT DO NOTHING",
            *(row, [tag["row"] for tag in known]),
        )
        tags = {tag["folded"]: Tag(tag["id"], tag["name"]) for tag in known}
        return [tags[name.casefold()] for name in names]
