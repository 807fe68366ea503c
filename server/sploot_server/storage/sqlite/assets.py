"""Assets and tags in SQLite."""

import contextlib
import json
import sqlite3
from collections.abc import Sequence

from sploot_server.domain.entities import AddResult, AssetChange, NewAsset, Tag, new_id
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.rows import asset_from_row
from sploot_server.storage.sqlite.database import Database
from sploot_server.storage.sqlite.word_index import index_words, remove_words


class SqliteAssets(AssetStore):
    """AssetStore on one SQLite file, scoped to `owner`."""

    IN_LIST = "IN (SELECT value FROM json_each($1))"

    def __init__(self, database: Database, owner: str = "") -> None:
        super().__init__(database, owner)
        self._database = database

    def for_owner(self, owner: str) -> "SqliteAssets":
        return SqliteAssets(self._database, owner)

    async def add(self, new: NewAsset, *, now_ms: int) -> AddResult:
        return await self._database.write(lambda connection: _add_asset(connection, self._owner, new, now_ms))

    async def add_all(self, new: Sequence[NewAsset], *, now_ms: int) -> Sequence[AddResult]:
        return await self._database.write(
            lambda connection: [_add_asset(connection, self._owner, each, now_ms) for each in new]
        )

    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None, now_ms: int) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            row = _get_live_row(connection, self._owner, asset_id)
            if row is not None:
                _edit_asset(connection, row, favorite, tags, now_ms)
            return row is not None

        return await self._database.write(run)

    async def change(self, asset_ids: Sequence[str], change: AssetChange, *, now_ms: int) -> Sequence[str]:
        return await self._database.write(
            lambda connection: _change_assets(connection, self._owner, asset_ids, change, now_ms)
        )

    async def purge(self, asset_id: str, *, deleted_before_ms: int | None = None) -> str | None:
        return await self._database.write(
            lambda connection: _purge_asset(connection, self._owner, asset_id, deleted_before_ms)
        )

    async def rename_tag(self, tag_id: str, name: str) -> Tag | None:
        return await self._database.write(lambda connection: _rename_tag(connection, self._owner, tag_id, name))

    async def delete_tag(self, tag_id: str) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            rows = _list_tagged(connection, self._owner, tag_id)
            deleted = "DELETE FROM tags WHERE owner = ? AND id = ? RETURNING row"
            removed = connection.execute(deleted, (self._owner, tag_id)).fetchall()
            for row in rows:
                index_words(connection, row)
            return bool(removed)

        return await self._database.write(run)

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

    def content_lock(self, checksum: str) -> contextlib.AbstractAsyncContextManager[None]:
        # One process owns the file, and the locks of Library exclude its tasks from each other.
        return contextlib.nullcontext()

    def _get_tag_names(self, connection: sqlite3.Connection, tag_ids: Sequence[str]) -> Sequence[str]:
        known = "SELECT name FROM tags WHERE owner = ? AND id IN (SELECT value FROM json_each(?))"
        return [row["name"] for row in connection.execute(known, (self._owner, json.dumps(tag_ids)))]


def _add_asset(connection: sqlite3.Connection, owner: str, new: NewAsset, now_ms: int) -> AddResult:
    same = "SELECT row, deleted_at FROM assets WHERE checksum = ? AND owner = ?"
    found = connection.execute(same, (new.checksum, owner)).fetchone()
    if found is None:
        # An imported asset keeps its old id, unless another owner's asset has it.
        free_id = new_id() if connection.execute("SELECT 1 FROM assets WHERE id = ?", (new.id,)).fetchone() else new.id
        created, updated = new.created_at_ms or now_ms, new.updated_at_ms or now_ms
        inserted = connection.execute(
            "INSERT INTO assets "
            "(id, owner, checksum, filename, folder, mime, size_bytes, favorite, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING row",
            (
                *(free_id, owner, new.checksum, new.filename, new.folder, new.mime, new.size_bytes),
                *(int(new.favorite), created, updated),
            ),
        ).fetchall()  # not fetchone: SQLite does not commit while a statement with RETURNING is unfinished
        row = inserted[0]["row"]
        connection.execute("INSERT INTO embeddings (asset, queued_at, due_at) VALUES (?, ?, ?)", (row, now_ms, now_ms))
    else:
        row = found["row"]
        if found["deleted_at"] is not None:
            connection.execute("UPDATE assets SET deleted_at = NULL, updated_at = ? WHERE row = ?", (now_ms, row))
    if new.tags:
        _add_tags(connection, row, new.tags, now_ms)
    asset = connection.execute("SELECT * FROM asset_details WHERE row = ?", (row,)).fetchone()
    return AddResult(asset_from_row(asset), created=found is None or found["deleted_at"] is not None)


