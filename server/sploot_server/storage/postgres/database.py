"""Connections to PostgreSQL: a pool, long-lived sessions, advisory locks and schema migrations.

No other module uses asyncpg. `synchronous_commit` is on, so a write is durable when its call returns.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # the package has no type hints

from sploot_server.domain.entities import BackendUnavailable
from sploot_server.storage.interfaces import DatabaseError

SCHEMA_LOCK = 0x53706C74  # "Splt"; the first of the two keys of an advisory lock
WORKER_LOCK = SCHEMA_LOCK + 1
CONTENT_LOCK = SCHEMA_LOCK + 2
NEAR_DUPLICATE_LOCK = SCHEMA_LOCK + 3
POOL_CONNECTIONS_MAX = 10
# Locks have a pool of their own. In one pool, ten requests that each hold a lock and wait for a connection for their
# statements would wait forever.
LOCK_CONNECTIONS_MAX = 10
COMMAND_S_MAX = 30.0
CONNECT_S_MAX = 10.0
SETTINGS = {
    "application_name": "sploot-server",
    "synchronous_commit": "on",
    "tcp_keepalives_idle": "20",  # PostgreSQL detects a dead machine and frees its locks within a minute
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "4",
    # HNSW finds the nearest rows first and filters them afterwards. Without iterative scans, a selective filter could
    # leave none of them, although rows further away match.
    "hnsw.iterative_scan": "strict_order",
}
CONNECTION_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
)


class PostgresDatabase:
    """A pool of connections: `fetch` runs one statement, `transaction` several."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def open(self) -> None:
        """Connect and migrate the database to the newest schema. Raises DatabaseError and overwrites nothing."""
        try:
            self._pool = await self._create_pool(POOL_CONNECTIONS_MAX)
            self._lock_pool = await self._create_pool(LOCK_CONNECTIONS_MAX)
            await self._pool.fetch("SELECT")  # a pool with min_size=0 connects only now
        except (*CONNECTION_ERRORS, asyncpg.PostgresError, ValueError) as error:
            raise DatabaseError(f"The database cannot be reached: {error}. Check --database.") from error
        try:
            async with self._pool.acquire() as connection:
                await _migrate(connection)
        except DatabaseError:
            await self.close()
            raise
        except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
            await self.close()
            raise DatabaseError(f"The database schema cannot be created or migrated: {error}.") from error

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Run one statement and return its rows. Raises BackendUnavailable."""
        with map_exceptions():
            rows: list[Any] = await self._pool.fetch(statement, *map(_replace_nul, values))
            return rows

    async def fetch_row(self, statement: str, *values: Any) -> Any | None:
        """Return the row that a lookup by key finds. Raises BackendUnavailable."""
        return next(iter(await self.fetch(statement, *values)), None)

    async def execute(self, *statements: str, values: Sequence[Any]) -> list[Any]:
        """Run statements with the same values in one transaction; return the rows of the last once it is durable."""
        async with self.transaction() as transaction:
            return [await transaction.fetch(each, *values) for each in statements][-1]

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """Open a transaction that commits at the end of the block. Raises BackendUnavailable."""
        with map_exceptions():
            async with self._pool.acquire() as connection, connection.transaction():
                yield Transaction(connection)

    @contextlib.asynccontextmanager
    async def advisory_lock(self, lock_class: int, key: int) -> AsyncIterator[None]:
        """Hold an advisory lock for the block, or until its connection ends. Raises BackendUnavailable."""
        with map_exceptions():
            connection = await self._lock_pool.acquire()
        try:
            with map_exceptions():
                await connection.execute("SELECT pg_advisory_lock($1, $2)", lock_class, key)
            yield
        finally:
            await self._lock_pool.release(connection)  # asyncpg resets the session, which unlocks

    async def open_session(self) -> "Session":
        """Open a connection outside the pool. Raises BackendUnavailable."""
        with map_exceptions():
            return Session(await asyncpg.connect(self._url, timeout=CONNECT_S_MAX, server_settings=SETTINGS))

    def count_connections(self) -> Mapping[tuple[str, str], int]:
        """Return the open connections of each pool, `in use` and `idle`."""
        pools = {"statements": self._pool, "locks": self._lock_pool}
        idle = {name: pool.get_idle_size() for name, pool in pools.items()}
        in_use = {(name, "in use"): pool.get_size() - idle[name] for name, pool in pools.items()}
        return in_use | {(name, "idle"): count for name, count in idle.items()}

    async def close(self) -> None:
        self._pool.terminate()
        self._lock_pool.terminate()

    async def _create_pool(self, count: int) -> Any:
        return await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=count,
            timeout=CONNECT_S_MAX,
            command_timeout=COMMAND_S_MAX,
            server_settings=SETTINGS,
        )


class Transaction:
    """The statements of one transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(statement, *map(_replace_nul, values))
        return rows


class Session:
    """A long-lived connection for LISTEN and for advisory locks; closing it releases its locks."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    @property
    def is_closed(self) -> bool:
        return bool(self._connection.is_closed())

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Run one statement and return its rows. Raises BackendUnavailable."""
        with map_exceptions():
            async with self._lock:  # asyncpg raises InterfaceError on concurrent use of one connection
                rows: list[Any] = await self._connection.fetch(
                    statement, *map(_replace_nul, values), timeout=COMMAND_S_MAX
                )
            return rows

    async def listen(self, channel: str, on_payload: Callable[[str], None]) -> None:
        """Call `on_payload` with the payload of each notification. Raises BackendUnavailable."""
        with map_exceptions():
            await self._connection.add_listener(channel, lambda *arguments: on_payload(arguments[3]))

    def on_closed(self, callback: Callable[[], None]) -> None:
        self._connection.add_termination_listener(lambda _: callback())

    def close(self) -> None:
        self._connection.terminate()


@contextlib.contextmanager
def map_exceptions() -> Iterator[None]:
    """Translate connection errors to BackendUnavailable."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        raise BackendUnavailable("The library's database is unreachable; try again later") from error


def _replace_nul(value: Any) -> Any:
    r"""Replace `\0`, the one character that PostgreSQL's `text` rejects; no stored id or name contains it."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list | tuple):
        return [_replace_nul(each) for each in value]
    return value


async def _migrate(connection: Any) -> None:
    """Apply the missing migrations in one transaction. Raises DatabaseError if the schema is too new."""
    steps = migrations()
    async with connection.transaction():
        # Servers that start at the same time would otherwise both create the tables.
        await connection.execute("SELECT pg_advisory_xact_lock($1, 0)", SCHEMA_LOCK)
        await connection.execute("CREATE TABLE IF NOT EXISTS sploot_schema (version integer NOT NULL)")
        version = await connection.fetchval("SELECT coalesce(max(version), 0) FROM sploot_schema")
        if version > len(steps):
            raise DatabaseError(
                f"The database has schema version {version}; this sploot-server supports up to {len(steps)}. "
                "Install a newer sploot-server. The database was not modified."
            )
        for number, script in enumerate(steps[version:], version + 1):
            await connection.execute(script)
            await connection.execute("INSERT INTO sploot_schema (version) VALUES ($1)", number)


def migrations() -> Sequence[str]:
    """Return the scripts `migrations/1.sql`, `2.sql`, ...: the nth migrates from schema version n - 1 to n."""
    scripts = [each for each in (resources.files(__package__) / "migrations").iterdir() if each.name.endswith(".sql")]
    return [each.read_text("utf-8") for each in sorted(scripts, key=lambda each: int(each.name.removesuffix(".sql")))]
