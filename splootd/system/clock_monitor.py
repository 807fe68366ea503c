"""Detect suspend, clock jumps and network changes, and repair their effects.

Timeouts in the daemon use the monotonic clock; stored times, such as the next attempt of an item, use the wall clock.
On Linux the monotonic clock stops during suspend and is not affected when the wall clock is set, so the difference
between the two clocks shows both events. No portable notification exists: systemd-logind's PrepareForSleep needs D-Bus.

After a jump: delays computed with the old wall clock are clamped, pooled connections are replaced (after suspend the
server has closed them, which a client notices only when its next request times out), an open breaker may probe, and the
watched folders are rescanned. After a network change only the connections and the breaker are affected.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from splootd.clock import IDLE_WAKE_S, Clock
from splootd.core.backoff import DELAY_MAX_S
from splootd.core.embedding_polling import FALLBACK_POLL_DELAY_MAX_S
from splootd.errors import StoreFull
from splootd.event_bus import WakeSignals
from splootd.logs import get_logger
from splootd.remote.client import SplootClient
from splootd.store.queue import Queue
from splootd.system.network_routes import read_routes
from splootd.upload.admission import AdmissionController

MIN_INTERVAL_S = 1.0  # between two checks while events arrive
JUMP_THRESHOLD_S = 5.0  # NTP slews at most 500 ppm, 0.03 s per check
STALL_THRESHOLD_S = 30.0  # a check this late: the process (SIGSTOP) or its virtual machine was stopped


@dataclass(frozen=True, slots=True)
class ClockJump:
    """`jump_s` is how far the wall clock advanced beyond the monotonic one; `stall_s` is how late the check ran."""

    jump_s: float
    stall_s: float

    @property
    def is_significant(self) -> bool:
        """True if the jump or the stall exceeds its threshold."""
        return abs(self.jump_s) >= JUMP_THRESHOLD_S or self.stall_s >= STALL_THRESHOLD_S


class ClockMonitor:
    """Compares the clocks and the routing table about once a minute. `request_rescan` starts a scan of all folders."""

    def __init__(
        self,
        queue: Queue,
        client: SplootClient,
        admission: AdmissionController,
        *,
        clock: Clock,
        wake_signals: WakeSignals,
        settle_s: float,
        request_rescan: Callable[[], None],
        get_routes: Callable[[], frozenset[str]] = read_routes,
    ) -> None:
        self._queue = queue
        self._client = client
        self._admission = admission
        self._clock = clock
        self._wake_signals = wake_signals
        self._delay_max_s = max(settle_s, DELAY_MAX_S)
        self._request_rescan = request_rescan
        self._get_routes = get_routes
        self._last_routes = get_routes()
        self._last_times: tuple[float, float] | None = None  # wall and monotonic time
        self._log = get_logger("clock_monitor")

    async def run(self) -> None:
        """Check until cancelled. Clamp delays first: the clock may have been set while the daemon was stopped."""
        await self._clamp_delays()
        while True:
            await self.run_once()
            if await self._wake_signals.events.wait(
                self._wake_signals.events.snapshot(), self._clock.next_idle_wake_s()
            ):
                await asyncio.sleep(MIN_INTERVAL_S)

    async def run_once(self) -> ClockJump:
        """Check once; return the jump since the last check, after repairing its effects."""
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        last_wall, last_monotonic = self._last_times or (wall, monotonic)
        self._last_times = wall, monotonic
        elapsed_s = monotonic - last_monotonic
        jump = ClockJump(jump_s=wall - last_wall - elapsed_s, stall_s=elapsed_s - IDLE_WAKE_S - MIN_INTERVAL_S)
        if jump.is_significant:
            self._log.info("clock jump", jump_s=round(jump.jump_s, 1), stall_s=round(jump.stall_s, 1))
            await self._clamp_delays()
            await self._client.rotate_connections()
            self._admission.on_resume(jump.jump_s)
            self._request_rescan()
        await self._check_network()
        return jump

    async def _check_network(self) -> None:
        """Replace all connections if the routing table changed: the old ones may be dead without an error."""
        previous_routes, self._last_routes = self._last_routes, self._get_routes()
        if self._last_routes != previous_routes:
            self._log.info("network changed", routes=len(self._last_routes))
            await self._client.rotate_connections()
            self._admission.on_resume(0.0)

    async def _clamp_delays(self) -> None:
        with contextlib.suppress(StoreFull):  # retried at the next jump or start
            await self._queue.clamp_delays(
                now=self._clock.now(), delay_max_s=self._delay_max_s, poll_max_s=FALLBACK_POLL_DELAY_MAX_S
            )
