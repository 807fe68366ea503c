"""Composition root of the daemon, and its command line."""

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from splootd import __version__, describe_version, logs
from splootd.clock import Clock
from splootd.config import Config, Paths
from splootd.control.context import Context
from splootd.control.handlers import RequestHandlers
from splootd.control.metrics import RssSampler
from splootd.control.prometheus_server import PrometheusServer
from splootd.control.server import ControlServer, bind
from splootd.errors import AlreadyRunning, ConfigError, SplootError
from splootd.event_bus import EventBus, WakeSignals
from splootd.lock import acquire_lock
from splootd.metrics.rss import RssSamples
from splootd.pipeline import Pipeline, Stores, find_configured_account
from splootd.post_upload.post_upload import PostUploadProcessor
from splootd.post_upload.trash import Trash
from splootd.protocol import ActionRequired
from splootd.remote.image_proxy import LOCAL_SERVER_URL, ImageProxy
from splootd.remote.library_client import LibraryClient
from splootd.store import recovery
from splootd.store.database import Database
from splootd.system.clock_monitor import ClockMonitor
from splootd.system.concurrency_controller import ConcurrencyController
from splootd.system.desktop_notifications import DesktopNotifier, is_enabled, notification_command
from splootd.system.event_log import EventLogger
from splootd.system.janitor import Janitor
from splootd.system.local_server import LocalServer
from splootd.system.metered import CHECKING_METERED, MeteredMonitor
from splootd.system.service_manager import Heartbeat, ServiceManager
from splootd.system.silence_monitor import SilenceMonitor
from splootd.system.stop_signals import EXIT_FAILED, StopRequest, stop_on_signals
from splootd.upload.admission import AdmissionController
from splootd.watch.watcher import Watcher
from splootd.web.browser_upload import BrowserUploads
from splootd.web.server import WebServer, build_library_routes

EXIT_ALREADY_RUNNING = 75
EXIT_CONFIG = 78


class Worker(Protocol):
    """A part of the daemon that runs until it is cancelled."""

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Core:
    """Stores and pipeline, and the values that all other workers share."""

    config: Config
    paths: Paths
    clock: Clock
    wake_signals: WakeSignals
    event_bus: EventBus
    rss: RssSamples
    instance_id: str
    database: Database
    stores: Stores
    pipeline: Pipeline
    stop: StopRequest


@dataclass(frozen=True, slots=True)
class _Monitors:
    """Workers around the pipeline: folders, post-upload actions, maintenance, clock, network and local server."""

    watcher: Watcher
    post_upload: PostUploadProcessor
    janitor: Janitor
    clock_monitor: ClockMonitor
    concurrency_controller: ConcurrencyController
    metered: MeteredMonitor
    local_server: LocalServer


@dataclass(frozen=True, slots=True)
class _Servers:
    """Servers of the daemon: control API, web UI with its uploads, Prometheus metrics."""

    control: ControlServer
    web: WebServer
    browser_uploads: BrowserUploads
    prometheus: PrometheusServer


async def serve(config: Config, paths: Paths, service_manager: ServiceManager, on_ready: Callable[[], None]) -> bool:
    """Run the daemon until a signal or request stops it. Return True if it must start again with a changed setting.

    `on_ready` is called when the control API answers.
    """
    instance_id = secrets.token_hex(8)
    log = logs.get_logger("daemon", instance_id=instance_id)
    async with AsyncExitStack() as closing:
        listener = closing.enter_context(_open_listener(service_manager, paths.socket))
        core = await _open_core(config, paths, instance_id, closing)
        monitors = build_monitors(core)
        servers = build_servers(core, monitors, listener)
        released = await _restore_state(core)
        log.info("started", version=__version__, pid=os.getpid(), server=config.server, released=released)
        workers = list_workers(core, monitors, servers, service_manager)
        # Everything built so far lives until the end. Without freezing it, each full garbage collection scans it and
        # blocks the event loop for 40 ms.
        gc.freeze()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker.run(), name=type(worker).__name__) for worker in workers]
            stop_on_signals(core.stop, paths.lock)
            on_ready()
            await core.stop.wait()
            log.info("draining")
            servers.control.drain()
            await core.pipeline.uploader.drain()
            servers.control.close()
            for task in tasks:
                task.cancel()
    log.info("restarting" if core.stop.is_restart else "stopped")
    if core.stop.is_restart:
        gc.unfreeze()  # what was built ends here, and is built again
    return core.stop.is_restart


