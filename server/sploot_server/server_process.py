"""Process set-up of the server: data folder lock, listening socket, signals and graceful shutdown."""

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

from sploot_server.acceptor import Acceptor
from sploot_server.config import Config, ConfigError

LOCK_POLL_S = 0.05
BACKLOG = 128


class DataDirLocked(Exception):
    """Another server holds the lock of the data folder."""


@contextlib.contextmanager
def lock_data_dir(data: Path, wait_s: float) -> Iterator[None]:
    """Lock the data folder for this process, waiting up to `wait_s` seconds for another process to release it.

    `flock` locks belong to the open file, so the kernel releases the lock when the process ends, even by SIGKILL.
    A PID file would have to be checked for staleness. Raise DataDirLocked.
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
                    raise DataDirLocked(f"Another sploot-server already serves {data}.") from error
                time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def open_listening_socket(config: Config) -> Iterator[socket.socket]:
    """Bind and listen. Call it while holding the data folder lock, so that an existing Unix socket must be stale.

    uvicorn could bind too, but it replaces the socket of a running server and sets its mode to 0666.
    """
    if config.uds is None:
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        # asyncio turns off Nagle's delay, of 40 ms in each response, only for a socket that names its protocol.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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


def format_address(listener: socket.socket, scheme: str = "http") -> str:
    """Return `unix:/path` or `http://host:port`."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


PROGRESS_INTERVAL_S = 1.0
DATE_REFRESH_S = 1.0  # resolution of the Date header


class Server(uvicorn.Server):
    """uvicorn server with own signal handling: SIGTERM or SIGINT drains, a second signal stops immediately."""

    def __init__(
        self, config: uvicorn.Config, *, on_listening: Callable[[], None], on_draining: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_listening = on_listening
        self._on_draining = on_draining
        self._stopping = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for `stop` and refresh the Date header.

        uvicorn polls `should_exit` ten times a second. The event avoids these wake-ups while the server is idle.
        """
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_REFRESH_S if self.config.date_header else None):
                    await self._stopping.wait()

    def stop(self) -> None:
        """Drain and exit; the second call exits without draining."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install the signal handlers.

        uvicorn raises the received signal again after the drain, which ends the process with a failure status. A
        drained server exits with 0.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start like uvicorn, but accept the connections of `sockets` with bounded TLS handshakes."""
        await super().startup(sockets=None if sockets is None else [])

        def create_protocol() -> asyncio.Protocol:
            protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return protocol

        acceptors = [Acceptor(each, create_protocol, self.config.ssl) for each in sockets or []]
        self.servers += acceptors  # type: ignore[arg-type]  # only their `close` and `wait_closed` are called
        self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_draining()  # push streams never end on their own; the drain would wait for them until its timeout
        await super().shutdown(sockets=sockets)


def on_stdin_closed(callback: Callable[[], object]) -> None:
    """Call `callback` when standard input reaches its end, which also happens when the parent is killed by SIGKILL."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the event loop is closed already
            callback()

    threading.Thread(target=watch, name="stdin-watch", daemon=True).start()


class ParentPipe:
    """The pipe of `--ready-fd`, on which a parent process learns the address and how far a model change is."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._next_at = 0.0
        if fd is not None:
            os.set_blocking(fd, False)  # a parent that reads no further must not stop the server

    def send_address(self, address: str) -> None:
        """Send the address, the first line."""
        self._send(address)

    def send_progress(self, done: int, total: int) -> None:
        """Send how many contents a new model has read, at most one line a second, and the end of it."""
        if done == total or time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + PROGRESS_INTERVAL_S
            self._send(f"reading {done} {total}")

    def _send(self, line: str) -> None:
        if self._fd is not None:
            with contextlib.suppress(BrokenPipeError, BlockingIOError):
                os.write(self._fd, f"{line}\n".encode())


def _remove_stale(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"--uds {path} exists and is not a socket; choose another path or remove the file.")
    path.unlink()
