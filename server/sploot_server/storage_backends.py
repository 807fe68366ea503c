"""Storage backends selected by the configuration, opened in order and closed in reverse."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sploot_server.auth.accounts import AccountStore
from sploot_server.config import Config, ConfigError
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.library.service import now_ms
from sploot_server.pubsub.broker import Broker, EventRelay
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.blobs.files import BlobStore, FileBlobs
from sploot_server.storage.completion_log import CompletionLog
from sploot_server.storage.interfaces import JobStore, SearchStore
from sploot_server.storage.shares import ShareStore
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import Database
from sploot_server.storage.sqlite.jobs import SqliteJobs
from sploot_server.storage.sqlite.search import SqliteSearch

POLL_INTERVAL_S = 5.0  # for completions whose events were lost: Redis does not store what it publishes

HealthCheck = Callable[[], Awaitable[None]]
BackgroundTask = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Stores:
    """Open stores with the tasks and checks that belong to them.

    `relay_tasks` run in every process, `background_tasks` in workers only, both for as long as the stores are open.
    Each of `checks` raises if its backend is unusable. A failure of one of `optional_checks` only delays updates.
    `poll_interval_s` is passed to `SubscriptionHub`.
    """

    accounts: AccountStore
    assets: AssetStore
    jobs: JobStore
    search: SearchStore
    completions: CompletionLog
    shares: ShareStore
    blobs: BlobStore
    broker: Broker
    checks: Mapping[str, HealthCheck]
    optional_checks: Mapping[str, HealthCheck] = field(default_factory=dict)
    relay_tasks: Sequence[BackgroundTask] = ()
    background_tasks: Sequence[BackgroundTask] = ()
    poll_interval_s: float | None = None


@contextlib.asynccontextmanager
async def open_stores(config: Config, *, owns_data: bool = True) -> AsyncIterator[Stores]:
    """Open the stores of a library. Raise ConfigError or DatabaseError.

    A process that does not own the data folder, such as a worker beside a server, only reads its originals.
    """
    blobs = _open_blobs(config, owns_data=owns_data)
    if config.database is None:
        async with _open_sqlite(config, blobs) as stores:
            yield stores
    else:
        async with _open_postgres(config, config.database, blobs) as stores:
            yield stores


@contextlib.asynccontextmanager
async def _open_sqlite(config: Config, blobs: BlobStore) -> AsyncIterator[Stores]:
    database = Database(config.data / "library.db")
    database.open()
    assets, completions = SqliteAssets(database), CompletionLog(database)

    async def check() -> None:
        await completions.last_seq()

    try:
        yield Stores(
            accounts=AccountStore(database),
            assets=assets,
            jobs=SqliteJobs(database),
            search=SqliteSearch(database),
            completions=completions,
            shares=ShareStore(database),
            blobs=blobs,
            broker=Broker(),
            checks={"database": check, "blobs": blobs.check_writable},
        )
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def _open_postgres(config: Config, url: str, blobs: BlobStore) -> AsyncIterator[Stores]:
    try:
        from sploot_server.pubsub.postgres import connect_postgres  # noqa: PLC0415 - an extra
        from sploot_server.storage.postgres import assets, database, jobs, search  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(f"--database needs {error.name}; run `pip install 'sploot[scale]'`.") from error
    postgres = database.PostgresDatabase(url)
    await postgres.open()
    job_store = jobs.PostgresJobs(postgres)
    completions = CompletionLog(postgres)
    # Needed beside Redis too: triggers in the database publish completions and new jobs of every process.
    postgres_relay = EventRelay(partial(connect_postgres, postgres))
    relay = postgres_relay if config.events is None else _redis_relay(config.events)
    broker = Broker(relay.forward)

    async def check() -> None:
        await completions.last_seq()

    async def check_events() -> None:
        if not (relay.connected and postgres_relay.connected):
            raise BackendUnavailable("The event relay is disconnected")

    try:
        yield Stores(
            accounts=AccountStore(postgres),
            assets=assets.PostgresAssets(postgres),
            jobs=job_store,
            search=search.PostgresSearch(postgres),
            completions=completions,
            shares=ShareStore(postgres),
            blobs=blobs,
            broker=broker,
            checks={"database": check, "blobs": blobs.check_writable},
            optional_checks={"events": check_events},
            relay_tasks=[partial(each.run, broker) for each in dict.fromkeys((postgres_relay, relay))],
            background_tasks=[partial(job_store.run_rescuer, broker.publish_job_added, now_ms)],
            poll_interval_s=POLL_INTERVAL_S if config.events is not None else None,
        )
    finally:
        job_store.close()
        await postgres.close()


def _redis_relay(url: str) -> EventRelay:
    try:
        from sploot_server.pubsub.redis import connect_redis, create_redis_client  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(f"--events needs {error.name}; run `pip install 'sploot[scale]'`.") from error
    create_redis_client(url)  # raises ConfigError for an invalid URL at start-up, not at the first connection
    return EventRelay(partial(connect_redis, url))


def _open_blobs(config: Config, *, owns_data: bool) -> BlobStore:
    if config.blobs is None:
        files = FileBlobs(config.data)
        if owns_data:
            files.open()
        return files
    try:
        from sploot_server.storage.blobs.s3 import S3Blobs  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(f"--blobs needs {error.name}; run `pip install 'sploot[scale]'`.") from error
    bucket = S3Blobs(config.blobs, config.data / "incoming")
    bucket.open()
    return bucket
