"""How one content is handed over: ask by hash, send, and when the answer is missing ask by hash again.

Where the server offers it, the questions and the small files of several lanes travel together.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from splootd.budget import Budget
from splootd.clock import Clock
from splootd.core.fault import Fault
from splootd.errors import BadAnswer, BrokenOff, Refused, ServerError, ServerFault
from splootd.metrics.traffic import Transfer
from splootd.remote.answers import Found, Limits, Stored
from splootd.remote.api import Server
from splootd.remote.forms import Enclosed
from splootd.remote.gathering import Gathering
from splootd.remote.resumable import RESUMABLE_BYTES_MIN, Resumable, offered
from splootd.work.files import Content

LIMITS_S = 3_600.0  # for so long they are believed
RESOLVE_S = 20.0  # for the question what became of an upload
TAGS_KNOWN_MAX = 10_000
SMALL_BYTES_MAX = 64 * 1024  # up to here a file costs less to send than its request does
BUNDLE_BYTES_MAX = 1024 * 1024  # of files in one request, so that urgent ones never wait long for a line
BUNDLES_FAILED_MAX = 3  # in a row; then something between here and the server does not like them
FRAME_BYTES_MAX = 8 * 1024  # of a form, around one file

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


class Transferring(Protocol):
    """Shows one upload as under way; it `is_company` where it shares its line with another one that does so."""

    def __call__(self, *, is_company: bool = False) -> AbstractContextManager[Transfer]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """A content to be handed over. `may_go` raises when sending is held back; the smallest `rank` goes first."""

    content: Content
    tags: Sequence[str]
    rank: int
    may_go: Callable[[], None]
    transfer: Transferring


def enclosed(parcels: Sequence[Parcel], showing: contextlib.ExitStack) -> list[Enclosed]:
    """The parcels as files of one request, each shown as under way until `showing` ends."""
    files: list[Enclosed] = []
    for parcel in parcels:
        transfer = showing.enter_context(parcel.transfer(is_company=bool(files)))
        files.append(Enclosed(parcel.content, parcel.tags, transfer.progress))
    return files


class _Unbundled(Exception):
    """The request with the bundle failed, for whatever reason: nothing is known about each of its files."""

    def __init__(self, error: ServerError) -> None:
        self.error = error


class Delivery:
    """The manners that Sploot needs: one content at a time is the caller's part, all else is here.

    A ServerFault, BrokenOff or BadAnswer that leaves here is about the content, since the server answered the question
    that followed; ServerSick says that it did not. At most as many requests as there are `lines` carry contents.
    """

    def __init__(self, server: Server, clock: Clock, lines: Budget, resumable: Resumable) -> None:
        self._server = server
        self._resumable = resumable
        self._clock = clock
        self._lines = lines
        self._limits: Limits | None = None
        self._limits_until = -math.inf  # monotonic
        self._asking = asyncio.Lock()
        self._tags_known: set[str] = set()
        self._introducing = asyncio.Lock()
        self._bundles_failed = 0  # in a row, since the limits were asked for
        self._checks = Gathering(server.check_batch, line=contextlib.nullcontext, fitting=self._checks_fitting)
        self._bundles: dict[int, Gathering[Parcel, Stored]] = {}  # by rank: who is urgent waits for no others

    async def limits(self) -> Limits:
        """What the server takes. The first call of a run, made alone: two at once can break a brand-new account."""
        async with self._asking:
            if self._limits is None or self._clock.monotonic() >= self._limits_until:
                try:
                    self._limits = await self._server.limits()
                except _UNCLEAR as error:
                    raise _sick(error) from error
                self._limits_until = self._clock.monotonic() + LIMITS_S
                self._bundles_failed = 0
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

    async def deliver(self, parcel: Parcel) -> Delivered:
        """See to it that the library has the content."""
        if not self._asks_together:
            async with self._line(parcel):
                with parcel.transfer() as transfer:
                    return await self._find(parcel) or await self._upload(parcel, transfer)
        if there := await self._find(parcel):
            return there
        if not self._is_small(parcel):
            return await self._alone(parcel)
        try:
            return await self._settled(parcel, self._bundled(parcel))
        except _Unbundled as failed:
            return await self._resolved(parcel, failed.error) or await self._alone(parcel)

    async def find(self, parcel: Parcel) -> Delivered | None:
        """Ask whether the library has the content. ServerSick when it cannot even say that."""
        if self._asks_together:
            return await self._find(parcel)
        async with self._line(parcel):
            return await self._find(parcel)

    @property
    def _asks_together(self) -> bool:
        return self._limits is not None and self._limits.checks_max > 0

    def _is_small(self, parcel: Parcel) -> bool:
        """Whether it goes into a bundle."""
        limits, size = self._limits, parcel.content.size
        if limits is None or not limits.bundle_files_max or self._bundles_failed >= BUNDLES_FAILED_MAX:
            return False
        return (
            parcel.content.data is not None
            and size <= SMALL_BYTES_MAX
            and size + FRAME_BYTES_MAX <= limits.bundle_bytes_max
        )

    @contextlib.asynccontextmanager
    async def _line(self, parcel: Parcel) -> AsyncIterator[None]:
        async with self._lines.reserve(1, rank=parcel.rank):
            parcel.may_go()
            yield

    async def _alone(self, parcel: Parcel) -> Delivered:
        async with self._line(parcel):
            with parcel.transfer() as transfer:
                return await self._upload(parcel, transfer)

    async def _upload(self, parcel: Parcel, transfer: Transfer) -> Delivered:
        content, tags, sent = parcel.content, parcel.tags, transfer.progress
        if (path := self._resumable_at(content)) is None:
            return await self._settled(parcel, self._server.upload(content, tags=tags, sent=sent))
        upload = self._resumable.upload(content, path, tags=tags, transfer=transfer, may_go=parcel.may_go)
        return replace(await self._settled(parcel, upload), sent_bytes=transfer.carried)

    def _resumable_at(self, content: Content) -> str | None:
        """Where it is taken in chunks: what is large, and films, which are found by a name that no form tells."""
        is_wanted = content.size >= RESUMABLE_BYTES_MIN or content.mime.startswith("video/")
        return offered(self._limits) if self._limits and is_wanted else None

    async def _settled(self, parcel: Parcel, upload: Awaitable[Stored]) -> Delivered:
        """What an upload has led to, whatever its answer was."""
        try:
            stored = await upload
        except Refused:
            self._limits_until = -math.inf  # perhaps they have changed
            raise
        except _UNCLEAR as error:
            if delivered := await self._resolved(parcel, error):
                return delivered
            raise
        if not stored.duplicate and len(self._tags_known) < TAGS_KNOWN_MAX:
            self._tags_known.update(parcel.tags)  # a duplicate's tags are ignored by Sploot
        return Delivered(stored.asset_id, stored.duplicate, embedded=False, sent_bytes=parcel.content.size)

    async def _bundled(self, parcel: Parcel) -> Stored:
        """Send it together with what else is small and waits now."""
        bundles = self._bundles.get(parcel.rank)
        if bundles is None:
            bundles = self._bundles[parcel.rank] = Gathering(
                self._send,
                line=lambda: self._lines.reserve(1, rank=parcel.rank),
                fitting=self._bundle_fitting,
            )
        return await bundles.ask(parcel, may_go=parcel.may_go)

    async def _send(self, parcels: Sequence[Parcel]) -> Sequence[Stored | Exception]:
        with contextlib.ExitStack() as showing:
            files = enclosed(parcels, showing)
            try:
                outcomes = await self._server.upload_bundle(files)
            except _UNCLEAR as error:
                self._bundles_failed += 1
                return [_Unbundled(error)] * len(parcels)
            self._bundles_failed = 0
            return outcomes

    async def _find(self, parcel: Parcel) -> Delivered | None:
        found = await self._check(parcel.content, may_go=parcel.may_go)
        if found is None:
            return None
        return Delivered(found.asset_id, duplicate=True, embedded=self._is_embedded(found), sent_bytes=0)

    async def _check(self, content: Content, *, may_go: Callable[[], None] = lambda: None) -> Found | None:
        try:
            if self._asks_together:
                return await self._checks.ask(content.sha256, may_go=may_go)
            return await self._server.check(content.sha256)
        except _UNCLEAR as error:
            raise _sick(error) from error

    async def _resolved(self, parcel: Parcel, error: ServerError) -> Delivered | None:
        """What became of an upload whose answer is missing or odd."""
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await self._check(parcel.content)
        except TimeoutError:
            title = f"{error.title}, and since then the server does not answer"
            raise ServerSick(title, occasion=error.occasion) from error
        if found is None:
            return None
        embedded = self._is_embedded(found)
        return Delivered(found.asset_id, duplicate=False, embedded=embedded, sent_bytes=parcel.content.size)

    def _is_embedded(self, found: Found) -> bool:
        """Sploot says so of a failed embedding, too: there the tracker must find out."""
        return found.embedded and self._limits is not None and self._limits.tells_embedding_states

    def _checks_fitting(self, waiting: Sequence[bytes]) -> int:
        return min(len(waiting), self._limits.checks_max if self._limits else 1)

    def _bundle_fitting(self, waiting: Sequence[Parcel]) -> int:
        """As many of the first as the server takes in one request."""
        files_max = self._limits.bundle_files_max if self._limits else 1
        left = min(BUNDLE_BYTES_MAX, self._limits.bundle_bytes_max if self._limits else 0)
        count = 0
        for parcel in waiting[:files_max]:
            left -= parcel.content.size + FRAME_BYTES_MAX
            if left < 0:
                break
            count += 1
        return max(1, count)


def _sick(error: ServerError) -> ServerSick:
    return ServerSick(error.title, error.hint, status=error.status, occasion=error.occasion)
