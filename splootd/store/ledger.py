"""The ledger: what each server has, had, or has a part of. A content is identified by its SHA-256."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from splootd.store.database import Database
from splootd.store.queries import SQL


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A content that a server has or had. `was_embedded` is true once it was searchable there.

    `removed_at` is the time at which its removal was noticed; `last_seen_at` that of the server's last report.
    """

    sha256: bytes
    asset_id: str
    was_embedded: bool
    removed_at: float | None
    last_seen_at: float | None = None


class Ledger:
    """The contents of one server. Times are seconds since the epoch."""

    def __init__(self, database: Database, *, server_id: int) -> None:
        self._database = database
        self._server_id = server_id

    async def get(self, sha256: bytes) -> LedgerEntry | None:
        return (await self.find([sha256])).get(sha256)

    async def find(self, contents: Collection[bytes]) -> dict[bytes, LedgerEntry]:
        """Return the entries of those contents that the server has or had."""

        def query(connection: sqlite3.Connection) -> dict[bytes, LedgerEntry]:
            values = ({"server_id": self._server_id, "sha256": each} for each in contents)
            rows = (connection.execute(SQL["content"], each).fetchone() for each in values)
            return {row["sha256"]: _entry_from_row(row) for row in rows if row}

        return await self._database.read(query)

    async def mark_removed(self, content: str | bytes, *, now: float) -> None:
        """Record that the server no longer has a content, given as asset id or as SHA-256."""
        if isinstance(content, str):
            await self._write("mark_asset_removed", asset_id=content, now=now)
        else:
            await self._write("mark_content_removed", sha256=content, now=now)

    async def mark_seen(self, sha256: bytes, *, now: float) -> None:
        """Record that the server reported a content."""
        await self._write("mark_content_seen", sha256=sha256, now=now)

    async def forget(self, sha256: bytes) -> None:
        """Delete the entry of a content, so that it can be uploaded again."""
        await self._write("delete_content", sha256=sha256)

    async def get_upload_path(self, sha256: bytes) -> str | None:
        """Return the path on the server at which the upload of this content resumes, if one was started."""
        values = {"server_id": self._server_id, "sha256": sha256}
        query = SQL["upload_location"]
        row = await self._database.read(lambda connection: connection.execute(query, values).fetchone())
        return row and str(row["location"])

    async def start_upload(self, sha256: bytes, path: str, *, now: float) -> None:
        """Record the path of a resumable upload."""
        await self._write("start_upload", sha256=sha256, location=path, now=now)

    async def end_upload(self, sha256: bytes) -> None:
        """Delete a resumable upload that is complete or cannot resume."""
        await self._write("delete_upload", sha256=sha256)

    async def _write(self, query: str, **values: Any) -> None:
        params = {"server_id": self._server_id, **values}
        await self._database.write(lambda connection: connection.execute(SQL[query], params).rowcount)


def _entry_from_row(row: sqlite3.Row) -> LedgerEntry:
    return LedgerEntry(
        row["sha256"], row["asset_id"], bool(row["was_embedded"]), row["removed_at"], row["last_seen_at"]
    )
