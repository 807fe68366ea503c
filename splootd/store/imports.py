"""Imports: the paths that one command named, and which of them still have to be scanned."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.core.item import FoundFile, Priority, Version
from splootd.core.post_upload_action import PostUploadAction
from splootd.errors import RequestError
from splootd.store.enqueue import ENQUEUE_BATCH_MAX, EnqueueStore
from splootd.store.queries import SQL
from splootd.store.rows import parse_after_upload, parse_tags
from splootd.store.upsert import EnqueueResult, Source, Upsert


@dataclass(frozen=True, slots=True)
class ImportRoot:
    """A path of an import that still has to be scanned."""

    id: int
    import_id: int
    path: bytes
    folder_id: int | None


class ImportStore(EnqueueStore):
    """The imports of one server. Times are seconds since the epoch."""

    async def start_import(
        self,
        key: str,
        *,
        import_id: int | None = None,
        priority: Priority,
        tags: Sequence[str],
        force: bool,
        after_upload: PostUploadAction | None = None,
        paths: Sequence[bytes],
        now: float,
        files: Sequence[FoundFile] = (),
        is_still_there: Callable[[bytes, Version], bool] = lambda path, version: True,
    ) -> tuple[int, list[EnqueueResult]]:
        """Record the paths of a command for scanning, and return the id of its import.

        At most ENQUEUE_BATCH_MAX `files` are enqueued in the same transaction, as by `enqueue`. A repeated `key`
        returns the same import and adds no path twice. `import_id` continues an earlier import, whose options apply;
        raises RequestError if it does not exist. The items of a path that is a watched folder belong to that folder.
        """
        if len(files) > ENQUEUE_BATCH_MAX:
            raise ValueError(f"{len(files)} files in one import; at most {ENQUEUE_BATCH_MAX} are allowed")

        def op(connection: sqlite3.Connection) -> tuple[int, list[EnqueueResult]]:
            if import_id is None:
                rows = (
                    connection.execute(SQL["import_by_key"], values).fetchall()
                    or connection.execute(SQL["insert_import"], values).fetchall()
                )
            else:
                rows = connection.execute(SQL["import_by_id"], values).fetchall()
            source = _source_from_rows(rows, import_id, None)
            roots = [{"import_id": source.import_id, "path": path} for path in paths]
            connection.executemany(SQL["insert_import_root"], roots)
            upsert = Upsert(connection, source, server_id=self._server_id, is_still_there=is_still_there, now=now)
            return int(rows[0]["id"]), upsert.apply_all(files)

        values = {
            "server_id": self._server_id,
            "id": import_id,
            "idempotency_key": key,
            "priority": priority,
            "tags": json.dumps(list(tags)),
            "force": force,
            "after_upload": after_upload and after_upload.serialized,
            "now": now,
        }
        new_import_id, results = await self._write_files(op, len(files))
        self._wake_for(results)
        return new_import_id, results

    async def unfinished_roots(self) -> list[ImportRoot]:
        """Return the paths that still have to be scanned, the oldest first."""
        return [ImportRoot(*row) for row in await self._read("unfinished_roots")]

    async def finish_root(self, root_id: int, *, now: float) -> None:
        """Record that a path is scanned and all of its files are enqueued."""
        values = {"id": root_id, "now": now}
        await self._database.write(lambda connection: connection.execute(SQL["finish_root"], values).rowcount)
        self._wake_signals.events.notify()

    async def get_source(self, import_id: int, folder_id: int | None) -> Source:
        """Return the options of an import. Raises RequestError if it does not exist."""
        return _source_from_rows(await self._read("import_by_id", id=import_id), import_id, folder_id)

    async def _read(self, query: str, **values: Any) -> list[sqlite3.Row]:
        params = {"server_id": self._server_id, **values}
        return await self._database.read(lambda connection: connection.execute(SQL[query], params).fetchall())


def _source_from_rows(rows: Sequence[sqlite3.Row], import_id: int | None, folder_id: int | None) -> Source:
    if not rows:
        raise RequestError("no_such_import", f"Import {import_id} does not exist or has expired.", status=404)
    found_id, priority, tags, force, after_upload = rows[0]
    return Source(
        found_id, folder_id, Priority(priority), parse_tags(tags), bool(force), parse_after_upload(after_upload)
    )
