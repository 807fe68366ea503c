"""Storage backends selected by the configuration, opened in order and closed in reverse."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from sploot_server.auth.accounts import AccountStore
from sploot_server.auth.sessions import SessionStore
from sploot_server.config import Config, ConfigError
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.library.service import now_ms
from sploot_server.measurements import Measurements
from sploot_server.pubsub.broker import Broker, EventRelay
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.blobs.files import BlobStore, FileBlobs
from sploot_server.storage.blobs.identity import BlobIdentity
from sploot_server.storage.completion_log import CompletionLog
from sploot_server.storage.interfaces import JobStore, SearchStore
from sploot_server.storage.rows import SqlDatabase
from sploot_server.storage.shares import ShareStore
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import DATABASE_NAME, Database
from sploot_server.storage.sqlite.jobs import SqliteJobs
from sploot_server.storage.sqlite.library_backup import LibraryBackup
from sploot_server.storage.sqlite.search import SqliteSearch
from sploot_server.storage.sqlite.word_index import change_names
from sploot_server.storage.templates import TemplateStore

logger = structlog.get_logger()

POLL_INTERVAL_S = 5.0  # for completions whose events were lost: Redis does not store what it publishes

HealthCheck = Callable[[], Awaitable[None]]
BackgroundTask = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Stores:
    """Open stores with the tasks and checks that belong to them.

    `relay_tasks` run in every process, `background_tasks` in workers only, both for as long as the stores are open.
    Each of `checks` raises if its backend is unusable. A failure of one of `optional_checks` only delays updates.
    `poll_interval_s` is passed to `SubscriptionHub`. `count_connections` counts them by pool and state. `backup` is
    None if the library is not in one folder.
    """

    accounts: AccountStore
    sessions: SessionStore
    assets: AssetStore
    jobs: JobStore
    search: SearchStore
    completions: CompletionLog
    shares: ShareStore
    templates: TemplateStore
    blobs: BlobStore
    blob_identity: BlobIdentity
    measurements: Measurements
    broker: Broker
    checks: Mapping[str, HealthCheck]
    optional_checks: Mapping[str, HealthCheck] = field(default_factory=dict)
    relay_tasks: Sequence[BackgroundTask] = ()
    background_tasks: Sequence[BackgroundTask] = ()
    poll_interval_s: float | None = None
    count_connections: Callable[[], Mapping[tuple[str, str], int]] = dict
    backup: LibraryBackup | None = None

    async def verify_blob_store(self) -> None:
        """Raise ConfigError if the originals are those of another library. An outage is only logged.

        A server without its store still searches; its readiness check verifies the store when it is back.
        """
        try:
            await self.blob_identity.verify()
        except BackendUnavailable as error:
            logger.warning("blob store not verified", error=str(error))


@contextlib.asynccontextmanager
async def open_stores(config: Config, *, owns_data: bool = True) -> AsyncIterator[Stores]:
    """Open the stores of a library. Raise ConfigError or DatabaseError.

    A process that does not own the data folder, such as a worker beside a server, only reads its originals.
    """
    measurements = Measurements()
    blobs = _open_blobs(config, measurements, owns_data=owns_data)
    opened = (
        _open_sqlite(config, blobs, measurements)
        if config.database is None
        else _open_postgres(config, config.database, blobs, measurements)
    )
    async with opened as stores:
        yield stores


@contextlib.asynccontextmanager
async def _open_sqlite(config: Config, blobs: BlobStore, measurements: Measurements) -> AsyncIterator[Stores]:
    database = Database(config.data / DATABASE_NAME)
    database.open()
    asset_store, completions = SqliteAssets(database), CompletionLog(database)
    identity = _blob_identity(config, database, asset_store, blobs)

    async def check() -> None:
        await completions.last_seq()

    try:
        yield Stores(
            accounts=AccountStore(database),
            sessions=SessionStore(database),
            assets=asset_store,
            jobs=SqliteJobs(database),
            search=SqliteSearch(database),
            completions=completions,
            shares=ShareStore(database),
            templates=TemplateStore(database, partial(change_names, database)),
            blobs=blobs,
            blob_identity=identity,
            measurements=measurements,
            broker=Broker(),
            checks={"database": check, "blobs": partial(_check_blobs, blobs, identity)},
            backup=LibraryBackup(config.data, database) if config.blobs is None else None,
        )
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def _open_postgres(
    config: Config, url: str, blobs: BlobStore, measurements: Measurements
) -> AsyncIterator[Stores]:
    try:
        from sploot_server.pubsub.postgres import connect_postgres  # noqa: PLC0415 - an extra
        from sploot_server.storage.postgres import assets, database, jobs, search, search_index  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(f"--database needs {error.name}; run `pip install 'sploot[scale]'`.") from error
    postgres = database.PostgresDatabase(url)
    await postgres.open()
    asset_store, job_store = assets.PostgresAssets(postgres), jobs.PostgresJobs(postgres)
    identity = _blob_identity(config, postgres, asset_store, blobs)
    completions = CompletionLog(postgres)
    # Needed beside Redis too: triggers in the database publish completions and new jobs of every process.
    postgres_relay = EventRelay(partial(connect_postgres, postgres))
    relay = postgres_relay if config.events is None else _redis_relay(config.events, measurements)
    broker = Broker(relay.forward)

    async def check() -> None:
        await completions.last_seq()

    async def check_events() -> None:
        if not (relay.connected and postgres_relay.connected):
            raise BackendUnavailable("The event relay is disconnected")

    try:
        yield Stores(
            accounts=AccountStore(postgres),
            sessions=SessionStore(postgres),
            assets=asset_store,
            jobs=job_store,
            search=search.PostgresSearch(postgres),
            completions=completions,
            shares=ShareStore(postgres),
            templates=TemplateStore(postgres, partial(search_index.change_names, postgres)),
            blobs=blobs,
            blob_identity=identity,
            measurements=measurements,
            broker=broker,
            checks={"database": check, "blobs": partial(_check_blobs, blobs, identity)},
            optional_checks={"events": check_events},
            relay_tasks=[partial(each.run, broker) for each in dict.fromkeys((postgres_relay, relay))],
            background_tasks=[partial(job_store.run_rescuer, broker.publish_job_added, now_ms)],
            poll_interval_s=POLL_INTERVAL_S if config.events is not None else None,
            count_connections=postgres.count_connections,
        )
    finally:
        job_store.close()
        await postgres.close()


def _blob_identity(config: Config, database: SqlDatabase, assets: AssetStore, blobs: BlobStore) -> BlobIdentity:
    location = str(config.data / "blobs") if config.blobs is None else f"--blobs {config.blobs}"
    is_shared = config.blobs is not None or config.database is not None
    return BlobIdentity(database, assets, blobs, location=location, is_shared=is_shared)


async def _check_blobs(blobs: BlobStore, identity: BlobIdentity) -> None:
    await identity.verify()
    await blobs.check_writable()


def _redis_relay(url: str, measurements: Measurements) -> EventRelay:
    try:
        from sploot_server.pubsub.redis import connect_redis, create_redis_client  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(f"--events needs {error.name}; run `pip install 'sploot[scale]'`.") from error
    create_redis_client(url)  # raises ConfigError for an invalid URL at start-up, not at the first connection
    return EventRelay(partial(connect_redis, url, measurements=measurements))


def _open_blobs(config: Config, measurements: Measurements, *, owns_data: bool) -> BlobStore:
    if config.blobs is None:
        files = FileBlobs(config.data, measurements)
        if owns_data:
            files.open()
        return files
    try:
        from sploot_server.storage.blobs.s3 import S3Blobs  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(f"--blobs needs {error.name}; run `pip install 'sploot[scale]'`.") from error
    bucket = S3Blobs(config.blobs, config.data / "incoming", measurements)
    bucket.open()
    return bucket
