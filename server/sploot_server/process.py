"""The server as a process: one per data folder, a socket of its own making, and an orderly end."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from sploot_server.config import Config, ConfigError

LOCK_POLL_S = 0.05
BACKLOG = 128


class Occupied(Exception):
    """Another server owns the data folder."""


@contextlib.contextmanager
def owned(data: Path, wait_s: float) -> Iterator[None]:
    """Hold the data folder for this process, waiting up to `wait_s` for a predecessor that is going away.

    The lock is held by an open file, so it ends with the process however that ends. Raises Occupied.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise Occupied(f"Another sploot-server already serves {data}.") from error
                time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def listening(config: Config) -> Iterator[socket.socket]:
    """The bound socket. Use it while the data folder is owned: a Unix socket found there is then a stale one.

    Not left to uvicorn, which takes over the path of a living server and opens it to everybody.
    """
    if config.uds is None:
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address: tuple[str, int] | str = (config.host, config.port)
    else:
        _remove_stale(config.uds)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        address = str(config.uds)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Cannot listen on {config.uds or f'{config.host}:{config.port}'}: {error.strerror}."
        ) from error
    with listener:
        listener.listen(BACKLOG)
        yield listener
    if config.uds is not None:
        config.uds.unlink(missing_ok=True)


def address_of(listener: socket.socket, scheme: str = "http") -> str:
    """`unix:/path` or `http://host:port`."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


DATED_S = 1.0  # how old the date of an answer may be


class Server(uvicorn.Server):
    """uvicorn, told by us when to stop: SIGTERM or SIGINT drains, a second one stops at once."""

    def __init__(
        self, config: uvicorn.Config, *, on_listening: Callable[[], None], on_draining: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_listening = on_listening
        self._on_draining = on_draining
        self._stopping = asyncio.Event()

    async def main_loop(self) -> None:
        """Uvicorn looks ten times a second whether it is to stop. What it does besides is to date its answers."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATED_S if self.config.date_header else None):
                    await self._stopping.wait()

    def stop(self) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own way ends the process by the signal it got; a drained end is a success."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_draining()  # what would go on for ever must be told to end
        await super().shutdown(sockets=sockets)


def when_stdin_ends(then: Callable[[], object]) -> None:
    """Call `then` once standard input is at its end: so a child learns of its parent's death, even by SIGKILL."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            then()

    threading.Thread(target=watch, name="stdin-watch", daemon=True).start()


def _remove_stale(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"--uds {path} is there already and is not a socket; it was left alone.")
    path.unlink()
