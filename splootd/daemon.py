"""The composition root: open, build in the order of the walk, one line per worker, close in reverse."""

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from splootd import __version__, logs
from splootd.assembly import Tables, Walk
from splootd.bus import Bells, Bus
from splootd.clock import Clock
from splootd.config import Config, Paths
from splootd.control.door import Control, bind
from splootd.control.numbers import Sampler
from splootd.control.parts import Parts
from splootd.control.scrape import Scrape
from splootd.errors import AlreadyRunning, ConfigError, SplootError
from splootd.lock import locked
from splootd.metrics.memory import Memory
from splootd.notify import Heartbeat, Supervisor
from splootd.page.contents import contents
from splootd.page.door import Door
from splootd.staff import Worker, guests, hosts, listeners
from splootd.store import rescue
from splootd.work.aftercare import Aftercare
from splootd.work.chronicle import Chronicle
from splootd.work.courtesy import Courtesy
from splootd.work.embedded import EmbeddedLibrary
from splootd.work.janitor import Janitor
from splootd.work.metered import Metered
from splootd.work.timekeeper import Timekeeper
from splootd.work.trash import Trash
from splootd.work.watcher import Watcher

EXIT_FAILED = 1
EXIT_ALREADY_RUNNING = 75
EXIT_CONFIG = 78


async def serve(config: Config, paths: Paths, supervisor: Supervisor, ready: Callable[[], None]) -> None:
    """Run the daemon until it is told to stop. `ready` is called when commands are answered."""
    clock, bells, boot, stop = Clock(), Bells(), secrets.token_hex(8), asyncio.Event()
    log = logs.logger("daemon", boot=boot)
    async with AsyncExitStack() as closing:
        listener = closing.enter_context(_listening(supervisor, paths.socket))

        closing.enter_context(rescue.doubting(paths.database))
        database = await rescue.opened(paths.database, paths.backups, now=clock.now())
        closing.push_async_callback(database.close)
        tables = await Tables.of(database, config.server, boot=boot, bells=bells)
        walk = Walk.over(tables, config, paths, clock=clock, bells=bells)
        server, gate, traffic, inbox, listing = walk.server, walk.gate, walk.traffic, walk.inbox, tables.listing
        closing.push_async_callback(server.close)

        memory, bus = Memory(), Bus()
        watcher = Watcher(tables.arrivals, walk.intake, clock, config)
        courtesy = Courtesy(listing, bells, gate, lanes_max=server.uploads_max, allow=walk.uploader.allow)
        metered = Metered(listing, bells, gate)
        trash = Trash(os.environ)
        aftercare = Aftercare(tables.moves, tables.ledger, server, gate, clock=clock, bells=bells, trash=trash)
        janitor = Janitor(database, paths.backups, clock)
        timekeeper = Timekeeper(
            tables.queue,
            server,
            gate,
            clock=clock,
            bells=bells,
            settle_s=config.settle_s,
            look_again=watcher.look_again,
        )
        library = EmbeddedLibrary(paths, gate, idle_s=config.library_idle_s)
        page = Door(paths.page, port=config.page_port, clock=clock, boot=boot)
        parts = Parts(
            boot=boot,
            config=config,
            clock=clock,
            bells=bells,
            bus=bus,
            listing=listing,
            queue=tables.queue,
            arrivals=tables.arrivals,
            intake=walk.intake,
            watcher=watcher,
            server=server,
            inbox=inbox,
            database=database,
            ledger=tables.ledger,
            moves=tables.moves,
            aftercare=aftercare,
            gate=gate,
            traffic=traffic,
            memory=memory,
            backlog=courtesy.backlog,
            credentials=walk.credentials,
            page=page,
            shutdown=stop.set,
            more_needs=lambda: (*library.needs(), *scrape.needs()),
        )
        control = Control(listener, parts)
        drop, shown = contents(parts, control.endpoints, paths.dropped.resolve())
        page.serve(control.endpoints, shown)
        scrape = Scrape(config.metrics_port, control.answers.metrics)

        if await listing.setting("paused"):
            gate.pause()
        handed_back = await tables.queue.recover(now=clock.now())
        log.info("started", version=__version__, pid=os.getpid(), server=config.server, handed_back=handed_back)
        workers: list[Worker] = [database, control, walk.intake, watcher, walk.uploader, walk.feed, walk.tracker]
        workers += [aftercare, janitor, timekeeper, page, drop]
        workers += [Chronicle(bus, traffic), Sampler(memory, clock, bells.news), Heartbeat(supervisor, database.touch)]
        workers += listeners(config, control.answers, scrape)
        workers += hosts(gate, library) if config.is_local else guests(config, gate, courtesy, metered)
        gc.freeze()  # all this stays; to look through it for garbage, every few seconds, holds up every lane for 40 ms
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(worker.run(), name=type(worker).__name__) for worker in workers]
            _stop_on_signals(stop)
            ready()
            await stop.wait()
            log.info("draining")
            control.drain()
            await walk.uploader.drain()
            control.close()
            for task in running:
                task.cancel()
    log.info("stopped")


