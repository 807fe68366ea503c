"""Embedding jobs in PostgreSQL, processed by any number of workers.

A worker holds the advisory lock of its worker number in a session of its own, and marks the jobs it claims with that
number. PostgreSQL releases the lock when the session ends, for whatever reason, so a free lock proves that the worker
is dead: its jobs are requeued without a timeout, which could expire while a slow worker still runs. Every claim
increments the job's claim number; writes with an older number have no effect (fencing).
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.storage.interfaces import Job
from sploot_server.storage.postgres.database import WORKER_LOCK, PostgresDatabase, Session
from sploot_server.storage.postgres.search_index import create_image_index, index_analysis, index_words

RESCUE_INTERVAL_S = 5.0  # between checks for jobs of dead workers
# pg_locks shows a lock of two keys as classid and objid with objsubid = 2, for all databases of the cluster.
LIVE_WORKERS = """
    SELECT objid::bigint AS worker FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
RELEASE_ORPHANED = f"""
    UPDATE embeddings SET state = 'pending', due_at = $2 WHERE state = 'processing' AND worker NOT IN ({LIVE_WORKERS})
    RETURNING asset
"""  # noqa: S608 - a constant
# SKIP LOCKED: without it, concurrent workers all wait for the row at the head of the queue, and then find it claimed.
CLAIM_JOBS = """
    UPDATE embeddings SET state = 'processing', worker = $3, claim_number = claim_number + 1
    FROM assets WHERE row = asset AND asset IN (
      SELECT asset FROM embeddings WHERE state = 'pending' AND due_at <= $1
      ORDER BY urgent DESC, due_at, asset LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING asset, id, checksum, filename, mime, attempts, claim_number, urgent, due_at
"""
SELECT_CLAIMED = """
    SELECT e.asset, a.owner FROM embeddings e JOIN assets a ON a.row = e.asset
    WHERE e.asset = $1 AND e.claim_number = $2 AND e.state = 'processing' FOR UPDATE OF e
"""

logger = structlog.get_logger()


