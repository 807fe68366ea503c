"""Event relay through PostgreSQL LISTEN/NOTIFY.

The trigger `on_embedding_state_change` notifies completions and new jobs in the transaction that stores them: a process
that crashes after COMMIT has already notified the others, and a rollback notifies nothing.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable

from sploot_server.domain.entities import BackendUnavailable
from sploot_server.pubsub.broker import Event, EventKind
from sploot_server.storage.postgres.database import PostgresDatabase, Session

PING_INTERVAL_S = 15.0  # a broken TCP connection stays silent, so the relay has to query to detect it


class PostgresRelayConnection:
    """Relay connection that ignores its own events, which PostgreSQL also delivers to their sender."""

    def __init__(self, session: Session, deliver: Callable[[Event], None]) -> None:
        self._session = session
        self._deliver = deliver
        self._sender_id = secrets.token_hex(8)
        self._closed = asyncio.Event()

    async def open(self) -> None:
        """Start to listen on the channels. Raise BackendUnavailable."""
        self._session.on_closed(self._closed.set)
        await self._session.listen(
            "sploot_embedding_completed", lambda asset_id: self._deliver(Event(EventKind.COMPLETED, asset_id))
        )
        await self._session.listen("sploot_job_added", lambda _: self._deliver(Event(EventKind.JOB_ADDED)))
        await self._session.listen("sploot_asset_changed", self._on_payload)

    async def send(self, event: Event) -> None:
        if event.kind is EventKind.CHANGED:  # the trigger notifies all other kinds
            await self._session.fetch(
                "SELECT pg_notify('sploot_asset_changed', $1)", f"{self._sender_id} {event.asset_id}"
            )

    async def receive(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_INTERVAL_S):
                    await self._closed.wait()
            await self._session.fetch("SELECT")
        raise BackendUnavailable("The database closed the connection of the event relay")

    def _on_payload(self, payload: str) -> None:
        sender_id, _, asset_id = payload.partition(" ")
        if sender_id != self._sender_id:
            self._deliver(Event(EventKind.CHANGED, asset_id))


@contextlib.asynccontextmanager
async def connect_postgres(
    database: PostgresDatabase, deliver: Callable[[Event], None]
) -> AsyncIterator[PostgresRelayConnection]:
    """Open a relay connection on a dedicated session, because LISTEN is bound to one. Raise BackendUnavailable."""
    session = await database.open_session()
    try:
        connection = PostgresRelayConnection(session, deliver)
        await connection.open()
        yield connection
    finally:
        session.close()
