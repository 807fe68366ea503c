"""Run the local server: a `sploot-server` child process, restarted when it exits."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from splootd.config import Config, Paths
from splootd.logs import get_logger
from splootd.protocol import ActionRequired
from splootd.upload.admission import AdmissionController

READY_TIMEOUT_S = 30.0
RESTART_DELAY_S = 1.0
RESTART_DELAY_MAX_S = 60.0
STABLE_AFTER_S = 60.0
DRAIN_TIMEOUT_S = 10.0
EXIT_NOT_INSTALLED = 78
NICENESS = 10  # commands and the daemon have priority over background embedding
AUTOGROUP_TRIES_MAX = 10
AUTOGROUP_RETRY_DELAY_S = 0.1
PROGRAM: Sequence[str] = ("-m", "sploot_server")
SERVER_ENV_PREFIX = "SPLOOT_SERVER_"  # settings of a separately run sploot-server; not inherited


class LocalServer:
    """Runs the server on a socket in the state folder. The same client works with it and with a remote server.

    The child exits when its standard input closes. The kernel closes the pipe however this process ends, also by
    SIGKILL, where no cleanup code runs; PR_SET_PDEATHSIG would be Linux-only and tied to the parent thread.
    """

    def __init__(self, paths: Paths, admission: AdmissionController, config: Config) -> None:
        self._paths = paths
        self._admission = admission
        self._worker_idle_s = config.embedding_worker_idle_s
        self._types = config.library_types
        self._child: asyncio.subprocess.Process | None = None
        self._is_not_installed = False
        self._reading: str | None = None
        self._log = get_logger("local_server")

    def actions_required(self) -> tuple[ActionRequired, ...]:
        """Return the actions that the user must take."""
        if not self._is_not_installed:
            return ()
        return (ActionRequired("the local server is not installed", 1, "pip install 'sploot[local]'"),)

    def activity(self) -> str | None:
        """Return what the server does in the background that searches notice; None if nothing."""
        return self._reading

    @property
    def pid(self) -> int | None:
        """The process id of the running child."""
        return self._child.pid if self._child and self._child.returncode is None else None

    async def run(self) -> None:
        """Keep the child running until cancelled; restart it with exponential backoff."""
        delay_s = RESTART_DELAY_S
        while True:
            uptime_s, code = await self.run_once()
            delay_s = RESTART_DELAY_S if uptime_s > STABLE_AFTER_S else delay_s
            self._is_not_installed = code == EXIT_NOT_INSTALLED
            if self._is_not_installed:
                delay_s = RESTART_DELAY_MAX_S
                self._admission.server_down(f"the local server cannot start: {self._last_output_line()}")
            else:
                self._admission.server_down(f"the local server stopped (exit code {code}); restarts in {delay_s:.0f} s")
            self._log.warning("local server stopped", exit_code=code, restart_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RESTART_DELAY_MAX_S)

    async def run_once(self) -> tuple[float, int]:
        """Run the child once; return its uptime in seconds and its exit code."""
        loop = asyncio.get_running_loop()
        ready_fd, child_fd = os.pipe()
        started_at = loop.time()
        try:
            self._child = await self._start(child_fd)
        finally:
            os.close(child_fd)
        try:
            await lower_priority(self._child.pid)
            async with _open_lines(ready_fd) as lines:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(READY_TIMEOUT_S):
                        is_ready = bool(await lines.readline())
                    if is_ready:
                        self._log.info("local server ready", pid=self._child.pid)
                        self._admission.server_up()
                    await self._follow_reading(lines)
            code = await self._child.wait()
        finally:
            await self.close()
        return loop.time() - started_at, code

    async def _follow_reading(self, lines: asyncio.StreamReader) -> None:
        """Note how far a new model has read the library, until the child exits."""
        while line := (await lines.readline()).decode().split():
            done, total = map(int, line[1:])
            self._reading = f"reads the library with another model, {done:,} of {total:,}" if total else None
        self._reading = None

    async def close(self) -> None:
        """Let the child drain and exit; kill it after DRAIN_TIMEOUT_S."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        assert child.stdin is not None
        child.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await child.wait()
        if child.returncode is None:
            child.kill()
            await child.wait()

    async def _start(self, ready_fd: int) -> asyncio.subprocess.Process:
        arguments = [
            *("--data", str(self._paths.library), "--uds", str(self._paths.local_server_socket)),
            *("--worker-idle", str(self._worker_idle_s), "--allow-upload-by-path", "--exit-with-stdin"),
            *("--ready-fd", str(ready_fd)),
            *(("--types", self._types) if self._types else ()),
        ]
        # Output from before the server's logging starts, such as an import error, goes to the same file as its log.
        with self._output_path.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *PROGRAM,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(ready_fd,),
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.startswith(SERVER_ENV_PREFIX)},
            )

    @property
    def _output_path(self) -> Path:
        return self._paths.state / "library.log"

    def _last_output_line(self) -> str:
        """Return the last line of the child's output; for a missing package it names what to install."""
        with contextlib.suppress(OSError):
            lines = self._output_path.read_bytes()[-4096:].decode("utf-8", "replace").strip().splitlines()
            if lines:
                return lines[-1]
        return f"see {self._output_path}"


async def lower_priority(pid: int) -> None:
    """Lower the CPU priority of a session leader.

    setpriority alone has little effect on Linux: with autogrouping, niceness counts only within a session, so the
    session's own autogroup gets the niceness too (see sched(7)). The kernel accepts one such write per 100 ms from all
    processes together, and fails others with EAGAIN.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    for _ in range(AUTOGROUP_TRIES_MAX):
        if _set_autogroup_nice(Path(f"/proc/{pid}/autogroup")):
            break
        await asyncio.sleep(AUTOGROUP_RETRY_DELAY_S)


def _set_autogroup_nice(autogroup: Path) -> bool:
    """Return False if the kernel asks to retry (EAGAIN); True if it accepted the value or never will."""
    try:
        autogroup.write_text(str(NICENESS))
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    return True


@contextlib.asynccontextmanager
async def _open_lines(pipe: int) -> AsyncIterator[asyncio.StreamReader]:
    """Read from a pipe, and close it at the end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb"))
    try:
        yield reader
    finally:
        transport.close()
