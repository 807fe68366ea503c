"""Stop the daemon on SIGTERM, SIGINT or a request."""

import asyncio
import os
import signal
from pathlib import Path

from splootd.lock import clear_holder

EXIT_FAILED = 1


class StopRequest:
    """Ends the run of the daemon: for good, or to start again with a changed configuration."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_restart = False

    def shutdown(self) -> None:
        self._event.set()

    def restart(self) -> None:
        self.is_restart = True
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


def stop_on_signals(stop: StopRequest, lock: Path) -> None:
    """Shut down on the first signal; exit immediately on the second: committed rows are safe either way.

    Both are a stop that the user wants, so the second empties the lock file at `lock` as an orderly end does.
    """

    def on_signal() -> None:
        if stop.is_set():
            clear_holder(lock)
            os._exit(EXIT_FAILED)
        stop.shutdown()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
