"""News of assets: who waits for one hears when its embedding has ended, or when it was hidden, restored or removed.

News is a hint, the database is the truth: whoever is told reads again. Within one process that is all; between
processes a `Relay` carries what is told here to the others, and what is told there to here: by the database itself
(`notify_postgres.py`) or by Redis (`notify_redis.py`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog

OUTBOX_MAX = 10_000  # news that wait to be carried; then the oldest are lost, and others find out when they look
PAUSES_S = (0.1, 0.5, 2.0, 5.0, 10.0)  # before the line to the others is made anew

logger = structlog.get_logger()


class Kind(StrEnum):
    """What happened."""

    ENDED = "ended"  # an embedding is ready, or has failed
    CHANGED = "changed"  # an asset was hidden, restored or removed
    WORK = "work"  # there are pictures to be read


@dataclass(frozen=True, slots=True)
class News:
    kind: Kind
    asset_id: str = ""


class Notifier:
    """Tells those in this process; `carry` takes what is to be told to the others, too."""

    def __init__(self, carry: Callable[[News], None] | None = None) -> None:
        self._carry = carry
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._hearing: set[Callable[[str | None], None]] = set()
        self._working: set[Callable[[], None]] = set()

    def publish(self, asset_id: str) -> None:
        """An asset was hidden, restored or removed."""
        self._publish(News(Kind.CHANGED, asset_id))

    def publish_end(self, asset_id: str) -> None:
        """This asset's embedding has ended, well or not."""
        self._publish(News(Kind.ENDED, asset_id))

    def publish_work(self) -> None:
        """There are pictures to be read."""
        self._publish(News(Kind.WORK))

    def tell(self, news: News) -> None:
        """Tell those in this process."""
        if news.kind is Kind.WORK:
            for rung in self._working:
                rung()
            return
        for event in self._waiting.get(news.asset_id, ()):
            event.set()
        for told in self._hearing:
            told(news.asset_id if news.kind is Kind.CHANGED else None)

    def tell_missed(self) -> None:
        """Others may have told something that was not heard: let everybody look."""
        for events in self._waiting.values():
            for event in events:
                event.set()
        for told in self._hearing:
            told(None)
        for rung in self._working:
            rung()

    @contextlib.contextmanager
    def subscribe(self, asset_id: str) -> Iterator[asyncio.Event]:
        """An event that is set by news of this asset. Subscribe first, then read the state: nothing falls between."""
        event = asyncio.Event()
        self._waiting.setdefault(asset_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[asset_id].discard(event)
            if not self._waiting[asset_id]:
                del self._waiting[asset_id]

    @contextlib.contextmanager
    def hear(self, told: Callable[[str | None], None]) -> Iterator[None]:
        """Have `told` called with every asset that was changed, and with None when embeddings have ended.

        It must be quick, and not raise.
        """
        self._hearing.add(told)
        try:
            yield
        finally:
            self._hearing.discard(told)

    @contextlib.contextmanager
    def hear_work(self, rung: Callable[[], None]) -> Iterator[None]:
        """Have `rung` called when there are pictures to be read. It must be quick, and not raise."""
        self._working.add(rung)
        try:
            yield
        finally:
            self._working.discard(rung)

    def _publish(self, news: News) -> None:
        self.tell(news)
        if self._carry is not None:
            self._carry(news)


class Line(Protocol):
    """A connection to the others."""

    async def send(self, news: News) -> None:
        """Raises Unreachable."""

    async def hear(self) -> None:
        """Pass on what the others tell, for as long as the line holds. Raises Unreachable."""


class Relay:
    """Keeps a line to the others, which is made anew with growing pauses when it is lost."""

    def __init__(
        self, connect: Callable[[Callable[[News], None]], contextlib.AbstractAsyncContextManager[Line]]
    ) -> None:
        self._connect = connect
        self._outbox: asyncio.Queue[News] = asyncio.Queue(OUTBOX_MAX)
        self.connected = False

    def carry(self, news: News) -> None:
        """Take what is to be told to the others."""
        if self._outbox.full():
            self._outbox.get_nowait()
        self._outbox.put_nowait(news)

    async def run(self, notifier: Notifier) -> None:
        """Until cancelled."""
        faults = 0
        while True:
            try:
                async with self._connect(notifier.tell) as line, asyncio.TaskGroup() as both:
                    both.create_task(self._send(line))
                    both.create_task(line.hear())
                    self.connected, faults = True, 0
                    logger.info("hearing of others")
                    notifier.tell_missed()
            except* Exception as errors:  # noqa: BLE001 - whatever it was: without a line, others are not heard
                logger.warning("others are not heard", reason=str(errors.exceptions[0]))
            finally:
                self.connected = False
            await asyncio.sleep(PAUSES_S[min(faults, len(PAUSES_S) - 1)])
            faults += 1

    async def _send(self, line: Line) -> None:
        while True:
            await line.send(await self._outbox.get())
