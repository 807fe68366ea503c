"""What a library is kept in: the stores that the configuration names, opened in order and closed in reverse."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sploot_server.accounts import AccountStore
from sploot_server.accounts.sqlite import SqliteAccounts
from sploot_server.assets import AssetStore, EndStore, JobStore, SearchStore, ShareStore
from sploot_server.assets.database import Database
from sploot_server.assets.ends import SqliteEnds
from sploot_server.assets.jobs import SqliteJobs
from sploot_server.assets.shares import SqliteShares
from sploot_server.assets.sqlite import SqliteAssets
from sploot_server.assets.texts import SqliteTexts
from sploot_server.blobs import BlobStore, FileBlobs
from sploot_server.config import Config, ConfigError
from sploot_server.library import now_ms
from sploot_server.model import Unreachable
from sploot_server.notify import Notifier, Relay

LOOK_S = 5.0  # how often to look for what others have done, where nobody may have told it

Check = Callable[[], Awaitable[None]]
Task = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Stores:
    """`tasks` are to run for as long as the stores are open; each of `checks` raises if its part is not usable.

    So does each of `comforts`, without which the library is late and nothing else. `look_s` is for `Updates`.
    """

    accounts: AccountStore
    assets: AssetStore
    jobs: JobStore
    texts: SearchStore
    ends: EndStore
    shares: ShareStore
    blobs: BlobStore
    news: Notifier
    checks: Mapping[str, Check]
    comforts: Mapping[str, Check] = field(default_factory=dict)
    tasks: Sequence[Task] = ()
    chores: Sequence[Task] = ()
    look_s: float | None = None


@contextlib.asynccontextmanager
async def opened(config: Config, *, owns_data: bool = True) -> AsyncIterator[Stores]:
    """The stores of a library. Raises ConfigError or DatabaseError.

    Who does not own the data folder, as a worker beside a server, only reads the originals in it.
    """
    blobs = _blobs(config, owns_data=owns_data)
    if config.database is None:
        async with _in_sqlite(config, blobs) as stores:
            yield stores
    else:
        async with _in_postgres(config, config.database, blobs) as stores:
            yield stores


@contextlib.asynccontextmanager
async def _in_sqlite(config: Config, blobs: BlobStore) -> AsyncIterator[Stores]:
    database = Database(config.data / "library.db")
    database.open()
    assets, ends = SqliteAssets(database), SqliteEnds(database)

    async def check() -> None:
        await ends.last()

    try:
        yield Stores(
            accounts=SqliteAccounts(database),
            assets=assets,
            jobs=SqliteJobs(database),
            texts=SqliteTexts(database),
            ends=ends,
            shares=SqliteShares(database),
            blobs=blobs,
            news=Notifier(),
            checks={"database": check, "blobs": blobs.check},
        )
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def _in_postgres(config: Config, url: str, blobs: BlobStore) -> AsyncIterator[Stores]:
    try:
        from sploot_server.accounts.postgres import PostgresAccounts  # noqa: PLC0415 - an extra
        from sploot_server.assets.postgres import assets, database, ends, jobs, shares, texts  # noqa: PLC0415 - an extra
        from sploot_server.notify_postgres import postgres_line  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(f"--database needs {error.name}; `pip install 'sploot[scale]'` brings it.") from error
    opened = database.PostgresDatabase(url)
    await opened.open()
    work = jobs.PostgresJobs(opened)
    order = ends.PostgresEnds(opened)
    told = Relay(partial(postgres_line, opened))  # the database tells of ends and of work, whoever wrote them
    relay = told if config.events is None else _redis(config.events)
    news = Notifier(relay.carry)

    async def check() -> None:
        await order.last()

    async def check_events() -> None:
        if not (relay.connected and told.connected):
            raise Unreachable("The line to the other processes is down")

    try:
        yield Stores(
            accounts=PostgresAccounts(opened),
            assets=assets.PostgresAssets(opened),
            jobs=work,
            texts=texts.PostgresTexts(opened),
            ends=order,
            shares=shares.PostgresShares(opened),
            blobs=blobs,
            news=news,
            checks={"database": check, "blobs": blobs.check},
            comforts={"events": check_events},
            tasks=[partial(each.run, news) for each in dict.fromkeys((told, relay))],
            chores=[partial(work.look_after, news.publish_work, now_ms)],
            look_s=LOOK_S if config.events is not None else None,
        )
    finally:
        work.close()
        await opened.close()


def _redis(url: str) -> Relay:
    try:
        from sploot_server.notify_redis import redis_at, redis_line  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(f"--events needs {error.name}; `pip install 'sploot[scale]'` brings it.") from error
    redis_at(url)  # refused now if it is no address
    return Relay(partial(redis_line, url))


def _blobs(config: Config, *, owns_data: bool) -> BlobStore:
    if config.blobs is None:
        files = FileBlobs(config.data)
        if owns_data:
            files.open()
        return files
    try:
        from sploot_server.blobs_s3 import S3Blobs  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(f"--blobs needs {error.name}; `pip install 'sploot[scale]'` brings it.") from error
    bucket = S3Blobs(config.blobs, config.data / "incoming")
    bucket.open()
    return bucket
