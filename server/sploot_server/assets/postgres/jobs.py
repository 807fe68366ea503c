"""The embedding jobs in PostgreSQL, worked on by any number of processes.

A worker holds a session of its own and, in it, the advisory lock of its number; what it takes in hand is marked with
that number. The lock ends with the session, however that ends, so whose lock is free is dead, and what he had in hand
waits again: proof, no timeout. Every claim counts up, and who comes with an older count changes nothing.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from sploot_server.assets import Job
from sploot_server.assets.postgres.database import WORKER_LOCK, PostgresDatabase, Session
from sploot_server.assets.postgres.index import index, prepare
from sploot_server.embedding import Model, Reading
from sploot_server.model import Unreachable

LOOK_S = 5.0  # how often the living look after the work of the dead
RELEASE_DEAD = """
    UPDATE embeddings SET state = 'pending', due_at = $1 WHERE state = 'processing' AND worker NOT IN (
      SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = $2 AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    RETURNING asset
"""
CLAIM = """
    UPDATE embeddings SET state = 'processing', worker = $3, claims = claims + 1
    FROM assets WHERE row = asset AND asset IN (
      SELECT asset FROM embeddings WHERE state = 'pending' AND due_at <= $1
      ORDER BY urgent DESC, due_at, asset LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING asset, id, checksum, filename, mime, attempts, claims, urgent, due_at
"""
IN_HAND = """
    SELECT e.asset, a.owner FROM embeddings e JOIN assets a ON a.row = e.asset
    WHERE e.asset = $1 AND e.claims = $2 AND e.state = 'processing' FOR UPDATE OF e
"""

logger = structlog.get_logger()


class PostgresJobs:
    """JobStore on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._session: Session | None = None
        self._number = 0
        self._opening = asyncio.Lock()

    async def release(self, model: Model, *, now_ms: int) -> int:
        number = await self._present()
        await prepare(self._database, model)
        async with self._database.transaction() as statements:
            mine = await statements.fetch(
                "UPDATE embeddings SET state = 'pending', due_at = $1 "
                "WHERE state = 'processing' AND worker = $2 RETURNING asset",
                *(now_ms, number),
            )
            others = await statements.fetch(
                "UPDATE embeddings SET state = 'pending', due_at = $1, dim = 0 "
                "WHERE state = 'ready' AND model <> $2 RETURNING asset",
                *(now_ms, model.name),
            )
            await statements.fetch(
                "DELETE FROM vectors WHERE asset = ANY($1::bigint[])", [row["asset"] for row in others]
            )
        return len(mine) + len(others) + await self._release_dead(now_ms)

    async def claim(self, limit: int, *, now_ms: int) -> Sequence[Job]:
        rows = await self._database.fetch(CLAIM, now_ms, limit, await self._present())
        rows.sort(key=lambda row: (not row["urgent"], row["due_at"], row["asset"]))
        fields = ("asset", "id", "checksum", "filename", "mime", "attempts", "claims")
        return [Job(*(row[field] for field in fields)) for row in rows]

    async def complete(self, job: Job, reading: Reading, model: Model, *, now_ms: int) -> None:
        async with self._database.transaction() as statements:
            for row, owner in await statements.fetch(
                IN_HAND, job.row, job.claim
            ):  # none, if it was taken away meanwhile
                await index(statements, row, owner, reading)
                await statements.fetch(
                    "UPDATE assets SET width = $2, height = $3 WHERE row = $1", row, reading.width, reading.height
                )
                # Last, since all who complete wait for each other from here on: see `series` in the schema.
                await statements.fetch(
                    "UPDATE embeddings SET state = 'ready', error = NULL, model = $2, dim = $3, text = $4, "
                    "completed_at = $5 WHERE asset = $1",
                    *(row, model.name, model.dim, reading.text, now_ms),
                )

    async def fail(self, job: Job, error: str, *, now_ms: int) -> None:
        await self._database.fetch(
            "UPDATE embeddings SET state = 'failed', error = $3, attempts = attempts + 1, completed_at = $4 "
            "WHERE asset = $1 AND claims = $2 AND state = 'processing'",
            *(job.row, job.claim, error, now_ms),
        )

    async def put_back(self, job: Job, *, due_ms: int) -> None:
        await self._database.fetch(
            "UPDATE embeddings SET state = 'pending', due_at = $3, attempts = attempts + 1 "
            "WHERE asset = $1 AND claims = $2 AND state = 'processing'",
            *(job.row, job.claim, due_ms),
        )

    async def next_due_ms(self) -> int | None:
        [next_one] = await self._database.fetch("SELECT min(due_at) AS due FROM embeddings WHERE state = 'pending'")
        due: int | None = next_one["due"]
        return due

    async def retry(self, asset_id: str, *, now_ms: int) -> bool:
        changed = await self._database.fetch(
            "UPDATE embeddings SET urgent = true, due_at = $2, attempts = 0, error = NULL, "
            "state = CASE state WHEN 'failed' THEN 'pending' ELSE state END WHERE state <> 'ready' "
            "AND asset = (SELECT row FROM assets WHERE id = $1 AND deleted_at IS NULL) "
            "RETURNING pg_notify('sploot_work', '')",
            *(asset_id, now_ms),
        )
        return bool(changed)

    async def counts(self) -> dict[str, int]:
        """How many embeddings are in each state."""
        rows = await self._database.fetch("SELECT state, count(*) AS count FROM embeddings GROUP BY state")
        return {row["state"]: row["count"] for row in rows}

    async def look_after(self, found: Callable[[], None], now_ms: Callable[[], int]) -> None:
        """Until cancelled, let wait again what the dead had in hand; `found` is called when there was something."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if await self._release_dead(now_ms()):
                    found()
            except Unreachable as error:
                logger.warning("nobody looks after the work of the dead", reason=str(error))

    def close(self) -> None:
        """What is still in hand waits again."""
        if self._session is not None:
            self._session.close()

    async def _release_dead(self, now_ms: int) -> int:
        count = len(await self._database.fetch(RELEASE_DEAD, now_ms, WORKER_LOCK))
        if count:
            logger.warning("work of the dead waits again", embeddings=count)
        return count

    async def _present(self) -> int:
        """The number under which this process is known to be alive."""
        async with self._opening:
            if self._session is None or self._session.ended:
                session = await self._database.session()
                [fresh] = await session.fetch("SELECT nextval('workers')::integer AS number")
                await session.fetch("SELECT pg_advisory_lock($1, $2)", WORKER_LOCK, fresh["number"])
                self._session, self._number = session, fresh["number"]
            return self._number