def _edit_asset(
    connection: sqlite3.Connection, row: int, favorite: bool | None, tags: Sequence[str] | None, now_ms: int
) -> None:
    if favorite is not None:
        connection.execute("UPDATE assets SET favorite = ? WHERE row = ?", (int(favorite), row))
    if tags is not None:
        connection.execute("DELETE FROM asset_tags WHERE asset = ?", (row,))
        _add_tags(connection, row, tags, now_ms)
    connection.execute("UPDATE assets SET updated_at = ? WHERE row = ?", (now_ms, row))


def _change_assets(
    connection: sqlite3.Connection, owner: str, asset_ids: Sequence[str], change: AssetChange, now_ms: int
) -> list[str]:
    live = (
        "SELECT row, id FROM assets "
        "WHERE id IN (SELECT value FROM json_each(?)) AND owner = ? AND deleted_at IS NULL ORDER BY row"
    )
    assets = connection.execute(live, (json.dumps(list(asset_ids)), owner)).fetchall()
    removed = json.dumps([name.casefold() for name in change.remove_tags])
    for row, _ in assets:
        changed = "UPDATE assets SET favorite = coalesce(?, favorite), updated_at = ? WHERE row = ?"
        connection.execute(changed, (change.favorite, now_ms, row))
        if change.changes_tags:
            connection.execute(
                "DELETE FROM asset_tags WHERE asset = ? AND tag IN "
                "(SELECT row FROM tags WHERE owner = ? AND folded_name IN (SELECT value FROM json_each(?)))",
                (row, owner, removed),
            )
            _add_tags(connection, row, change.add_tags, now_ms)
    return [asset_id for _, asset_id in assets]


def _rename_tag(connection: sqlite3.Connection, owner: str, tag_id: str, name: str) -> Tag | None:
    by_id = "SELECT row, id FROM tags WHERE owner = ? AND id = ?"
    by_name = "SELECT row, id FROM tags WHERE owner = ? AND folded_name = ?"
    tag = connection.execute(by_id, (owner, tag_id)).fetchone()
    if tag is None:
        return None
    kept = connection.execute(by_name, (owner, name.casefold())).fetchone() or tag
    if kept["row"] != tag["row"]:
        moved = "INSERT OR IGNORE INTO asset_tags (asset, tag) SELECT asset, ? FROM asset_tags WHERE tag = ?"
        connection.execute(moved, (kept["row"], tag["row"]))
        connection.execute("DELETE FROM tags WHERE row = ?", (tag["row"],))
    renamed = "UPDATE tags SET name = ?, folded_name = ? WHERE row = ?"
    connection.execute(renamed, (name, name.casefold(), kept["row"]))
    for row in _list_tagged(connection, owner, kept["id"]):
        index_words(connection, row)
    return Tag(kept["id"], name)


def _list_tagged(connection: sqlite3.Connection, owner: str, tag_id: str) -> list[int]:
    """Return the rows of the assets with a tag, whose words change with it."""
    tagged = "SELECT at.asset FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE t.owner = ? AND t.id = ?"
    return [row for (row,) in connection.execute(tagged, (owner, tag_id)).fetchall()]


def _purge_asset(
    connection: sqlite3.Connection, owner: str, asset_id: str, deleted_before_ms: int | None
) -> str | None:
    remove = "DELETE FROM assets WHERE id = ? AND owner = ? AND (?3 IS NULL OR deleted_at < ?3) RETURNING row, checksum"
    removed = connection.execute(remove, (asset_id, owner, deleted_before_ms)).fetchall()
    for row, _ in removed:
        remove_words(connection, row)
    return removed[0]["checksum"] if removed else None


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
    index_words(connection, row)
    return added


def _get_live_row(connection: sqlite3.Connection, owner: str, asset_id: str) -> int | None:
    live = "SELECT row FROM assets WHERE id = ? AND owner = ? AND deleted_at IS NULL"
    found = connection.execute(live, (asset_id, owner)).fetchone()
    return found["row"] if found else None
