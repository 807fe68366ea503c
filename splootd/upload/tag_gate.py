"""Tags of uploads: new ones are created by one upload at a time, and rejected ones stop at the first file."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from splootd.clock import Clock
from splootd.errors import TagsRejected
from splootd.text import display_name

KNOWN_TAGS_MAX = 10_000
REJECTED_TAGS_TTL_S = 60.0  # so long, files with the same tags are not sent


class TagGate:
    """Knows which tags the server has, and which it has just rejected."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: set[str] = set()
        self._rejected: dict[Sequence[str], tuple[TagsRejected, float]] = {}  # each until a monotonic time
        self._new_tags_lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def serialize_new(self, tags: Sequence[str]) -> AsyncIterator[None]:
        """Allow only one upload with new tags at a time: two that create the same tag make Sploot reject one."""
        async with contextlib.AsyncExitStack() as held_lock:
            if not self._known.issuperset(tags):
                await held_lock.enter_async_context(self._new_tags_lock)
                if self._known.issuperset(tags):  # the upload before has created them
                    await held_lock.aclose()
            try:
                yield
            except TagsRejected as error:
                if self._rejection(tags) is None:
                    self._rejected[tags] = (error, self._clock.monotonic() + REJECTED_TAGS_TTL_S)
                raise
            if len(self._known) < KNOWN_TAGS_MAX:
                self._known.update(tags)

    def check(self, tags: Sequence[str], path: bytes) -> None:
        """Raise the server's rejection of the same tags, if it was recent: the file would be sent for nothing."""
        if error := self._rejection(tags):
            raise TagsRejected(f"{display_name(path)} was not sent: {error.title}", status=error.status)

    def _rejection(self, tags: Sequence[str]) -> TagsRejected | None:
        error, until = self._rejected.get(tags, (None, 0.0))
        return error if self._clock.monotonic() < until else None
