"""Composition root: build the ASGI application on an open library and serve it."""

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from sploot_server import __version__
from sploot_server.acceptor import raise_descriptor_limit
from sploot_server.admin.service import AdminService
from sploot_server.admin.socket import SOCKET_NAME, serve_admin_socket
from sploot_server.config import Config, ConfigError
from sploot_server.domain.embedding import Embedder
from sploot_server.environment import format_location
from sploot_server.http.admission import AdmissionMiddleware
from sploot_server.http.authentication import AuthenticationMiddleware
from sploot_server.http.connection_limits import uvicorn_settings
from sploot_server.http.errors import EXCEPTION_HANDLERS
from sploot_server.http.forwarded import trust_proxies
from sploot_server.http.guess_guard import GuessGuard
from sploot_server.http.metrics import Metrics, MetricsMiddleware
from sploot_server.http.push.endpoints import MESSAGE_BYTES_MAX, SSE_PATH, PushRoutes
from sploot_server.http.push.subscriptions import SubscriptionHub
from sploot_server.http.push.websocket_protocol import WebSocketProtocol
from sploot_server.http.request_guard import RequestGuardMiddleware
from sploot_server.http.routes import build_routes
from sploot_server.http.routes.admin import AdminRoutes
from sploot_server.http.routes.local_import import UploadByPathRoutes
from sploot_server.http.routes.probes import ProbeRoutes
from sploot_server.http.routes.sessions import SessionRoutes
from sploot_server.http.tus.handlers import TusRoutes
from sploot_server.http.tus.upload_store import UploadStore
from sploot_server.inference.model_manifest import ModelUnusable
from sploot_server.inference.worker_pool import WorkerEmbedder
from sploot_server.library.consistency_check import ConsistencyCheck
from sploot_server.library.curation import Curation
from sploot_server.library.embedding_jobs import EmbeddingQueue
from sploot_server.library.local_import import UploadByPath
from sploot_server.library.model_change import ModelChange, OnProgress, ReplaceableEmbedder
from sploot_server.library.search import Search
from sploot_server.library.service import Library, now_ms
from sploot_server.library.staged_analyses import StagedAnalyses
from sploot_server.library.template_matcher import TemplateMatcher
from sploot_server.library.templates import Templates
from sploot_server.library.thumbnails import Thumbnails
from sploot_server.models.installed_models import InstalledModels
from sploot_server.server_process import Server, format_address, lock_data_dir, on_stdin_closed, open_listening_socket
from sploot_server.storage.blobs.files import FileBlobs
from sploot_server.storage_backends import Stores, open_stores

KEEP_ALIVE_S = 75
SWITCH_INTERVAL_S = 0.001  # after which a thread that scores a search lets the event loop run; by default 5 ms
PING_INTERVAL_S = 20.0  # interval of WebSocket pings, and the time allowed for each pong


@contextlib.asynccontextmanager
async def create_app(
    config: Config, embedder: Embedder | None = None, on_reading: OnProgress = lambda done, total: None
) -> AsyncIterator[Starlette]:
    """Open the library and yield its ASGI application; close everything in reverse order.

    The caller holds the lock of `config.data`. Worker processes compute the embeddings unless `embedder` is given.
    `on_reading` is called while the library is read with another model.
    """
    async with contextlib.AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(config))
        await stores.verify_blob_store()
        for task in stores.relay_tasks:
            await stack.enter_async_context(background_task(task()))
        models = InstalledModels(config.data)
        current = ReplaceableEmbedder(embedder or open_configured_embedder(config, models))
        stack.push_async_callback(current.close)
        thumbnails = Thumbnails(config.data / "thumbnails", idle_s=config.worker_idle_s)
        stack.push_async_callback(thumbnails.close)
        queue = EmbeddingQueue(
            *(stores.jobs, stores.blobs, current, stores.broker, now_ms),
            thumbnails=thumbnails,
            staged=StagedAnalyses(models.staged),
            matcher=TemplateMatcher(stores.templates),
        )
        if config.database is None:  # with a database, `sploot-server worker` processes run the jobs
            await stack.enter_async_context(background_task(queue.run()))
        library = Library(config, stores.assets, stores.blobs, queue, stores.broker, thumbnails=thumbnails)
        model_change = None
        if not config.models and config.database is None:  # else the models come from the command line
            model_change = ModelChange(
                models,
                partial(open_embedder, config),
                current,
                queue=queue,
                assets=stores.assets,
                blobs=stores.blobs,
                on_progress=on_reading,
            )
            await stack.enter_async_context(background_task(model_change.run()))
        curation = Curation(library, stores.assets, stores.broker)
        await stack.enter_async_context(background_task(curation.run_purge()))
        hub = SubscriptionHub(library, stores.completions, stores.broker, stores.poll_interval_s)
        await hub.open()
        await stack.enter_async_context(background_task(hub.run()))
        search = Search(stores.search, current)
        admission = Middleware(
            AdmissionMiddleware,
            requests_max=config.requests_max,
            requests_per_owner_max=config.requests_per_owner_max,
            streaming_paths=frozenset({SSE_PATH}),
        )
        metrics, guesses = Metrics(stores.measurements), GuessGuard()
        templates = Templates(stores.templates, library, current, queue.wake_workers)
        routes = [
            *build_routes(config, library, search, stores.shares, curation=curation, templates=templates),
            *PushRoutes(hub).routes(),
            *ProbeRoutes(config, stores, hub, metrics).routes(),
            *SessionRoutes(stores.accounts, stores.sessions, guesses).routes(),
            *AdminRoutes(stores.accounts, stores.sessions, stores.shares).routes(),
        ]
        if config.supports_resumable_uploads:  # otherwise the server that continues an upload would not have its start
            upload_store = UploadStore(config.upload_dir or config.data / "partial")
            upload_store.open()
            await stack.enter_async_context(background_task(upload_store.run()))
            routes += TusRoutes(config, library, upload_store).routes()
        if config.allows_upload_by_path and isinstance(stores.blobs, FileBlobs):
            upload_by_path = UploadByPath(library, stores.blobs)
            stack.callback(upload_by_path.close)
            routes += UploadByPathRoutes(upload_by_path).routes()
        app = Starlette(
            routes=routes,
            middleware=[
                Middleware(MetricsMiddleware, metrics=metrics, routes=routes),
                Middleware(RequestGuardMiddleware),
                *await authentication_middleware(config, stores, guesses),
                admission,
            ],
            exception_handlers=EXCEPTION_HANDLERS,
        )
        app.router.redirect_slashes = False  # the redirect would lead to the host that the client named
        app.state.subscription_hub = hub
        app.state.accounts = stores.accounts
        app.state.measurements = stores.measurements
        check = ConsistencyCheck(stores.assets, stores.blobs, library.lock_content, now_ms)
        app.state.admin_service = AdminService(
            *(stores.accounts, stores.sessions, library, check, stores.shares),
            backup=stores.backup,
            model_change=model_change,
        )
        yield app


