"""Sends less at once while the server still works on what it has got."""

import asyncio
from collections.abc import Callable

from splootd.bus import Bells
from splootd.core.backlog import LOOK_INTERVAL_S, Backlog
from splootd.core.item import State
from splootd.errors import StoreError
from splootd.gate import Gate
from splootd.logs import logger
from splootd.store.listing import Listing


class Courtesy:
    """Looks at the server's backlog while there is something to send. `allow` is told how many uploads at once.

    It is for servers that are shared: the embedded library's backlog is rows on the same disk, and in nobody's way.
    """

    def __init__(
        self, listing: Listing, bells: Bells, gate: Gate, *, lanes_max: int, allow: Callable[[int], None]
    ) -> None:
        self.backlog = Backlog(lanes_max)
        self._listing = listing
        self._bells = bells
        self._gate = gate
        self._allow = allow
        self._log = logger("courtesy")

    async def run(self) -> None:
        while True:
            ticket = self._bells.work.ticket()
            try:
                is_needed = await self.run_once()
            except StoreError as error:
                self._log.warning("backlog unknown", error=error.title)
                is_needed = True
            if is_needed:
                await asyncio.sleep(LOOK_INTERVAL_S)
            else:
                await self._bells.work.wait(ticket, None)

    async def run_once(self) -> bool:
        """One look. False when there is nothing to send, so that nothing need be looked at either."""
        counts = (await self._listing.counts()).by_state
        embedding, before = counts[State.EMBEDDING], self.backlog.lanes
        lanes = self.backlog.seen(embedding)
        if lanes != before:
            self._allow(lanes)
            self._log.info("lanes", allowed=lanes, of=self.backlog.lanes_max, embedding=embedding)
        is_slowed = lanes < self.backlog.lanes_max
        self._gate.remark = _sentence(embedding, lanes, self.backlog.lanes_max) if is_slowed else None
        return is_slowed or counts[State.PENDING] + counts[State.UPLOADING] > 0


def _sentence(embedding: int, lanes: int, lanes_max: int) -> str:
    return f"the server is still making {embedding:,} files searchable, so {lanes} of {lanes_max} connections send"
