"""Embedding jobs in SQLite."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis
from sploot_server.domain.near_duplicates import WORDS_BAND, Look, bands, choose_near_duplicate
from sploot_server.storage.interfaces import Job
from sploot_server.storage.sqlite.database import Database
from sploot_server.storage.sqlite.word_index import index_words

CANDIDATES_MAX = 64  # images that a new image is compared with


class SqliteJobs:
    """JobStore on one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def release_stale(self, model: EmbeddingModel, *, now_ms: int) -> int:
        released = await self._database.execute(
            "UPDATE embeddings SET state = 'pending', due_at = $1, completed_at = NULL, ready_seq = NULL, dim = 0 "
            "WHERE state = 'processing' OR (state = 'ready' AND model <> $2) RETURNING asset",
            values=(now_ms, model.name),
        )
        return len(released)

    async def claim(self, limit: int, *, now_ms: int) -> Sequence[Job]:
        def run(connection: sqlite3.Connection) -> Sequence[Job]:
            # Not UPDATE ... RETURNING: SQLite returns those rows in no particular order, and urgent jobs must be first.
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

    async def complete(self, job: Job, analysis: ImageAnalysis, model: EmbeddingModel, *, now_ms: int) -> None:
        await self._database.write(lambda connection: _complete(connection, job, analysis, model, now_ms))

    async def fail(self, job: Job, error_message: str, *, now_ms: int) -> None:
        await self._database.execute(
            "UPDATE embeddings SET state = 'failed', error_message = $1, attempts = attempts + 1, "
            "completed_at = $2, urgent = 0 WHERE asset = $3 AND state = 'processing'",
            values=(error_message, now_ms, job.row),
        )

    async def reschedule(self, job: Job, *, due_ms: int) -> None:
        await self._database.execute(
            "UPDATE embeddings SET state = 'pending', due_at = $1, attempts = attempts + 1 "
            "WHERE asset = $2 AND state = 'processing'",
            values=(due_ms, job.row),
        )

    async def next_due_ms(self) -> int | None:
        [row] = await self._database.fetch("SELECT min(due_at) AS due FROM embeddings WHERE state = 'pending'")
        due: int | None = row["due"]
        return due

    async def count_by_state(self) -> Mapping[str, int]:
        rows = await self._database.fetch("SELECT state, count(*) AS count FROM embeddings GROUP BY state")
        return {row["state"]: row["count"] for row in rows}

    async def count_workers(self) -> int:
        return 1  # the server itself: one process opens the file

    async def requeue(self, asset_id: str, *, now_ms: int) -> bool:
        changed = await self._database.execute(
            "UPDATE embeddings SET urgent = 1, due_at = $1, attempts = 0, error_message = NULL, "
            "completed_at = NULL, state = iif(state = 'failed', 'pending', state) WHERE state <> 'ready' "
            "AND asset = (SELECT row FROM assets WHERE id = $2 AND deleted_at IS NULL) RETURNING asset",
            values=(now_ms, asset_id),
        )
        return bool(changed)


def _complete(
    connection: sqlite3.Connection, job: Job, analysis: ImageAnalysis, model: EmbeddingModel, now_ms: int
) -> None:
    changed = connection.execute(
        "UPDATE embeddings SET state = 'ready', urgent = 0, error_message = NULL, model = ?, dim = ?, text = ?, "
        "text_vector = ?, image_vector = ?, hubness = ?, completed_at = ?, "
        "ready_seq = (SELECT coalesce(max(ready_seq), 0) + 1 FROM embeddings) "
        "WHERE asset = ? AND state = 'processing'",
        (
            *(model.name, model.dim, analysis.text, analysis.text_vector, analysis.image_vector, analysis.hubness),
            *(now_ms, job.row),
        ),
    )
    if changed.rowcount == 0:  # the asset was purged meanwhile
        return
    connection.execute(
        "UPDATE assets SET width = ?, height = ? WHERE row = ?", (analysis.width, analysis.height, job.row)
    )
    index_words(connection, job.row)
    connection.execute(
        "INSERT OR REPLACE INTO image_features (asset, owner, features) "
        "SELECT row, owner, ? FROM assets WHERE row = ? AND ? <> x''",
        (analysis.features, job.row, analysis.features),
    )
    connection.execute("DELETE FROM image_hashes WHERE asset = ?", (job.row,))
    if analysis.look is not None:
        _index_look(connection, job.row, analysis.look, analysis.features)


def _index_look(connection: sqlite3.Connection, row: int, look: Look, features: bytes) -> None:
    """Assign an image to its duplicate group; only the images that share most bands with it are compared."""
    bands_json = json.dumps(bands(look))
    candidates = connection.execute(
        "SELECT h.asset, h.duplicate_group, h.dhash, h.colours, h.aspect_ratio, e.text "
        "FROM dhash_bands b JOIN assets a ON a.row = b.asset "
        "JOIN image_hashes h ON h.asset = b.asset JOIN embeddings e ON e.asset = b.asset "
        "WHERE b.band IN (SELECT value FROM json_each(?)) AND a.owner = (SELECT owner FROM assets WHERE row = ?) "
        "GROUP BY b.asset ORDER BY max(b.band) >= ? DESC, count(*) DESC LIMIT ?",
        (bands_json, row, WORDS_BAND, CANDIDATES_MAX),
    ).fetchall()
    nearest, doubtful = choose_near_duplicate(look, candidates)
    if doubtful:
        from sploot_server.inference.template_index import show_same_picture  # noqa: PLC0415 - numpy, which few images need

        stored = dict(
            connection.execute(
                "SELECT asset, features FROM image_features WHERE asset IN (SELECT value FROM json_each(?))",
                (json.dumps([other["asset"] for other in doubtful]),),
            ).fetchall()
        )
        nearest = next((each for each in doubtful if show_same_picture(features, stored.get(each["asset"], b""))), None)
    connection.execute(
        "INSERT INTO image_hashes (asset, dhash, colours, aspect_ratio, duplicate_group) VALUES (?, ?, ?, ?, ?)",
        (row, look.dhash, look.colours, look.aspect_ratio, row if nearest is None else nearest["duplicate_group"]),
    )
    connection.execute("INSERT INTO dhash_bands (band, asset) SELECT value, ? FROM json_each(?)", (row, bands_json))
