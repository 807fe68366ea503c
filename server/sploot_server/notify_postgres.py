"""News between processes through PostgreSQL, which tells by itself what is stored in it: see `embedding_moves`."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable

from sploot_server.assets.postgres.database import PostgresDatabase, Session
from sploot_server.model import Unreachable
from sploot_server.notify import Kind, News

SILENCE_S_MAX = 15.0  # then the line is tried


class PostgresLine:
    """A line that knows its own news by a name, and does not pass them on again."""

    def __init__(self, session: Session, tell: Callable[[News], None]) -> None:
        self._session = session
        self._tell = tell
        self._name = secrets.token_hex(8)
        self._lost = asyncio.Event()

    async def open(self) -> None:
        """Begin to listen. Raises Unreachable."""
        self._session.when_ended(self._lost.set)
        await self._session.listen("sploot_ended", lambda asset_id: self._tell(News(Kind.ENDED, asset_id)))
        await self._session.listen("sploot_work", lambda _: self._tell(News(Kind.WORK)))
        await self._session.listen("sploot_changed", self._pass_on)

    async def send(self, news: News) -> None:
        if news.kind is Kind.CHANGED:  # the rest is told by the database
            await self._session.fetch("SELECT pg_notify('sploot_changed', $1)", f"{self._name} {news.asset_id}")

    async def hear(self) -> None:
        while not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_S_MAX):
                    await self._lost.wait()
            await self._session.fetch("SELECT")
        raise Unreachable("The database has ended the line")

    def _pass_on(self, payload: str) -> None:
        name, _, asset_id = payload.partition(" ")
        if name != self._name:
            self._tell(News(Kind.CHANGED, asset_id))


@contextlib.asynccontextmanager
async def postgres_line(database: PostgresDatabase, tell: Callable[[News], None]) -> AsyncIterator[PostgresLine]:
    """A line through a session of its own. Raises Unreachable."""
    session = await database.session()
    try:
        line = PostgresLine(session, tell)
        await line.open()
        yield line
    finally:
        session.close()