def open_embedder(config: Config, models: Sequence[Path]) -> WorkerEmbedder:
    """Return an embedder with the models in some folders. Raise ModelUnusable."""
    return WorkerEmbedder(threads=config.embedding_threads, idle_s=config.worker_idle_s, models=models)


def open_configured_embedder(config: Config, models: InstalledModels) -> WorkerEmbedder:
    """Return an embedder with the models of the command line, or with the installed ones if those are still usable."""
    if config.models:
        return open_embedder(config, config.models)
    try:
        return open_embedder(config, models.in_use())
    except ModelUnusable as error:
        structlog.get_logger().warning("the installed models are not used", error=str(error))
        return open_embedder(config, ())


async def authentication_middleware(config: Config, stores: Stores, guesses: GuessGuard) -> list[Middleware]:
    """Return the authentication middleware; none on a Unix socket without `--accounts`.

    Raise ConfigError if the server is public and no user exists.
    """
    if config.is_public and not await stores.accounts.has_users():
        raise ConfigError(
            f"--host {config.host} is reachable from other machines, but no user exists. Add one with "
            f"`sploot-server user invite NAME{format_location(config.data)}`, or omit --host."
        )
    if config.uds is not None and not config.accounts:
        return []
    return [
        Middleware(
            AuthenticationMiddleware,
            accounts=stores.accounts,
            sessions=stores.sessions,
            guesses=guesses,
            required=config.is_public or config.accounts,
            now_ms=now_ms,
        )
    ]


@contextlib.asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` in the background; cancel it and wait for it on exit."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def run(config: Config, *, exit_with_stdin: bool, on_ready: Callable[[str], None], on_reading: OnProgress) -> None:
    """Serve until stopped. Raise DataDirLocked, ConfigError or DatabaseError before listening.

    `on_ready` is called once, with the address, when the server accepts requests; `on_reading` as by `create_app`.
    """
    os.umask(0o077)  # only the owner may read the library and connect to its socket
    raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with (
        lock_data_dir(config.data, config.lock_wait_s),
        open_listening_socket(config) as listener,
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
    ):
        runner.run(_serve(config, listener, exit_with_stdin=exit_with_stdin, on_ready=on_ready, on_reading=on_reading))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory if it is installed; uvloop halves the cost of a small request."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop


def create_server(app: Starlette, config: Config, on_listening: Callable[[], None]) -> Server:
    """Return the uvicorn server for an application of `create_app`. Raise ConfigError."""
    settings = uvicorn.Config(
        trust_proxies(config.trusted_proxies, app),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=config.uds is None,
        **uvicorn_settings(config, app.state.measurements),
        ws=WebSocketProtocol,
        ws_max_size=MESSAGE_BYTES_MAX,
        # The kernel reports a closed Unix socket immediately; a TCP connection can break without notice.
        ws_ping_interval=None if config.uds else PING_INTERVAL_S,
        ws_ping_timeout=PING_INTERVAL_S,
        ws_per_message_deflate=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=config.drain_s,
    )
    try:
        settings.load()
    except OSError as error:
        raise ConfigError(f"Cannot load --tls-cert {config.tls_cert} and --tls-key: {error}.") from error
    return Server(settings, on_listening=on_listening, on_draining=app.state.subscription_hub.close)


async def _serve(
    config: Config,
    listener: socket.socket,
    *,
    exit_with_stdin: bool,
    on_ready: Callable[[str], None],
    on_reading: OnProgress,
) -> None:
    logger = structlog.get_logger()
    address = format_address(listener, "http" if config.tls_cert is None else "https")

    def on_listening() -> None:
        logger.info("listening", address=address, data=str(config.data), version=__version__)
        on_ready(address)

    async with (
        create_app(config, on_reading=on_reading) as app,
        serve_admin_socket(config.data / SOCKET_NAME, app.state.admin_service),
    ):
        server = create_server(app, config, on_listening)
        gc.freeze()  # everything built so far lives as long as the process; full collections would scan it in vain
        if exit_with_stdin:
            loop = asyncio.get_running_loop()
            on_stdin_closed(lambda: loop.call_soon_threadsafe(server.stop))
        await server.serve(sockets=[listener])
    logger.info("stopped")
