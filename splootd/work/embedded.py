"""The embedded library: a `sploot-server` of our own, started as a child, watched over and started again."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from splootd.config import Paths
from splootd.gate import Gate
from splootd.logs import logger
from splootd.protocol import Need

READY_TIMEOUT_S = 30.0
RESTART_DELAY_S = 1.0
RESTART_DELAY_MAX_S = 60.0
STEADY_S = 60.0
DRAIN_S = 10.0
NOT_INSTALLED = 78
NICENESS = 10  # it works in the background, while somebody may wait for a command or for the daemon
NICE_TRIES = 10
NICE_PAUSE_S = 0.1
PROGRAM: Sequence[str] = ("-m", "sploot_server")
ANOTHERS = "SPLOOT_SERVER_"  # variables that tell a server for a team where its library is


class EmbeddedLibrary:
    """Runs the server on a socket in the state folder. The rest of the daemon speaks to it as to any other Sploot.

    The child watches its standard input: when this process dies, however it dies, the child drains and ends.
    """

    def __init__(self, paths: Paths, gate: Gate, *, idle_s: float) -> None:
        self._paths = paths
        self._gate = gate
        self._idle_s = idle_s
        self._child: asyncio.subprocess.Process | None = None
        self._is_missing = False
        self._log = logger("embedded")

    def needs(self) -> tuple[Need, ...]:
        """What only the user can do for it."""
        if not self._is_missing:
            return ()
        return (Need("the embedded library is not installed", 1, "pip install 'sploot[local]'"),)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.returncode is None else None

    async def run(self) -> None:
        delay_s = RESTART_DELAY_S
        while True:
            lived_s, code = await self.run_once()
            delay_s = RESTART_DELAY_S if lived_s > STEADY_S else delay_s
            self._is_missing = code == NOT_INSTALLED
            if self._is_missing:
                delay_s = RESTART_DELAY_MAX_S
                self._gate.server_down(f"the embedded library cannot start: {self._last_words()}")
            else:
                self._gate.server_down(
                    f"the embedded library stopped (exit {code}) and starts again in {delay_s:.0f} s"
                )
            self._log.warning("library stopped", exit=code, again_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RESTART_DELAY_MAX_S)

    async def run_once(self) -> tuple[float, int]:
        """One life of the child: how long it was there, in seconds, and its exit code."""
        loop = asyncio.get_running_loop()
        ready, child_end = os.pipe()
        started_at = loop.time()
        try:
            self._child = await self._start(child_end)
        finally:
            os.close(child_end)
        try:
            await step_back(self._child.pid)
            if await _first_line(ready):
                self._log.info("library ready", pid=self._child.pid)
                self._gate.server_up()
            code = await self._child.wait()
        finally:
            await self.close()
        return loop.time() - started_at, code

    async def close(self) -> None:
        """Let the child drain; insist after `DRAIN_S`."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        assert child.stdin is not None
        child.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await child.wait()
        if child.returncode is None:
            child.kill()
            await child.wait()

    async def _start(self, ready: int) -> asyncio.subprocess.Process:
        arguments = [
            *("--data", str(self._paths.library), "--uds", str(self._paths.library_socket)),
            *("--worker-idle", str(self._idle_s), "--take-files", "--exit-with-stdin"),
            *("--ready-fd", str(ready)),
        ]
        # Its last words go to a file of their own: the program itself logs there too, as soon as it can.
        with self._words.open("ab") as words:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *PROGRAM,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=words,
                stderr=words,
                pass_fds=(ready,),
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.startswith(ANOTHERS)},
            )

    @property
    def _words(self) -> Path:
        return self._paths.state / "library.log"

    def _last_words(self) -> str:
        """The last line that the child wrote: for a missing package it says what to install."""
        with contextlib.suppress(OSError):
            lines = self._words.read_bytes()[-4096:].decode("utf-8", "replace").strip().splitlines()
            if lines:
                return lines[-1]
        return f"see {self._words}"


async def step_back(session: int) -> None:
    """Let everybody else go before a process that leads its session.

    Linux shares processors among sessions, before it does within one: see sched(7). It takes the niceness of one of
    them in 100 ms, from all users together.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, session, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    for _ in range(NICE_TRIES):
        if _is_settled(Path(f"/proc/{session}/autogroup")):
            break
        await asyncio.sleep(NICE_PAUSE_S)


def _is_settled(autogroup: Path) -> bool:
    """Whether its niceness was taken, or never will be."""
    try:
        autogroup.write_text(str(NICENESS))
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    return True


async def _first_line(pipe: int) -> bool:
    """Whether a line came through `pipe` before its other end closed or the time ran out. Closes `pipe`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb"))
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            return bool(await reader.readline())
    except TimeoutError:
        return False
    finally:
        transport.close()
