"""Assets and tags in SQLite."""

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence

from sploot_server.assets import Owned
from sploot_server.assets.database import Database
from sploot_server.model import (
    Added,
    Asset,
    AssetPage,
    AssetQuery,
    Content,
    Embedding,
    EmbeddingState,
    NewAsset,
    Tag,
    TagCount,
)

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
ORDERS = {
    ("createdAt", True): "created_at DESC, row DESC",
    ("createdAt", False): "created_at, row",
    ("updatedAt", True): "updated_at DESC, row DESC",
    ("updatedAt", False): "updated_at, row",
}
LISTED = """
    owner = :owner AND deleted_at IS NULL AND (:favorite IS NULL OR favorite = :favorite)
    AND (:tag IS NULL OR row IN (SELECT at.asset FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE t.id = :tag))
    AND (:mime IS NULL OR mime = :mime)
    AND (:from IS NULL OR created_at >= :from) AND (:before IS NULL OR created_at < :before)
"""


def new_id() -> str:
    """A fresh id in the form of Sploot's: `c` and 24 digits of base 36 (120 random bits)."""
    number, letters = secrets.randbits(120), []
    for _ in range(24):
        number, digit = divmod(number, 36)
        letters.append(ALPHABET[digit])
    return "c" + "".join(letters)


class SqliteAssets:
    """AssetStore on one SQLite file, as `owner` sees it."""

    def __init__(self, database: Database, owner: str = "") -> None:
        self._database = database
        self._owner = owner

    def of(self, owner: str) -> "SqliteAssets":
        return SqliteAssets(self._database, owner)

    async def add(self, new: NewAsset, *, now_ms: int) -> Added:
        return await self._database.write(lambda connection: _add(connection, self._owner, new, now_ms))

    async def add_all(self, new: Sequence[NewAsset], *, now_ms: int) -> Sequence[Added]:
        return await self._database.write(
            lambda connection: [_add(connection, self._owner, each, now_ms) for each in new]
        )

    async def find(self, checksum: str) -> Asset | None:
        return (await self.find_all([checksum])).get(checksum)

    async def find_all(self, checksums: Sequence[str]) -> Mapping[str, Asset]:
        def run(connection: sqlite3.Connection) -> Mapping[str, Asset]:
            found = connection.execute(
                "SELECT * FROM whole_assets WHERE owner = ? AND deleted_at IS NULL "
                "AND checksum IN (SELECT value FROM json_each(?))",
                (self._owner, json.dumps(checksums)),
            )
            return {row["checksum"]: asset_of(row) for row in found}

        return await self._database.read(run)

    async def get(self, asset_id: str) -> Asset | None:
        def run(connection: sqlite3.Connection) -> Asset | None:
            found = "SELECT * FROM whole_assets WHERE id = ? AND owner = ? AND deleted_at IS NULL"
            return _one(connection.execute(found, (asset_id, self._owner)))

        return await self._database.read(run)

    async def list(self, query: AssetQuery) -> AssetPage:
        return await self._database.read(lambda connection: _list(connection, self._owner, query))

    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None, now_ms: int) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            row = _live_row(connection, self._owner, asset_id)
            if row is not None:
                _edit(connection, row, favorite, tags, now_ms)
            return row is not None

        return await self._database.write(run)

    async def delete(self, asset_id: str, *, now_ms: int) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            hidden = "UPDATE assets SET deleted_at = ? WHERE id = ? AND owner = ?"
            return connection.execute(hidden, (now_ms, asset_id, self._owner)).rowcount > 0

        return await self._database.write(run)

    async def purge(self, asset_id: str) -> str | None:
        return await self._database.write(lambda connection: _purge(connection, self._owner, asset_id))

    async def checksum_of(self, asset_id: str) -> str | None:
        def run(connection: sqlite3.Connection) -> str | None:
            of_asset = "SELECT checksum FROM assets WHERE id = ? AND owner = ?"
            found = connection.execute(of_asset, (asset_id, self._owner)).fetchone()
            return found["checksum"] if found else None

        return await self._database.read(run)

    async def tags(self) -> Sequence[TagCount]:
        return await self._database.read(lambda connection: _tags(connection, self._owner))

    async def add_tags(
        self, asset_id: str, *, names: Sequence[str], tag_ids: Sequence[str], now_ms: int
    ) -> Sequence[Tag] | None:
        def run(connection: sqlite3.Connection) -> Sequence[Tag] | None:
            row = _live_row(connection, self._owner, asset_id)
            return None if row is None else _tag(connection, row, [*names, *self._names(connection, tag_ids)], now_ms)

        return await self._database.write(run)

    async def embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, Embedding]:
        def run(connection: sqlite3.Connection) -> Mapping[str, Embedding]:
            found = connection.execute(
                "SELECT * FROM whole_assets WHERE owner = ? AND deleted_at IS NULL "
                "AND id IN (SELECT value FROM json_each(?))",
                (self._owner, json.dumps(asset_ids)),
            )
            return {row["id"]: _embedding(row) for row in found}

        return await self._database.read(run)

    async def contents_after(self, row: int, limit: int) -> Sequence[Content]:
        def run(connection: sqlite3.Connection) -> Sequence[Content]:
            found = connection.execute(
                "SELECT w.*, e.text FROM whole_assets w JOIN embeddings e ON e.asset = w.row "
                "WHERE w.owner = ? AND w.row > ? ORDER BY w.row LIMIT ?",
                (self._owner, row, limit),
            )
            return [
                Content(each["row"], asset_of(each), each["text"] or "", each["deleted_at"] is not None)
                for each in found
            ]

        return await self._database.read(run)

    async def owned(self, asset_ids: Sequence[str]) -> Mapping[str, Owned]:
        def run(connection: sqlite3.Connection) -> Mapping[str, Owned]:
            named = "SELECT * FROM whole_assets WHERE id IN (SELECT value FROM json_each(?))"
            found = connection.execute(named, (json.dumps(asset_ids),))
            return {row["id"]: Owned(row["owner"], None if row["deleted_at"] else _embedding(row)) for row in found}

        return await self._database.read(run)

    def holding(self, checksum: str) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()  # there is no other process

    async def is_held(self, checksum: str) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            return connection.execute("SELECT 1 FROM assets WHERE checksum = ?", (checksum,)).fetchone() is not None

        return await self._database.read(run)

    def _names(self, connection: sqlite3.Connection, tag_ids: Sequence[str]) -> Sequence[str]:
        known = "SELECT name FROM tags WHERE owner = ? AND id IN (SELECT value FROM json_each(?))"
        return [row["name"] for row in connection.execute(known, (self._owner, json.dumps(tag_ids)))]


