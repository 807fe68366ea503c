"""Assets and tags in SQLite."""

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence

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
from sploot_server.storage.rows import SORT_ORDERS, asset_from_row, embedding_from_row
from sploot_server.storage.sqlite.database import Database

LIST_FILTER = """
    owner = :owner AND deleted_at IS NULL AND (:favorite IS NULL OR favorite = :favorite)
    AND (:tag IS NULL OR row IN (SELECT at.asset FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE t.id = :tag))
    AND (:mime IS NULL OR mime = :mime)
    AND (:from IS NULL OR created_at >= :from) AND (:before IS NULL OR created_at < :before)
"""


class SqliteAssets:
    """AssetStore on one SQLite file, scoped to `owner`."""

    def __init__(self, database: Database, owner: str = "") -> None:
        self._database = database
        self._owner = owner

    def for_owner(self, owner: str) -> "SqliteAssets":
        return SqliteAssets(self._database, owner)

    async def add(self, new: NewAsset, *, now_ms: int) -> AddResult:
        return await self._database.write(lambda connection: _add_asset(connection, self._owner, new, now_ms))

    async def add_all(self, new: Sequence[NewAsset], *, now_ms: int) -> Sequence[AddResult]:
        return await self._database.write(
            lambda connection: [_add_asset(connection, self._owner, each, now_ms) for each in new]
        )

    async def find_by_checksum(self, checksum: str) -> Asset | None:
        return (await self.find_by_checksums([checksum])).get(checksum)

    async def find_by_checksums(self, checksums: Sequence[str]) -> Mapping[str, Asset]:
        def run(connection: sqlite3.Connection) -> Mapping[str, Asset]:
            found = connection.execute(
                "SELECT * FROM asset_details WHERE owner = ? AND deleted_at IS NULL "
                "AND checksum IN (SELECT value FROM json_each(?))",
                (self._owner, json.dumps(checksums)),
            )
            return {row["checksum"]: asset_from_row(row) for row in found}

        return await self._database.read(run)

    async def get(self, asset_id: str) -> Asset | None:
        def run(connection: sqlite3.Connection) -> Asset | None:
            found = "SELECT * FROM asset_details WHERE id = ? AND owner = ? AND deleted_at IS NULL"
            return _fetch_asset(connection.execute(found, (asset_id, self._owner)))

        return await self._database.read(run)

    async def list(self, query: AssetQuery) -> AssetPage:
        return await self._database.read(lambda connection: _list_assets(connection, self._owner, query))

    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None, now_ms: int) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            row = _get_live_row(connection, self._owner, asset_id)
            if row is not None:
                _edit_asset(connection, row, favorite, tags, now_ms)
            return row is not None

        return await self._database.write(run)

    async def delete(self, asset_id: str, *, now_ms: int) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            hidden = "UPDATE assets SET deleted_at = ? WHERE id = ? AND owner = ?"
            return connection.execute(hidden, (now_ms, asset_id, self._owner)).rowcount > 0

        return await self._database.write(run)

    async def purge(self, asset_id: str) -> str | None:
        return await self._database.write(lambda connection: _purge_asset(connection, self._owner, asset_id))

    async def get_checksum(self, asset_id: str) -> str | None:
        def run(connection: sqlite3.Connection) -> str | None:
            of_asset = "SELECT checksum FROM assets WHERE id = ? AND owner = ?"
            found = connection.execute(of_asset, (asset_id, self._owner)).fetchone()
            return found["checksum"] if found else None

        return await self._database.read(run)

    async def list_tags(self) -> Sequence[TagCount]:
        return await self._database.read(lambda connection: _list_tags(connection, self._owner))

    async def add_tags(
        self, asset_id: str, *, names: Sequence[str], tag_ids: Sequence[str], now_ms: int
    ) -> Sequence[Tag] | None:
        def run(connection: sqlite3.Connection) -> Sequence[Tag] | None:
            row = _get_live_row(connection, self._owner, asset_id)
            return (
                None
                if row is None
                else _add_tags(connection, row, [*names, *self._get_tag_names(connection, tag_ids)], now_ms)
            )

        return await self._database.write(run)

    async def get_embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, Embedding]:
        def run(connection: sqlite3.Connection) -> Mapping[str, Embedding]:
            found = connection.execute(
                "SELECT * FROM asset_details WHERE owner = ? AND deleted_at IS NULL "
                "AND id IN (SELECT value FROM json_each(?))",
                (self._owner, json.dumps(asset_ids)),
            )
            return {row["id"]: embedding_from_row(row) for row in found}

        return await self._database.read(run)

    async def list_after(self, row: int, limit: int) -> Sequence[AssetWithText]:
        def run(connection: sqlite3.Connection) -> Sequence[AssetWithText]:
            found = connection.execute(
                "SELECT d.*, e.text FROM asset_details d JOIN embeddings e ON e.asset = d.row "
                "WHERE d.owner = ? AND d.row > ? ORDER BY d.row LIMIT ?",
                (self._owner, row, limit),
            )
            return [
                AssetWithText(each["row"], asset_from_row(each), each["text"] or "", each["deleted_at"] is not None)
                for each in found
            ]

        return await self._database.read(run)

    async def get_owned_embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, OwnedEmbedding]:
        def run(connection: sqlite3.Connection) -> Mapping[str, OwnedEmbedding]:
            named = "SELECT * FROM asset_details WHERE id IN (SELECT value FROM json_each(?))"
            found = connection.execute(named, (json.dumps(asset_ids),))
            return {
                row["id"]: OwnedEmbedding(row["owner"], None if row["deleted_at"] else embedding_from_row(row))
                for row in found
            }

        return await self._database.read(run)

    def content_lock(self, checksum: str) -> contextlib.AbstractAsyncContextManager[None]:
        # One process owns the file, and the locks of Library exclude its tasks from each other.
        return contextlib.nullcontext()

    async def is_referenced(self, checksum: str) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            return connection.execute("SELECT 1 FROM assets WHERE checksum = ?", (checksum,)).fetchone() is not None

        return await self._database.read(run)

    def _get_tag_names(self, connection: sqlite3.Connection, tag_ids: Sequence[str]) -> Sequence[str]:
        known = "SELECT name FROM tags WHERE owner = ? AND id IN (SELECT value FROM json_each(?))"
        return [row["name"] for row in connection.execute(known, (self._owner, json.dumps(tag_ids)))]