async def _open_core(config: Config, paths: Paths, instance_id: str, closing: AsyncExitStack) -> _Core:
    """Open the database and build the pipeline; `closing` closes both in reverse order."""
    clock, wake_signals = Clock(), WakeSignals()
    closing.enter_context(recovery.mark_suspect_on_damage(paths.database))
    database = await recovery.open_or_recover(paths.database, paths.backups, now=clock.now())
    closing.push_async_callback(database.close)
    account = find_configured_account(config, paths)
    stores = await Stores.open(database, config.server, account, instance_id=instance_id, wake_signals=wake_signals)
    pipeline = Pipeline.build(stores, config, paths, clock=clock, wake_signals=wake_signals)
    closing.push_async_callback(pipeline.client.close)
    event_bus, rss, stop = EventBus(), RssSamples(), StopRequest()
    return _Core(config, paths, clock, wake_signals, event_bus, rss, instance_id, database, stores, pipeline, stop)


def build_monitors(core: _Core) -> _Monitors:
    """Build the workers that watch folders, machine and network, and act after uploads."""
    config, clock, stores, pipeline = core.config, core.clock, core.stores, core.pipeline
    watcher = Watcher(stores.import_store, stores.folder_store, pipeline.importer, clock, config)
    return _Monitors(
        watcher=watcher,
        post_upload=PostUploadProcessor(
            stores.move_journal,
            stores.ledger,
            pipeline.client,
            pipeline.admission,
            clock=clock,
            wake_signals=core.wake_signals,
            trash=Trash(os.environ),
        ),
        janitor=Janitor(core.database, core.paths.backups, clock),
        clock_monitor=ClockMonitor(
            stores.queue,
            pipeline.client,
            pipeline.admission,
            clock=clock,
            wake_signals=core.wake_signals,
            settle_s=config.settle_s,
            request_rescan=watcher.request_rescan,
        ),
        concurrency_controller=ConcurrencyController(
            stores.read_queries,
            core.wake_signals,
            pipeline.admission,
            concurrency_max=pipeline.client.connections_max,
            set_concurrency=pipeline.uploader.set_concurrency,
        ),
        metered=MeteredMonitor(stores.read_queries, core.wake_signals, pipeline.admission),
        local_server=LocalServer(core.paths, pipeline.admission, config),
    )


def build_servers(core: _Core, monitors: _Monitors, listener: socket.socket) -> _Servers:
    """Build the control API on `listener`, the web UI, and the Prometheus endpoint."""
    web = WebServer(core.paths.web_ui_file, port=core.config.ui_port, clock=core.clock, instance_id=core.instance_id)

    def actions_required() -> Sequence[ActionRequired]:
        # Called after the return of `build_servers`: the control API needs this callback before `prometheus` exists.
        return (*monitors.local_server.actions_required(), *prometheus.actions_required())

    context = build_context(core, monitors, web, extra_actions_required=actions_required)
    control = ControlServer(listener, context)
    prometheus = PrometheusServer(core.config.metrics_port, control.handlers.metrics)
    browser_uploads, routes = build_library_routes(context, control.endpoints, core.paths.browser_uploads.resolve())
    web.set_routes(control.endpoints, routes)
    return _Servers(control=control, web=web, browser_uploads=browser_uploads, prometheus=prometheus)


