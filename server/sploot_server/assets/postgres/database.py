"""The only place with connections to PostgreSQL: a pool, sessions that are held, and the schema's versions.

Every statement of a transaction travels on one connection; `synchronous_commit` is on, so what is answered is durable.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from importlib import resources
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it carries no types

from sploot_server.assets.database import DatabaseError
from sploot_server.model import Unreachable

SCHEMA_LOCK = 0x53706C74  # "Splt"; these are classes of advisory locks
WORKER_LOCK = SCHEMA_LOCK + 1
CONTENT_LOCK = SCHEMA_LOCK + 2
LOOKS_LOCK = SCHEMA_LOCK + 3
CONNECTIONS_MAX = 10  # for statements
HOLDING_MAX = 10  # besides, which exclude other processes while content is added or removed
COMMAND_S_MAX = 30.0
CONNECT_S_MAX = 10.0
SETTINGS = {
    "application_name": "sploot-server",
    "synchronous_commit": "on",
    "tcp_keepalives_idle": "20",  # a machine that vanished is noticed, and its locks are freed, within a minute
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "4",
    "hnsw.iterative_scan": "strict_order",  # a filter does not make a search come back empty
}
BROKEN = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
)


class PostgresDatabase:
    """Statements go out by `fetch`, or several at once in a `transaction`."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def open(self) -> None:
        """Connect and bring the database to the newest schema. Raises DatabaseError; nothing is overwritten."""
        try:
            self._pool = await self._connections(CONNECTIONS_MAX)
            self._holding = await self._connections(HOLDING_MAX)
            await self._pool.fetch("SELECT")  # only now is anything connected to
        except (*BROKEN, asyncpg.PostgresError, ValueError) as error:
            raise DatabaseError(f"The database cannot be reached: {error}. Look at --database.") from error
        try:
            async with self._pool.acquire() as connection:
                await _migrate(connection)
        except DatabaseError:
            await self.close()
            raise
        except (*BROKEN, asyncpg.PostgresError) as error:
            await self.close()
            raise DatabaseError(f"The database cannot be brought to this program's schema: {error}.") from error

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """The rows of one statement. Raises Unreachable."""
        with reachable():
            rows: list[Any] = await self._pool.fetch(statement, *map(_storable, values))
            return rows

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["Statements"]:
        """All or nothing; committed when the block ends. Raises Unreachable."""
        with reachable():
            async with self._pool.acquire() as connection, connection.transaction():
                yield Statements(connection)

    @contextlib.asynccontextmanager
    async def excluding(self, kind: int, number: int) -> AsyncIterator[None]:
        """Hold an advisory lock, which ends with the block or with its connection. Raises Unreachable."""
        with reachable():
            connection = await self._holding.acquire()
        try:
            with reachable():
                await connection.execute("SELECT pg_advisory_lock($1, $2)", kind, number)
            yield
        finally:
            await self._holding.release(connection)  # unlocks

    async def session(self) -> "Session":
        """A connection of one's own, outside of the pool. Raises Unreachable."""
        with reachable():
            return Session(await asyncpg.connect(self._url, timeout=CONNECT_S_MAX, server_settings=SETTINGS))

    async def close(self) -> None:
        self._pool.terminate()
        self._holding.terminate()

    async def _connections(self, count: int) -> Any:
        return await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=count,
            timeout=CONNECT_S_MAX,
            command_timeout=COMMAND_S_MAX,
            server_settings=SETTINGS,
        )


class Statements:
    """The statements of one transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(statement, *map(_storable, values))
        return rows


class Session:
    """One held connection: its advisory locks end with it, and it can listen."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._busy = asyncio.Lock()

    @property
    def ended(self) -> bool:
        return bool(self._connection.is_closed())

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Raises Unreachable."""
        with reachable():
            async with self._busy:
                rows: list[Any] = await self._connection.fetch(
                    statement, *map(_storable, values), timeout=COMMAND_S_MAX
                )
            return rows

    async def listen(self, channel: str, told: Callable[[str], None]) -> None:
        """Have `told` called with every payload. Raises Unreachable."""
        with reachable():
            await self._connection.add_listener(channel, lambda *heard: told(heard[3]))

    def when_ended(self, then: Callable[[], None]) -> None:
        self._connection.add_termination_listener(lambda _: then())

    def close(self) -> None:
        self._connection.terminate()


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Turns the ways in which a connection fails into Unreachable."""
    try:
        yield
    except BROKEN as error:
        raise Unreachable("The library's database cannot be reached; try again in a moment") from error


def _storable(value: Any) -> Any:
    r"""PostgreSQL's texts hold every character but `\0`, which stands in no id or name that it could find."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    return value


async def _migrate(connection: Any) -> None:
    """Forward only, one process at a time, all steps or none. Raises DatabaseError for a newer schema."""
    steps = migrations()
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, 0)", SCHEMA_LOCK)
        await connection.execute("CREATE TABLE IF NOT EXISTS sploot_schema (version integer NOT NULL)")
        version = await connection.fetchval("SELECT coalesce(max(version), 0) FROM sploot_schema")
        if version > len(steps):
            raise DatabaseError(
                f"The database has schema {version}, this program knows {len(steps)}; install a newer one."
            )
        for number, script in enumerate(steps[version:], version + 1):
            await connection.execute(script)
            await connection.execute("INSERT INTO sploot_schema (version) VALUES ($1)", number)


def migrations() -> Sequence[str]:
    """The scripts `migrations/1.sql`, `2.sql`, ...: the nth leads from schema n - 1 to n."""
    scripts = [each for each in (resources.files(__package__) / "migrations").iterdir() if each.name.endswith(".sql")]
    return [each.read_text("utf-8") for each in sorted(scripts, key=lambda each: int(each.name.removesuffix(".sql")))]