def _one(rows: sqlite3.Cursor) -> Asset | None:
    found = rows.fetchall()
    return asset_of(found[0]) if found else None


def asset_of(row: sqlite3.Row) -> Asset:
    """A row of `whole_assets` as a value."""
    return Asset(
        id=row["id"],
        checksum=row["checksum"],
        filename=row["filename"],
        mime=row["mime"],
        size_bytes=row["size_bytes"],
        width=row["width"],
        height=row["height"],
        favorite=bool(row["favorite"]),
        created_at_ms=row["created_at"],
        updated_at_ms=row["updated_at"],
        embedding=_embedding(row),
        tags=[Tag(*line.split(" ", 1)) for line in (row["tags"] or "").split("\n") if line],
    )


def _embedding(row: sqlite3.Row) -> Embedding:
    return Embedding(
        state=EmbeddingState(row["state"]),
        model=row["model"],
        dim=row["dim"],
        error=row["error"],
        queued_at_ms=row["queued_at"],
        completed_at_ms=row["completed_at"],
    )


def _add(connection: sqlite3.Connection, owner: str, new: NewAsset, now_ms: int) -> Added:
    same = "SELECT row, deleted_at FROM assets WHERE checksum = ? AND owner = ?"
    found = connection.execute(same, (new.checksum, owner)).fetchone()
    if found is None:
        free = new_id() if connection.execute("SELECT 1 FROM assets WHERE id = ?", (new.id,)).fetchone() else new.id
        created, updated = new.created_at_ms or now_ms, new.updated_at_ms or now_ms
        inserted = connection.execute(
            "INSERT INTO assets (id, owner, checksum, filename, mime, size_bytes, favorite, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING row",
            (free, owner, new.checksum, new.filename, new.mime, new.size_bytes, int(new.favorite), created, updated),
        ).fetchall()
        row = inserted[0]["row"]
        connection.execute("INSERT INTO embeddings (asset, queued_at, due_at) VALUES (?, ?, ?)", (row, now_ms, now_ms))
    else:
        row = found["row"]
        if found["deleted_at"] is not None:
            connection.execute("UPDATE assets SET deleted_at = NULL, updated_at = ? WHERE row = ?", (now_ms, row))
    _tag(connection, row, new.tags, now_ms)
    asset = connection.execute("SELECT * FROM whole_assets WHERE row = ?", (row,)).fetchone()
    return Added(asset_of(asset), created=found is None or found["deleted_at"] is not None)