def build_context(
    core: _Core,
    monitors: _Monitors,
    web_ui: WebServer,
    *,
    extra_actions_required: Callable[[], Sequence[ActionRequired]],
) -> Context:
    """Bundle the dependencies of the request handlers."""
    stores, pipeline = core.stores, core.pipeline
    return Context(
        instance_id=core.instance_id,
        config=core.config,
        clock=core.clock,
        wake_signals=core.wake_signals,
        event_bus=core.event_bus,
        read_queries=stores.read_queries,
        queue=stores.queue,
        import_store=stores.import_store,
        folder_store=stores.folder_store,
        idempotency_store=stores.idempotency_store,
        settings_store=stores.settings_store,
        importer=pipeline.importer,
        watcher=monitors.watcher,
        client=pipeline.client,
        library_client=LibraryClient(pipeline.client, is_local=core.config.is_local),
        image_proxy=ImageProxy(pipeline.client, LOCAL_SERVER_URL if core.config.is_local else core.config.server),
        push_subscriptions=pipeline.push_subscriptions,
        database=core.database,
        ledger=stores.ledger,
        move_journal=stores.move_journal,
        post_upload=monitors.post_upload,
        admission=pipeline.admission,
        metrics=pipeline.metrics,
        rss=core.rss,
        adaptive_concurrency=monitors.concurrency_controller.adaptive_concurrency,
        credentials=pipeline.credentials,
        web_ui=web_ui,
        paths=core.paths,
        shutdown=core.stop.shutdown,
        restart=core.stop.restart,
        extra_actions_required=extra_actions_required,
        server_activity=monitors.local_server.activity,
    )


async def _restore_state(core: _Core) -> int:
    """Restore the pause and release the leases of the previous instance. Return the number of released items.

    The lock proves that no other instance is running, so its leases are released immediately and not after a timeout.
    """
    if await core.stores.settings_store.get("paused"):
        core.pipeline.admission.pause()
    return await core.stores.queue.release_stale(now=core.clock.now())


def list_workers(core: _Core, monitors: _Monitors, servers: _Servers, service_manager: ServiceManager) -> list[Worker]:
    """Return all workers of this configuration."""
    config, pipeline = core.config, core.pipeline
    workers: list[Worker] = [
        core.database,
        servers.control,
        pipeline.importer,
        monitors.watcher,
        pipeline.uploader,
        SilenceMonitor(pipeline.client, pipeline.admission),
        pipeline.push_client,
        pipeline.tracker,
        monitors.post_upload,
        monitors.janitor,
        monitors.clock_monitor,
        servers.web,
        servers.browser_uploads,
        EventLogger(core.event_bus, pipeline.metrics),
        RssSampler(core.rss, core.clock, core.wake_signals.events),
        Heartbeat(service_manager, core.database.ping),
        *optional_workers(config, servers.control.handlers, servers.prometheus),
    ]
    if config.is_local:
        return workers + local_workers(pipeline.admission, monitors.local_server)
    return workers + remote_workers(config, pipeline.admission, monitors.concurrency_controller, monitors.metered)


def local_workers(admission: AdmissionController, local_server: LocalServer) -> list[Worker]:
    """Return the workers for the local server, and hold uploads until it is running."""
    admission.server_starting()
    return [local_server]


def remote_workers(
    config: Config,
    admission: AdmissionController,
    concurrency_controller: ConcurrencyController,
    metered: MeteredMonitor,
) -> list[Worker]:
    """Return the workers for a shared server, reached over a network that may be metered."""
    if config.on_metered_network == "send":
        return [concurrency_controller]
    admission.suspend(CHECKING_METERED)
    return [concurrency_controller, metered]


def optional_workers(
    config: Config, handlers: RequestHandlers, prometheus_server: PrometheusServer
) -> Iterator[Worker]:
    """Yield the workers that the configuration enables."""
    if is_enabled(config.desktop_notifications, os.environ):
        yield DesktopNotifier(handlers.actions_required, notification_command(sys.platform))
    if config.metrics_port:
        yield prometheus_server


