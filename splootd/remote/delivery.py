"""How one content is handed over: ask by hash, send, and when the answer is missing ask by hash again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from splootd.clock import Clock
from splootd.core.failure import Fault
from splootd.errors import BadAnswer, BrokenOff, Refused, ServerError, ServerFault
from splootd.remote.answers import Found, Limits
from splootd.remote.api import Server
from splootd.work.files import Content

LIMITS_S = 3_600.0  # for so long they are believed
RESOLVE_S = 20.0  # for the question what became of an upload
TAGS_KNOWN_MAX = 10_000

_UNCLEAR = (BrokenOff, ServerFault, BadAnswer)


class ServerSick(ServerError):
    """The server fails on what it must be able to do for any content."""

    fault = Fault.SERVER_SICK


@dataclass(frozen=True, slots=True)
class Delivered:
    """The library has the content. `sent_bytes` went over the line for it, `embedded`: it is searchable already."""

    asset_id: str
    duplicate: bool
    embedded: bool
    sent_bytes: int


class Delivery:
    """The manners that Sploot needs: one content at a time is the caller's part, all else is here.

    A ServerFault, BrokenOff or BadAnswer that leaves here is about the content, since the server answered the question
    that followed; ServerSick says that it did not.
    """

    def __init__(self, server: Server, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._limits: Limits | None = None
        self._limits_until = 0.0  # monotonic
        self._asking = asyncio.Lock()
        self._tags_known: set[str] = set()
        self._introducing = asyncio.Lock()

    async def limits(self) -> Limits:
        """What the server takes. The first call of a run, made alone: two at once can break a brand-new account."""
        async with self._asking:
            if self._limits is None or self._clock.monotonic() >= self._limits_until:
                try:
                    self._limits = await self._server.limits()
                except _UNCLEAR as error:
                    raise ServerSick(error.title, error.hint, status=error.status) from error
                self._limits_until = self._clock.monotonic() + LIMITS_S
            return self._limits

    @contextlib.asynccontextmanager
    async def introduced(self, tags: Sequence[str]) -> AsyncIterator[None]:
        """Hold back all but one upload with tags that are new here: two at once make Sploot refuse one."""
        async with contextlib.AsyncExitStack() as alone:
            if not self._tags_known.issuperset(tags):
                await alone.enter_async_context(self._introducing)
                if self._tags_known.issuperset(tags):  # by the one before
                    await alone.aclose()
            yield

    async def deliver(self, content: Content, *, tags: Sequence[str], sent: Callable[[int], None]) -> Delivered:
        """See to it that the library has the content; `sent` hears how many bytes have gone out."""
        if there := await self.find(content):
            return there
        try:
            stored = await self._server.upload(content, tags=tags, sent=sent)
        except Refused:
            self._limits = None  # perhaps they have changed
            raise
        except _UNCLEAR as error:
            found = await self._resolve(content, error)
            if found is None:
                raise
            embedded = self._is_embedded(found)
            return Delivered(found.asset_id, duplicate=False, embedded=embedded, sent_bytes=content.size)
        if not stored.duplicate and len(self._tags_known) < TAGS_KNOWN_MAX:
            self._tags_known.update(tags)  # a duplicate's tags are ignored by Sploot
        return Delivered(stored.asset_id, stored.duplicate, embedded=False, sent_bytes=content.size)

    async def find(self, content: Content) -> Delivered | None:
        """Ask whether the library has the content. ServerSick when it cannot even say that."""
        found = await self._check(content)
        if found is None:
            return None
        return Delivered(found.asset_id, duplicate=True, embedded=self._is_embedded(found), sent_bytes=0)

    async def _check(self, content: Content) -> Found | None:
        try:
            return await self._server.check(content.sha256)
        except _UNCLEAR as error:
            raise ServerSick(error.title, error.hint, status=error.status) from error

    async def _resolve(self, content: Content, error: ServerError) -> Found | None:
        """What became of an upload whose answer is missing or odd."""
        try:
            async with asyncio.timeout(RESOLVE_S):
                return await self._check(content)
        except TimeoutError:
            raise ServerSick(f"{error.title}, and since then the server does not answer") from error

    def _is_embedded(self, found: Found) -> bool:
        """Sploot says so of a failed embedding, too: there the tracker must find out."""
        return found.embedded and self._limits is not None and self._limits.tells_embedding_states