class PostgresJobs:
    """JobStore on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._session: Session | None = None
        self._worker_number = 0
        self._session_lock = asyncio.Lock()

    async def release_stale(self, model: EmbeddingModel, *, now_ms: int) -> int:
        worker_number = await self._ensure_session()
        await create_image_index(self._database, model)
        async with self._database.transaction() as transaction:
            own_rows = await transaction.fetch(
                "UPDATE embeddings SET state = 'pending', due_at = $1 "
                "WHERE state = 'processing' AND worker = $2 RETURNING asset",
                *(now_ms, worker_number),
            )
            outdated_rows = await transaction.fetch(
                "UPDATE embeddings SET state = 'pending', due_at = $1, dim = 0 "
                "WHERE state = 'ready' AND model <> $2 RETURNING asset",
                *(now_ms, model.name),
            )
            await transaction.fetch(
                "DELETE FROM vectors WHERE asset = ANY($1::bigint[])", [row["asset"] for row in outdated_rows]
            )
        return len(own_rows) + len(outdated_rows) + await self._release_orphaned(now_ms)

    async def claim(self, limit: int, *, now_ms: int) -> Sequence[Job]:
        rows = await self._database.fetch(CLAIM_JOBS, now_ms, limit, await self._ensure_session())
        rows.sort(key=lambda row: (not row["urgent"], row["due_at"], row["asset"]))  # RETURNING has no order
        fields = ("asset", "id", "checksum", "filename", "mime", "attempts", "claim_number")
        return [Job(*(row[field] for field in fields)) for row in rows]

    async def complete(self, job: Job, analysis: ImageAnalysis, model: EmbeddingModel, *, now_ms: int) -> None:
        async with self._database.transaction() as transaction:
            # Before the embedding, as in every transaction that changes the names of an asset: they would deadlock.
            await transaction.fetch("SELECT 1 FROM assets WHERE row = $1 FOR UPDATE", job.row)
            # No row: the claim was released meanwhile, or the asset was purged.
            for row, owner in await transaction.fetch(SELECT_CLAIMED, job.row, job.claim_number):
                await index_analysis(transaction, row, owner, analysis)
                await transaction.fetch(
                    "UPDATE assets SET width = $2, height = $3 WHERE row = $1", row, analysis.width, analysis.height
                )
                await transaction.fetch("UPDATE embeddings SET text = $2 WHERE asset = $1", row, analysis.text)
                await index_words(transaction, row)
                # Last: the trigger locks the row of completion_sequence, so from here completions run one by one.
                await transaction.fetch(
                    "UPDATE embeddings SET state = 'ready', error_message = NULL, model = $2, dim = $3, "
                    "completed_at = $4 WHERE asset = $1",
                    *(row, model.name, model.dim, now_ms),
                )

    async def fail(self, job: Job, error_message: str, *, now_ms: int) -> None:
        await self._database.fetch(
            "UPDATE embeddings SET state = 'failed', error_message = $3, attempts = attempts + 1, completed_at = $4 "
            "WHERE asset = $1 AND claim_number = $2 AND state = 'processing'",
            *(job.row, job.claim_number, error_message, now_ms),
        )

    async def reschedule(self, job: Job, *, due_ms: int) -> None:
        await self._database.fetch(
            "UPDATE embeddings SET state = 'pending', due_at = $3, attempts = attempts + 1 "
            "WHERE asset = $1 AND claim_number = $2 AND state = 'processing'",
            *(job.row, job.claim_number, due_ms),
        )

    async def next_due_ms(self) -> int | None:
        [next_one] = await self._database.fetch("SELECT min(due_at) AS due FROM embeddings WHERE state = 'pending'")
        due: int | None = next_one["due"]
        return due

    async def requeue(self, asset_id: str, *, now_ms: int) -> bool:
        changed = await self._database.fetch(
            "UPDATE embeddings SET urgent = true, due_at = $2, attempts = 0, error_message = NULL, "
            "state = CASE state WHEN 'failed' THEN 'pending' ELSE state END WHERE state <> 'ready' "
            "AND asset = (SELECT row FROM assets WHERE id = $1 AND deleted_at IS NULL) "
            # The trigger notifies only when the state changes; a delayed pending job must wake the workers, too.
            "RETURNING pg_notify('sploot_job_added', '')",
            *(asset_id, now_ms),
        )
        return bool(changed)

    async def count_by_state(self) -> dict[str, int]:
        rows = await self._database.fetch("SELECT state, count(*) AS count FROM embeddings GROUP BY state")
        return {row["state"]: row["count"] for row in rows}

    async def count_workers(self) -> int:
        return len(await self._database.fetch(LIVE_WORKERS, WORKER_LOCK))

    async def run_rescuer(self, on_released: Callable[[], None], now_ms: Callable[[], int]) -> None:
        """Requeue the jobs of dead workers until cancelled; call `on_released` whenever there were any."""
        while True:
            await asyncio.sleep(RESCUE_INTERVAL_S)
            try:
                if await self._release_orphaned(now_ms()):
                    on_released()
            except BackendUnavailable as error:
                logger.warning("stale-job recovery failed", error=str(error))

    def close(self) -> None:
        """End the session; the other workers requeue the jobs that are still claimed."""
        if self._session is not None:
            self._session.close()

    async def _release_orphaned(self, now_ms: int) -> int:
        count = len(await self._database.fetch(RELEASE_ORPHANED, WORKER_LOCK, now_ms))
        if count:
            logger.warning("requeued jobs of dead workers", embeddings=count)
        return count

    async def _ensure_session(self) -> int:
        """Return the worker number whose lock this process holds; open a session if there is none."""
        async with self._session_lock:
            if self._session is None or self._session.is_closed:
                session = await self._database.open_session()
                [sequence] = await session.fetch("SELECT nextval('worker_numbers')::integer AS number")
                await session.fetch("SELECT pg_advisory_lock($1, $2)", WORKER_LOCK, sequence["number"])
                self._session, self._worker_number = session, sequence["number"]
            return self._worker_number