@contextmanager
def _open_listener(service_manager: ServiceManager, path: Path) -> Iterator[socket.socket]:
    """Yield the socket inherited from the service manager, or create one and remove it at the end."""
    with contextlib.ExitStack() as closing:
        inherited = service_manager.listening_socket(path)
        if inherited is None:
            closing.callback(path.unlink, missing_ok=True)
        yield closing.enter_context(inherited or bind(path))


def main() -> None:
    """Run `splootd`. The exit code tells the service manager whether a restart is useful."""
    parser = argparse.ArgumentParser(prog="splootd", description="The daemon that uploads images to the library.")
    parser.add_argument("--ready-fd", type=int, help="file descriptor to report `ready` or `error: ...` on")
    parser.add_argument("--restore", type=Path, metavar="FILE", help="replace the queue by a backup at the next start")
    parser.add_argument("--version", action="version", version=f"splootd {describe_version()}")
    arguments = parser.parse_args()
    if arguments.restore is not None:
        sys.exit(_restore(arguments.restore))
    sys.exit(_run(os.fdopen(arguments.ready_fd, "w") if arguments.ready_fd is not None else None))


def _restore(file: Path) -> int:
    """Validate a backup and stage it for the next start."""
    try:
        paths = Paths.from_environ(os.environ)
        paths.create()
        asyncio.run(recovery.stage_restore(file, paths.database))
    except (SplootError, OSError) as error:
        return _fail(error if isinstance(error, SplootError) else SplootError(str(error)), EXIT_FAILED, lambda _: None)
    return 0


def _run(ready_pipe: IO[str] | None) -> int:
    """Run the daemon; `ready_pipe` reports the outcome of the start to the parent process."""

    def report(line: str) -> None:
        if ready_pipe is not None and not ready_pipe.closed:
            with suppress(BrokenPipeError):  # the parent process has exited; the daemon continues
                ready_pipe.write(line + "\n")
                ready_pipe.close()

    service_manager = ServiceManager.from_environ(os.environ)
    if service_manager.watchdog_s:
        faulthandler.enable()  # writes all stack traces to the journal when the watchdog aborts the process

    def ready() -> None:
        service_manager.notify("READY=1", "STATUS=running")
        report("ready")

    def fail(error: SplootError, code: int) -> int:
        service_manager.reply_error(error)
        return _fail(error, code, report)

    try:
        paths = Paths.from_environ(os.environ)
        paths.create()
        config = Config.load(paths.config_file, os.environ)
        logs.configure(config.log_level, paths.log, sys.stderr if sys.stderr.isatty() else None)
        with acquire_lock(paths.lock, paths.socket):
            while asyncio.run(serve(config, paths, service_manager, ready)):
                config = Config.load(paths.config_file, os.environ)
    except AlreadyRunning as error:
        return fail(error, EXIT_ALREADY_RUNNING)
    except ConfigError as error:
        return fail(error, EXIT_CONFIG)
    except SplootError as error:
        return fail(error, EXIT_FAILED)
    except OSError as error:
        return fail(SplootError(f"splootd cannot start: {error}"), EXIT_FAILED)
    except BaseExceptionGroup as errors:
        logs.get_logger("daemon").fatal("a worker failed", exc_info=errors)
        return fail(SplootError("splootd stopped: a worker failed", "see: sploot logs"), EXIT_FAILED)
    else:
        return 0
    finally:
        logs.close()


def _fail(error: SplootError, code: int, report: Callable[[str], None]) -> int:
    sentence = f"{error.title.rstrip('.')}; {error.hint}" if error.hint else error.title
    report(f"error: {sentence}")
    print(f"splootd: {sentence}", file=sys.stderr)  # noqa: T201 - errors of the start belong on stderr
    return code
