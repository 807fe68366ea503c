"""The watched folders."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from splootd.core.item import Priority
from splootd.core.post_upload_action import PostUploadAction
from splootd.store.database import Database
from splootd.store.queries import SQL
from splootd.store.rows import float_or_none, parse_after_upload, parse_tags, to_signed, to_unsigned

DETACH_BATCH_MAX = 1_000  # items detached from a folder in one transaction


@dataclass(frozen=True, slots=True)
class Folder:
    """A watched folder. `items` counts the items found in it for the present server, whatever their state."""

    id: int
    path: bytes
    device: int
    inode: int
    priority: Priority
    tags: tuple[str, ...]
    added_at: float
    scanned_at: float | None
    last_new_at: float | None
    items: int
    after_upload: PostUploadAction | None = None


class FolderStore:
    """Stores the watched folders and when each was scanned. Times are seconds since the epoch."""

    def __init__(self, database: Database, *, server_id: int) -> None:
        self._database = database
        self._server_id = server_id

    async def watch(
        self,
        path: bytes,
        *,
        device: int,
        inode: int,
        priority: Priority,
        tags: Sequence[str],
        after_upload: PostUploadAction | None = None,
        now: float,
    ) -> Folder:
        """Watch a folder, or change the options of a watched one."""
        values = {
            "server_id": self._server_id,
            "path": path,
            "device": to_signed(device),
            "inode": to_signed(inode),
            "priority": priority,
            "tags": json.dumps(list(tags)),
            "after_upload": after_upload and after_upload.serialized,
            "now": now,
        }
        rows = await self._database.write(
            lambda connection: connection.execute(SQL["upsert_folder"], values).fetchall()
        )
        return _folder_from_row(rows[0])

    async def unwatch(self, path: bytes) -> bool:
        """Stop watching a folder and keep its items. Returns False if it was not watched."""
        folders = await self._read("folder_at_path", path=path)
        if not folders:
            return False
        values = {"folder_id": folders[0]["id"], "limit": DETACH_BATCH_MAX}

        def op(connection: sqlite3.Connection) -> bool:
            detached = connection.execute(SQL["detach_items"], values).fetchall()
            if len(detached) < DETACH_BATCH_MAX:
                connection.execute(SQL["delete_folder"], values)
            return len(detached) < DETACH_BATCH_MAX

        while not await self._database.write(op, bulk=True):
            pass
        return True

    async def folders(self) -> list[Folder]:
        """Return all watched folders, sorted by path."""
        return [_folder_from_row(row) for row in await self._read("folders", server_id=self._server_id)]

    async def mark_scanned(self, folder_id: int, *, now: float) -> None:
        """Record the end of a full scan of a folder."""
        values = {"id": folder_id, "now": now}
        await self._database.write(lambda connection: connection.execute(SQL["mark_scanned"], values).rowcount)

    async def cache_epoch(self) -> int:
        """Return the number that invalidates the scan cache.

        While it stays the same, a file that was up to date in an earlier scan and has not changed is still up to date.
        """
        return int((await self._read("cache_epoch"))[0][0])

    async def _read(self, query: str, **values: Any) -> list[sqlite3.Row]:
        return await self._database.read(lambda connection: connection.execute(SQL[query], values).fetchall())


def _folder_from_row(row: sqlite3.Row) -> Folder:
    return Folder(
        id=row["id"],
        path=row["path"],
        device=to_unsigned(row["device"]),
        inode=to_unsigned(row["inode"]),
        priority=Priority(row["priority"]),
        tags=parse_tags(row["tags"]),
        added_at=float(row["added_at"]),
        scanned_at=float_or_none(row["scanned_at"]),
        last_new_at=float_or_none(row["last_new_at"]),
        items=row["items"],
        after_upload=parse_after_upload(row["after_upload"]),
    )
