"""The embedding jobs in SQLite."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from sploot_server.assets import Job
from sploot_server.assets.database import Database
from sploot_server.embedding import Model, Reading
from sploot_server.looks import alike, bands, distance
from sploot_server.words import squeeze, trigrams

LOOKED_AT_MAX = 64


class SqliteJobs:
    """JobStore on one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def release(self, model: Model, *, now_ms: int) -> int:
        def run(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "UPDATE embeddings SET state = 'pending', due_at = ?, completed_at = NULL, ready_order = NULL, dim = 0 "
                "WHERE state = 'processing' OR (state = 'ready' AND model <> ?)",
                (now_ms, model.name),
            ).rowcount

        return await self._database.write(run)

    async def claim(self, limit: int, *, now_ms: int) -> Sequence[Job]:
        def run(connection: sqlite3.Connection) -> Sequence[Job]:
            rows = connection.execute(
                "SELECT e.asset, a.id, a.checksum, a.filename, a.mime, e.attempts "
                "FROM embeddings e JOIN assets a ON a.row = e.asset "
                "WHERE e.state = 'pending' AND e.due_at <= ? ORDER BY e.urgent DESC, e.due_at LIMIT ?",
                (now_ms, limit),
            ).fetchall()
            jobs = [Job(*row) for row in rows]
            connection.executemany(
                "UPDATE embeddings SET state = 'processing' WHERE asset = ?", [(job.row,) for job in jobs]
            )
            return jobs

        return await self._database.write(run)

    async def complete(self, job: Job, reading: Reading, model: Model, *, now_ms: int) -> None:
        await self._database.write(lambda connection: _complete(connection, job, reading, model, now_ms))

    async def fail(self, job: Job, error: str, *, now_ms: int) -> None:
        def run(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE embeddings SET state = 'failed', error = ?, attempts = attempts + 1, "
                "completed_at = ?, urgent = 0 WHERE asset = ? AND state = 'processing'",
                (error, now_ms, job.row),
            )

        await self._database.write(run)

    async def put_back(self, job: Job, *, due_ms: int) -> None:
        def run(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE embeddings SET state = 'pending', due_at = ?, attempts = attempts + 1 "
                "WHERE asset = ? AND state = 'processing'",
                (due_ms, job.row),
            )

        await self._database.write(run)

    async def next_due_ms(self) -> int | None:
        def run(connection: sqlite3.Connection) -> int | None:
            due: int | None = connection.execute(
                "SELECT min(due_at) FROM embeddings WHERE state = 'pending'"
            ).fetchone()[0]
            return due

        return await self._database.read(run)

    async def counts(self) -> Mapping[str, int]:
        def run(connection: sqlite3.Connection) -> Mapping[str, int]:
            return dict(connection.execute("SELECT state, count(*) FROM embeddings GROUP BY state").fetchall())

        return await self._database.read(run)

    async def retry(self, asset_id: str, *, now_ms: int) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(
                "UPDATE embeddings SET urgent = 1, due_at = ?, attempts = 0, error = NULL, completed_at = NULL, "
                "state = iif(state = 'failed', 'pending', state) WHERE state <> 'ready' "
                "AND asset = (SELECT row FROM assets WHERE id = ? AND deleted_at IS NULL)",
                (now_ms, asset_id),
            )
            return changed.rowcount > 0

        return await self._database.write(run)


def _complete(connection: sqlite3.Connection, job: Job, reading: Reading, model: Model, now_ms: int) -> None:
    changed = connection.execute(
        "UPDATE embeddings SET state = 'ready', urgent = 0, error = NULL, model = ?, dim = ?, text = ?, vector = ?, "
        "picture = ?, completed_at = ?, ready_order = (SELECT coalesce(max(ready_order), 0) + 1 FROM embeddings) "
        "WHERE asset = ? AND state = 'processing'",
        (model.name, model.dim, reading.text, reading.vector, reading.picture, now_ms, job.row),
    )
    if changed.rowcount == 0:  # removed for ever in the meantime
        return
    connection.execute(
        "UPDATE assets SET width = ?, height = ? WHERE row = ?", (reading.width, reading.height, job.row)
    )
    _put_text(connection, job.row, squeeze(reading.text))
    connection.execute("DELETE FROM looks WHERE asset = ?", (job.row,))
    if reading.look is not None:
        _put_look(connection, job.row, reading.look, reading.text)


def _put_text(connection: sqlite3.Connection, row: int, squeezed: str) -> None:
    """Let searches find a text by its trigrams, and no more what was read before."""
    for (before,) in connection.execute("SELECT squeezed FROM texts WHERE rowid = ?", (row,)).fetchall():
        connection.execute("DELETE FROM texts WHERE rowid = ?", (row,))
        connection.executemany(
            "UPDATE trigrams SET texts = texts - 1 WHERE trigram = ?", [(each,) for each in trigrams([before])]
        )
    if squeezed:
        connection.execute("INSERT INTO texts (rowid, squeezed) VALUES (?, ?)", (row, squeezed))
        connection.executemany(
            "INSERT INTO trigrams (trigram, texts) VALUES (?, 1) ON CONFLICT DO UPDATE SET texts = texts + 1",
            [(each,) for each in trigrams([squeezed])],
        )


def _put_look(connection: sqlite3.Connection, row: int, look: bytes, text: str) -> None:
    """Put a picture among its near-duplicates. Those who share most bands with it are looked at closely."""
    shared = json.dumps(bands(look))
    similar = connection.execute(
        "SELECT l.kin, l.look, e.text FROM look_bands b JOIN assets a ON a.row = b.asset "
        "JOIN looks l ON l.asset = b.asset JOIN embeddings e ON e.asset = b.asset "
        "WHERE b.band IN (SELECT value FROM json_each(?)) AND a.owner = (SELECT owner FROM assets WHERE row = ?) "
        "GROUP BY b.asset ORDER BY count(*) DESC LIMIT ?",
        (shared, row, LOOKED_AT_MAX),
    ).fetchall()
    same = [other for other in similar if alike(look, text, other["look"], other["text"] or "")]
    nearest = min(same, key=lambda other: distance(look, other["look"]), default=None)
    kin = row if nearest is None else nearest["kin"]
    connection.execute("INSERT INTO looks (asset, look, kin) VALUES (?, ?, ?)", (row, look, kin))
    connection.execute("INSERT INTO look_bands (band, asset) SELECT value, ? FROM json_each(?)", (row, shared))
