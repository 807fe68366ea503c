"""Notices when the machine has slept, its clock was set or its network is another one, and makes good what that upset.

Whoever waits here waits in running time, which neither jumps nor goes on during sleep; times that are kept are wall
times. When the two come apart, what was put off by the wall clock is bounded again, lines to the server are taken for
dead, an open breaker may probe, and the folders are looked at. On another network the old lines lead nowhere.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from splootd.bus import Bells
from splootd.clock import BEAT_S, Clock
from splootd.core.awaited import CHECK_AGAIN_MAX_S
from splootd.core.retry import DELAY_MAX_S
from splootd.errors import StoreFull
from splootd.gate import Gate
from splootd.logs import logger
from splootd.remote.api import Server
from splootd.store.queue import Queue
from splootd.work.routes import routes

BREATH_S = 1.0  # the same, however much happens
JUMP_S = 5.0  # what no slewing of a clock makes up in one beat
STALL_S = 30.0  # so much later than it should have been: this process was stopped, or its machine


@dataclass(frozen=True, slots=True)
class Lost:
    """`jump_s`: how far the wall clock went beyond the running one; `stall_s`: how much later than expected we came."""

    jump_s: float
    stall_s: float

    @property
    def is_upsetting(self) -> bool:
        return abs(self.jump_s) >= JUMP_S or self.stall_s >= STALL_S


class Timekeeper:
    """`settle_s` is how long a file rests before it is sent; `look_again` lets the watcher check its folders."""

    def __init__(
        self,
        queue: Queue,
        server: Server,
        gate: Gate,
        *,
        clock: Clock,
        bells: Bells,
        settle_s: float,
        look_again: Callable[[], None],
        ways: Callable[[], frozenset[str]] = routes,
    ) -> None:
        self._queue = queue
        self._server = server
        self._gate = gate
        self._clock = clock
        self._bells = bells
        self._delay_max_s = max(settle_s, DELAY_MAX_S)
        self._look_again = look_again
        self._ways = ways
        self._ways_seen = ways()
        self._seen: tuple[float, float] | None = None  # wall and running time
        self._log = logger("timekeeper")

    async def run(self) -> None:
        await self._bound()
        while True:
            await self.run_once()
            if await self._bells.news.wait(self._bells.news.ticket(), self._clock.idle_s()):
                await asyncio.sleep(BREATH_S)

    async def run_once(self) -> Lost:
        """What was lost since the last call, made good."""
        wall, running = self._clock.now(), self._clock.monotonic()
        then_wall, then_running = self._seen or (wall, running)
        self._seen = wall, running
        passed_s = running - then_running
        lost = Lost(jump_s=wall - then_wall - passed_s, stall_s=passed_s - BEAT_S - BREATH_S)
        if lost.is_upsetting:
            self._log.info("time was lost", jump_s=round(lost.jump_s, 1), stall_s=round(lost.stall_s, 1))
            await self._bound()
            await self._server.renew()
            self._gate.awakened(lost.jump_s)
            self._look_again()
        await self._heed_network()
        return lost

    async def _heed_network(self) -> None:
        """Lines that were made by other ways may be dead without ever saying so."""
        before, self._ways_seen = self._ways_seen, self._ways()
        if self._ways_seen != before:
            self._log.info("the network has changed", routes=len(self._ways_seen))
            await self._server.renew()
            self._gate.awakened(0.0)

    async def _bound(self) -> None:
        with contextlib.suppress(StoreFull):  # the next jump, or start, does it
            await self._queue.bound_waits(
                now=self._clock.now(), delay_max_s=self._delay_max_s, ask_max_s=CHECK_AGAIN_MAX_S
            )