def _list(connection: sqlite3.Connection, owner: str, query: AssetQuery) -> AssetPage:
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
    order = ORDERS[query.sort_by, query.descending]
    # S608: only constants of this module go into the text of these two.
    total = connection.execute(f"SELECT count(*) FROM assets WHERE {LISTED}", values).fetchone()[0]  # noqa: S608
    page = f"SELECT * FROM whole_assets WHERE {LISTED} ORDER BY {order} LIMIT :limit OFFSET :offset"  # noqa: S608
    return AssetPage([asset_of(row) for row in connection.execute(page, values)], total)


def _edit(
    connection: sqlite3.Connection, row: int, favorite: bool | None, tags: Sequence[str] | None, now_ms: int
) -> None:
    if favorite is not None:
        connection.execute("UPDATE assets SET favorite = ? WHERE row = ?", (int(favorite), row))
    if tags is not None:
        connection.execute("DELETE FROM asset_tags WHERE asset = ?", (row,))
        _tag(connection, row, tags, now_ms)
    connection.execute("UPDATE assets SET updated_at = ? WHERE row = ?", (now_ms, row))


def _purge(connection: sqlite3.Connection, owner: str, asset_id: str) -> str | None:
    remove = "DELETE FROM assets WHERE id = ? AND owner = ? RETURNING row, checksum"
    removed = connection.execute(remove, (asset_id, owner)).fetchall()
    for row, _ in removed:
        connection.execute("DELETE FROM texts WHERE rowid = ?", (row,))
    return removed[0]["checksum"] if removed else None


def _tags(connection: sqlite3.Connection, owner: str) -> Sequence[TagCount]:
    rows = connection.execute(
        "SELECT t.id, t.name, t.created_at, count(a.row) AS assets FROM tags t "
        "LEFT JOIN asset_tags at ON at.tag = t.row LEFT JOIN assets a ON a.row = at.asset AND a.deleted_at IS NULL "
        "WHERE t.owner = ? GROUP BY t.row ORDER BY t.folded",
        (owner,),
    )
    return [TagCount(Tag(row["id"], row["name"]), row["assets"], row["created_at"]) for row in rows]


def _tag(connection: sqlite3.Connection, row: int, names: Sequence[str], now_ms: int) -> Sequence[Tag]:
    """Give an asset tags of its owner's, made if new."""
    owner = connection.execute("SELECT owner FROM assets WHERE row = ?", (row,)).fetchone()["owner"]
    added = []
    for name in names:
        connection.execute(
            "INSERT INTO tags (id, owner, name, folded, created_at) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (owner, folded) DO NOTHING",
            (new_id(), owner, name, name.casefold(), now_ms),
        )
        same = "SELECT row, id, name FROM tags WHERE owner = ? AND folded = ?"
        tag = connection.execute(same, (owner, name.casefold())).fetchone()
        connection.execute("INSERT OR IGNORE INTO asset_tags (asset, tag) VALUES (?, ?)", (row, tag["row"]))
        added.append(Tag(tag["id"], tag["name"]))
    return added


def _live_row(connection: sqlite3.Connection, owner: str, asset_id: str) -> int | None:
    live = "SELECT row FROM assets WHERE id = ? AND owner = ? AND deleted_at IS NULL"
    found = connection.execute(live, (asset_id, owner)).fetchone()
    return found["row"] if found else None
