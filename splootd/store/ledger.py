"""The ledger: what each server has, or had, or has a part of. A content is known by its SHA-256."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from splootd.store.database import Database
from splootd.store.queries import SQL


@dataclass(frozen=True, slots=True)
class Content:
    """What a server knows the bytes by; whether they were ever searchable there, and since when they are gone.

    `seen_at` is when the server last said that it has them; None where that was not noted.
    """

    sha256: bytes
    asset_id: str
    ready: bool
    removed_at: float | None
    seen_at: float | None = None


class Ledger:
    """The contents of one server."""

    def __init__(self, database: Database, *, server_id: int) -> None:
        self._database = database
        self._server_id = server_id

    async def content(self, sha256: bytes) -> Content | None:
        values = {"server_id": self._server_id, "sha256": sha256}
        row = await self._database.read(lambda connection: connection.execute(SQL["content"], values).fetchone())
        return row and Content(row["sha256"], row["asset_id"], bool(row["ready"]), row["removed_at"], row["seen_at"])

    async def known(self, contents: Collection[bytes]) -> set[bytes]:
        """Those of these contents that the server has, or had."""

        def query(connection: sqlite3.Connection) -> set[bytes]:
            values = ({"server_id": self._server_id, "sha256": each} for each in contents)
            rows = (connection.execute(SQL["content"], each).fetchone() for each in values)
            return {row["sha256"] for row in rows if row}

        return await self._database.read(query)

    async def removed(self, content: str | bytes, *, now: float) -> None:
        """The server no longer has it; told by asset id or by SHA-256."""
        if isinstance(content, str):
            await self._write("asset_removed", asset_id=content, now=now)
        else:
            await self._write("content_removed", sha256=content, now=now)

    async def seen(self, sha256: bytes, *, now: float) -> None:
        """The server said that it has it."""
        await self._write("content_seen", sha256=sha256, now=now)

    async def forget(self, sha256: bytes) -> None:
        """As if the server had never had it: it may be sent again."""
        await self._write("forget_content", sha256=sha256)

    async def upload(self, sha256: bytes) -> str | None:
        """The path on the server where the upload of this content goes on, if one was begun."""
        values = {"server_id": self._server_id, "sha256": sha256}
        query = SQL["upload_of_content"]
        row = await self._database.read(lambda connection: connection.execute(query, values).fetchone())
        return row and str(row["path"])

    async def upload_begun(self, sha256: bytes, path: str, *, now: float) -> None:
        await self._write("begin_upload", sha256=sha256, path=path, now=now)

    async def upload_ended(self, sha256: bytes) -> None:
        """It is complete, or goes on no more."""
        await self._write("end_upload", sha256=sha256)

    async def _write(self, query: str, **values: Any) -> None:
        every = {"server_id": self._server_id, **values}
        await self._database.write(lambda connection: connection.execute(SQL[query], every).rowcount)


async def server_id(database: Database, url: str) -> int:
    """The number of the server at `url`, which it is given when it is met for the first time."""

    def op(connection: sqlite3.Connection) -> int:
        row = connection.execute(SQL["server_at_url"], {"url": url}).fetchone()
        rows = [row] if row else connection.execute(SQL["insert_server"], {"url": url}).fetchall()
        return int(rows[0]["id"])

    return await database.write(op)