def _fetch_asset(rows: sqlite3.Cursor) -> Asset | None:
    found = rows.fetchall()
    return asset_from_row(found[0]) if found else None


def _add_asset(connection: sqlite3.Connection, owner: str, new: NewAsset, now_ms: int) -> AddResult:
    same = "SELECT row, deleted_at FROM assets WHERE checksum = ? AND owner = ?"
    found = connection.execute(same, (new.checksum, owner)).fetchone()
    if found is None:
        # An imported asset keeps its old id, unless another owner's asset has it.
        free_id = new_id() if connection.execute("SELECT 1 FROM assets WHERE id = ?", (new.id,)).fetchone() else new.id
        created, updated = new.created_at_ms or now_ms, new.updated_at_ms or now_ms
        inserted = connection.execute(
            "INSERT INTO assets (id, owner, checksum, filename, mime, size_bytes, favorite, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING row",
            (free_id, owner, new.checksum, new.filename, new.mime, new.size_bytes, int(new.favorite), created, updated),
        ).fetchall()  # not fetchone: SQLite does not commit while a statement with RETURNING is unfinished
        row = inserted[0]["row"]
        connection.execute("INSERT INTO embeddings (asset, queued_at, due_at) VALUES (?, ?, ?)", (row, now_ms, now_ms))
    else:
        row = found["row"]
        if found["deleted_at"] is not None:
            connection.execute("UPDATE assets SET deleted_at = NULL, updated_at = ? WHERE row = ?", (now_ms, row))
    _add_tags(connection, row, new.tags, now_ms)
    asset = connection.execute("SELECT * FROM asset_details WHERE row = ?", (row,)).fetchone()
    return AddResult(asset_from_row(asset), created=found is None or found["deleted_at"] is not None)


