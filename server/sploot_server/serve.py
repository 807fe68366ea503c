"""Composition root: opens the library in the order of its layers, and closes it in reverse."""

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from sploot_server import __version__
from sploot_server.accounts import AccountStore
from sploot_server.accounts.guard import Guard
from sploot_server.blobs import FileBlobs
from sploot_server.config import Config, ConfigError
from sploot_server.embedding import Embedder
from sploot_server.errands import SOCKET, answering
from sploot_server.handover import HandOver
from sploot_server.jobs import EmbeddingQueue
from sploot_server.library import Library, now_ms
from sploot_server.lines import uvicorn_settings
from sploot_server.live import MESSAGE_BYTES_MAX, STREAM_PATH, Live
from sploot_server.metrics import Measured, Metrics
from sploot_server.office import Office
from sploot_server.partial import Partials
from sploot_server.process import Server, address_of, listening, owned, when_stdin_ends
from sploot_server.proxies import behind
from sploot_server.refusals import HANDLERS, Door
from sploot_server.routes import api
from sploot_server.routes.handovers import HandOvers
from sploot_server.routes.probes import Probes
from sploot_server.search import Search
from sploot_server.stores import opened
from sploot_server.thumbnails import Thumbnails
from sploot_server.tus import Tus
from sploot_server.updates import Updates
from sploot_server.workers import WorkerEmbedder

KEEP_ALIVE_S = 75
PING_S = 20.0  # a WebSocket client that is silent is asked after this time, and given as long to answer


@contextlib.asynccontextmanager
async def library_app(config: Config, embedder: Embedder | None = None) -> AsyncIterator[Starlette]:
    """The ASGI application on an open library. The caller owns `config.data`; worker processes embed by default."""
    async with contextlib.AsyncExitStack() as stack:
        stores = await stack.enter_async_context(opened(config))
        for task in stores.tasks:
            await stack.enter_async_context(running(task()))
        partials = Partials(config.partials or config.data / "partial")
        partials.open()
        await stack.enter_async_context(running(partials.run()))
        embedder = embedder or WorkerEmbedder(
            threads=config.embedding_threads, idle_s=config.worker_idle_s, model=config.model
        )
        stack.push_async_callback(embedder.close)
        queue = EmbeddingQueue(stores.jobs, stores.blobs, embedder, stores.news, now_ms)
        if config.database is None:  # else there are workers for that
            await stack.enter_async_context(running(queue.run()))
        thumbnails = Thumbnails(config.data / "thumbnails", idle_s=config.worker_idle_s)
        stack.push_async_callback(thumbnails.close)
        library = Library(config, stores.assets, stores.blobs, queue, stores.news, thumbnails=thumbnails)
        updates = Updates(library, stores.ends, stores.news, stores.look_s)
        await updates.open()
        await stack.enter_async_context(running(updates.run()))
        search = Search(stores.texts, embedder)
        door = Middleware(Door, requests_max=config.requests_max, endless=frozenset({STREAM_PATH}))
        metrics = Metrics()
        routes = [
            *api(config, library, search, stores.shares),
            *Tus(config, library, partials).routes(),
            *Live(updates).routes(),
            *Probes(stores, updates, metrics).routes(),
        ]
        if config.takes_files and isinstance(stores.blobs, FileBlobs):
            hand_over = HandOver(library, stores.blobs)
            stack.callback(hand_over.close)
            routes += HandOvers(hand_over).routes()
        app = Starlette(
            routes=routes,
            middleware=[
                Middleware(Measured, metrics=metrics, routes=routes),
                door,
                *await guards(config, stores.accounts),
            ],
            exception_handlers=HANDLERS,
        )
        app.state.updates = updates
        app.state.accounts = stores.accounts
        app.state.office = Office(stores.accounts, library)
        yield app


async def guards(config: Config, accounts: AccountStore) -> list[Middleware]:
    """Who asks for tokens: nobody on a Unix socket, unless told to. Raises ConfigError where nobody could come in."""
    if config.is_public and not any(token.is_valid(now_ms()) for token in await accounts.tokens()):
        raise ConfigError(
            f"--host {config.host} can be reached by others, and nobody has a token yet. "
            f"`sploot-server user add NAME --data {config.data}` and `sploot-server token create NAME --data "
            f"{config.data}` make one; or leave --host out."
        )
    if config.uds is not None and not config.accounts:
        return []
    return [Middleware(Guard, accounts=accounts, required=config.is_public or config.accounts, now_ms=now_ms)]


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` in the background; cancel it and wait for its end at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def run(config: Config, *, exit_with_stdin: bool, announce: Callable[[str], None]) -> None:
    """Serve until told to stop. Raises Occupied, ConfigError or DatabaseError before it listens.

    `announce` is called once with the address, when requests are being accepted.
    """
    os.umask(0o077)  # the library and its socket are their owner's alone
    with (
        owned(config.data, config.lock_wait_s),
        listening(config) as listener,
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
    ):
        runner.run(_serve(config, listener, exit_with_stdin=exit_with_stdin, announce=announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop halves the cost of a small request; where it has no wheel, asyncio's own loop does."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop


def server_of(app: Starlette, config: Config, on_listening: Callable[[], None]) -> Server:
    """The server of a `library_app`."""
    settings = uvicorn.Config(
        behind(config.proxies, app),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=config.uds is None,
        **uvicorn_settings(config),
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_ping_interval=None if config.uds else PING_S,  # on this machine a line never breaks unheard
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=config.drain_s,
    )
    try:
        settings.load()
    except OSError as error:
        raise ConfigError(f"--tls-cert {config.tls_cert} and --tls-key cannot be used: {error}.") from error
    return Server(settings, on_listening=on_listening, on_draining=app.state.updates.close)


async def _serve(
    config: Config, listener: socket.socket, *, exit_with_stdin: bool, announce: Callable[[str], None]
) -> None:
    logger = structlog.get_logger()
    address = address_of(listener, "http" if config.tls_cert is None else "https")

    def on_listening() -> None:
        logger.info("listening", address=address, data=str(config.data), version=__version__)
        announce(address)

    async with library_app(config) as app, answering(config.data / SOCKET, app.state.office):
        server = server_of(app, config, on_listening)
        gc.freeze()  # all this stays; to look through it for garbage, every few seconds, holds up every request
        if exit_with_stdin:
            loop = asyncio.get_running_loop()
            when_stdin_ends(lambda: loop.call_soon_threadsafe(server.stop))
        await server.serve(sockets=[listener])
    logger.info("stopped")