@contextmanager
def _listening(supervisor: Supervisor, path: Path) -> Iterator[socket.socket]:
    """The socket that was handed over, or else one of our own, which leaves with us."""
    with contextlib.ExitStack() as closing:
        handed = supervisor.listener(path)
        if handed is None:
            closing.callback(path.unlink, missing_ok=True)
        yield closing.enter_context(handed or bind(path))


def _stop_on_signals(stop: asyncio.Event) -> None:
    """The first SIGTERM or SIGINT drains, a second one ends at once: every row is safe either way."""

    def told() -> None:
        if stop.is_set():
            os._exit(EXIT_FAILED)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told)


def main() -> None:
    """Run `splootd`; the exit code says what a service manager should make of its end."""
    parser = argparse.ArgumentParser(prog="splootd", description="The daemon that takes every meme to the library.")
    parser.add_argument("--ready-fd", type=int, help="a file descriptor to say `ready` on, or `error: ...`")
    parser.add_argument(
        "--restore", type=Path, metavar="FILE", help="let a copy of the queue take its place at the next start"
    )
    parser.add_argument("--version", action="version", version=f"splootd {__version__}")
    arguments = parser.parse_args()
    if arguments.restore is not None:
        sys.exit(_restore(arguments.restore))
    sys.exit(_run(os.fdopen(arguments.ready_fd, "w") if arguments.ready_fd is not None else None))


def _restore(file: Path) -> int:
    """Check a copy of the queue, and lay it ready for the next start."""
    try:
        paths = Paths.find(os.environ)
        paths.make()
        asyncio.run(rescue.stage(file, paths.database))
    except (SplootError, OSError) as error:
        return _fail(error if isinstance(error, SplootError) else SplootError(str(error)), EXIT_FAILED, lambda _: None)
    return 0


def _run(waiting: IO[str] | None) -> int:
    """Run to the end; `waiting` is the pipe of whoever started us and wants to know."""

    def say(line: str) -> None:
        if waiting is not None and not waiting.closed:
            with suppress(BrokenPipeError):  # whoever asked has left; the daemon is there all the same
                waiting.write(line + "\n")
                waiting.close()

    supervisor = Supervisor.of(os.environ)
    if supervisor.watchdog_s:
        faulthandler.enable()  # whoever is stuck when the watchdog bites is named in the journal

    def ready() -> None:
        supervisor.say("READY=1", "STATUS=at work")
        say("ready")

    def fail(error: SplootError, code: int) -> int:
        supervisor.excuse(error)
        return _fail(error, code, say)

    try:
        paths = Paths.find(os.environ)
        paths.make()
        config = Config.load(paths.config_file, os.environ)
        logs.set_up(config.log_level, paths.log, sys.stderr if sys.stderr.isatty() else None)
        with locked(paths.lock):
            asyncio.run(serve(config, paths, supervisor, ready))
    except AlreadyRunning as error:
        return fail(error, EXIT_ALREADY_RUNNING)
    except ConfigError as error:
        return fail(error, EXIT_CONFIG)
    except SplootError as error:
        return fail(error, EXIT_FAILED)
    except OSError as error:
        return fail(SplootError(f"splootd cannot start: {error}"), EXIT_FAILED)
    except BaseExceptionGroup as errors:
        logs.logger("daemon").fatal("a worker failed", exc_info=errors)
        return fail(SplootError("splootd stopped: a worker failed", "sploot logs says why"), EXIT_FAILED)
    else:
        return 0
    finally:
        logs.close()


def _fail(error: SplootError, code: int, say: Callable[[str], None]) -> int:
    sentence = f"{error.title}; {error.hint}" if error.hint else error.title
    say(f"error: {sentence}")
    print(f"splootd: {sentence}", file=sys.stderr)  # noqa: T201 - the last words of a program belong on stderr
    return code