def _list_assets(connection: sqlite3.Connection, owner: str, query: AssetQuery) -> AssetPage:
    values = {
        "owner": owner,
        "favorite": None if query.favorite is None else int(query.favorite),
        "tag": query.tag_id,
        "mime": query.mime,
        "from": query.created_from_ms,
        "before": query.created_before_ms,
        "limit": query.limit,
        "offset": query.offset,
    }
    order = SORT_ORDERS[query.sort_by, query.descending]
    # S608: only constants of this program are formatted into these two statements.
    total = connection.execute(f"SELECT count(*) FROM assets WHERE {LIST_FILTER}", values).fetchone()[0]  # noqa: S608
    page = f"SELECT * FROM asset_details WHERE {LIST_FILTER} ORDER BY {order} LIMIT :limit OFFSET :offset"  # noqa: S608
    return AssetPage([asset_from_row(row) for row in connection.execute(page, values)], total)


def _edit_asset(
    connection: sqlite3.Connection, row: int, favorite: bool | None, tags: Sequence[str] | None, now_ms: int
) -> None:
    if favorite is not None:
        connection.execute("UPDATE assets SET favorite = ? WHERE row = ?", (int(favorite), row))
    if tags is not None:
        connection.execute("DELETE FROM asset_tags WHERE asset = ?", (row,))
        _add_tags(connection, row, tags, now_ms)
    connection.execute("UPDATE assets SET updated_at = ? WHERE row = ?", (now_ms, row))


def _purge_asset(connection: sqlite3.Connection, owner: str, asset_id: str) -> str | None:
    remove = "DELETE FROM assets WHERE id = ? AND owner = ? RETURNING row, checksum"
    removed = connection.execute(remove, (asset_id, owner)).fetchall()
    for row, _ in removed:
        # A virtual table has no foreign keys, so ON DELETE CASCADE does not reach it.
        connection.execute("DELETE FROM search_texts WHERE rowid = ?", (row,))
    return removed[0]["checksum"] if removed else None


def _list_tags(connection: sqlite3.Connection, owner: str) -> Sequence[TagCount]:
    rows = connection.execute(
        "SELECT t.id, t.name, t.created_at, count(a.row) AS asset_count FROM tags t "
        "LEFT JOIN asset_tags at ON at.tag = t.row LEFT JOIN assets a ON a.row = at.asset AND a.deleted_at IS NULL "
        "WHERE t.owner = ? GROUP BY t.row ORDER BY t.folded_name",
        (owner,),
    )
    return [TagCount(Tag(row["id"], row["name"]), row["asset_count"], row["created_at"]) for row in rows]


def _add_tags(connection: sqlite3.Connection, row: int, names: Sequence[str], now_ms: int) -> Sequence[Tag]:
    """Add tags to an asset by name; create those its owner does not have."""
    owner = connection.execute("SELECT owner FROM assets WHERE row = ?", (row,)).fetchone()["owner"]
    added = []
    for name in names:
        connection.execute(
            "INSERT INTO tags (id, owner, name, folded_name, created_at) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (owner, folded_name) DO NOTHING",
            (new_id(), owner, name, name.casefold(), now_ms),
        )
        by_name = "SELECT row, id, name FROM tags WHERE owner = ? AND folded_name = ?"
        tag = connection.execute(by_name, (owner, name.casefold())).fetchone()
        connection.execute("INSERT OR IGNORE INTO asset_tags (asset, tag) VALUES (?, ?)", (row, tag["row"]))
        added.append(Tag(tag["id"], tag["name"]))
    return added


def _get_live_row(connection: sqlite3.Connection, owner: str, asset_id: str) -> int | None:
    live = "SELECT row FROM assets WHERE id = ? AND owner = ? AND deleted_at IS NULL"
    found = connection.execute(live, (asset_id, owner)).fetchone()
    return found["row"] if found else None
