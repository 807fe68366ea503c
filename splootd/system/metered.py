"""Suspend uploads on metered networks, as reported by NetworkManager over D-Bus."""

import asyncio
import contextlib
import json

from splootd.core.item import State
from splootd.errors import StoreError
from splootd.event_bus import WakeSignals
from splootd.logs import get_logger
from splootd.store.read_queries import ReadQueries
from splootd.upload.admission import AdmissionController

POLL_INTERVAL_S = 60.0
REPLY_TIMEOUT_S = 3.0
REPLY_BYTES_MAX = 1_000
CHECKING_METERED = "checking whether this network is metered"
METERED_NETWORK = "this network is metered"

# https://networkmanager.dev/docs/api/latest/gdbus-org.freedesktop.NetworkManager.html, property Metered
_SERVICE = "org.freedesktop.NetworkManager"
_QUERY_COMMAND = (
    *("busctl", "--system", "--auto-start=no", "--json=short", "get-property"),
    *(_SERVICE, "/org/freedesktop/NetworkManager", _SERVICE, "Metered"),
)
_METERED_VALUES = frozenset({1, 3})  # NM_METERED_YES and NM_METERED_GUESS_YES


class MeteredMonitor:
    """Queries the metered state at the start, then every POLL_INTERVAL_S while there are files to upload.

    Without an answer the network counts as not metered.
    """

    def __init__(self, listing: ReadQueries, wake_signals: WakeSignals, admission: AdmissionController) -> None:
        self._listing = listing
        self._wake_signals = wake_signals
        self._admission = admission
        self._log = get_logger("metered")

    async def run(self) -> None:
        """Poll until cancelled; wait for a wake signal while the queue is empty."""
        while True:
            snapshot = self._wake_signals.work.snapshot()
            await self.run_once()
            await asyncio.sleep(POLL_INTERVAL_S)
            if not await self._has_items_to_send():
                await self._wake_signals.work.wait(snapshot, None)

    async def run_once(self) -> None:
        """Query once; suspend or resume uploads."""
        suspend_reason = METERED_NETWORK if await is_metered() else None
        if suspend_reason != self._admission.suspend_reason:
            self._log.info("metered state changed", is_metered=suspend_reason is not None)
            self._admission.suspend(suspend_reason)

    async def _has_items_to_send(self) -> bool:
        try:
            counts = (await self._listing.counts()).by_state
        except StoreError:
            return True
        return counts[State.PENDING] + counts[State.UPLOADING] > 0


async def is_metered() -> bool:
    """Query NetworkManager; return whether the network is metered or guessed to be."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_QUERY_COMMAND,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:  # busctl is not installed
        return False
    assert process.stdout is not None
    try:
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            output = await process.stdout.read(REPLY_BYTES_MAX)
            if len(output) < REPLY_BYTES_MAX:
                await process.wait()
    except TimeoutError:
        output = b""
    finally:
        # A process that has ended must not be killed: `kill` would reap it before asyncio does, which logs a warning.
        if process.returncode is None:
            await _kill(process, process.stdout)
    return parse_metered(output)


async def _kill(process: asyncio.subprocess.Process, stdout: asyncio.StreamReader) -> None:
    """Kill the process and wait for its end.

    asyncio's `wait` returns only after the pipes are closed, and a full, paused pipe is never closed. So read it empty.
    """
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            while await stdout.read(REPLY_BYTES_MAX):
                pass
            await process.wait()


def parse_metered(output: bytes) -> bool:
    """Parse the output of busctl, such as `{"type":"u","data":1}`."""
    try:
        return json.loads(output)["data"] in _METERED_VALUES
    except (ValueError, KeyError, TypeError):
        return False
