"""Who hears of which embedding: the truth is read once and shared out, and nobody is waited for.

A listener hears everything or is dropped: whoever comes back is told where things stand, so a gap is never hidden.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from sploot_server import wire
from sploot_server.assets import EndStore, Owned
from sploot_server.library import Library, now_ms
from sploot_server.model import Embedding, EmbeddingState
from sploot_server.notify import Notifier

LISTENERS_MAX = 200
LISTENERS_EACH_MAX = 50  # of one user, where there are accounts
OUTBOX_MAX = 2_000  # updates that one listener may be behind; then it is dropped
HISTORY_MAX = 1_000  # updates that are told again to whoever was away
TOLD_MAX = 10_000  # assets whose new state is still to be read
READ_MAX = 500  # in one question to the database
PAUSE_S = 1.0  # before a question that failed is asked again

logger = structlog.get_logger()


class Full(Exception):
    """There are as many listeners as can be served."""


class Dropped(Exception):
    """This listener was too slow, or the server ends; the message says which."""


@dataclass(frozen=True, slots=True)
class Update:
    """The state of one embedding, for the owner of the asset; None if there is no such asset any more.

    `number` is its place in the order in which embeddings have ended; None where nothing has.
    """

    asset_id: str
    owner: str | None
    body: Mapping[str, Any]
    number: int | None = None


class Listener:
    """One client's bounded outbox, where only the latest update of an asset counts.

    It hears of the assets of `owner`: of those in `ids`, or of all if that is None.
    """

    def __init__(self, owner: str, ids: set[str] | None) -> None:
        self.owner = owner
        self.ids = ids
        self.heard = 0  # the last number that was heard before, perhaps from another server
        self._outbox: dict[str, Update] = {}
        self._dropped: str | None = None
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def wants(self, update: Update) -> bool:
        """What is gone has no owner: it concerns whoever named it."""
        if update.number is not None and update.number <= self.heard:
            return False
        named = self.ids is None or update.asset_id in self.ids
        return named and (update.owner == self.owner or (update.owner is None and self.ids is not None))

    def put(self, update: Update) -> None:
        self._outbox.pop(update.asset_id, None)
        if len(self._outbox) >= OUTBOX_MAX:
            self.drop("this client is too slow")
        elif self._dropped is None:
            self._outbox[update.asset_id] = update
            self._emptied.clear()
            self._filled.set()

    def drop(self, reason: str) -> None:
        self._dropped = self._dropped or reason
        self._outbox.clear()
        self._emptied.set()
        self._filled.set()

    async def next(self) -> Update:
        """The oldest update in the outbox, which is then taken out. Raises Dropped."""
        await self._filled.wait()
        if self._dropped is not None:
            raise Dropped(self._dropped)
        update = self._outbox.pop(next(iter(self._outbox)))
        if not self._outbox:
            self._filled.clear()
            self._emptied.set()
        return update

    async def emptied(self) -> None:
        """Wait until everything was taken out."""
        await self._emptied.wait()


class Updates:
    """Reads what there is news of, and puts it into the outbox of all who want it.

    What has ended is read in the database's own order, from where it was last read: news may be lost, come twice or in
    another order, and nothing is missed. `look_s` is how often to look without news; None where none are ever lost.
    """

    def __init__(self, library: Library, ends: EndStore, news: Notifier, look_s: float | None = None) -> None:
        self._library = library
        self._ends = ends
        self._news = news
        self._look_s = look_s
        self._listeners: set[Listener] = set()
        self._changed: dict[str, None] = {}
        self._bell = asyncio.Event()
        self._reading = asyncio.Lock()  # what is read earlier is put earlier
        self._series = ""  # numbers mean something within one library only
        self._last = 0  # the last number that was told

    def __len__(self) -> int:
        return len(self._listeners)

    async def open(self) -> None:
        """Begin where things stand."""
        self._series, self._last = await self._ends.last()

    async def run(self) -> None:
        """Until cancelled."""
        with self._news.hear(self._tell):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._look_s):
                        await self._bell.wait()
                try:
                    await self._share_out()
                except Exception as error:  # noqa: BLE001 - whatever it was, nothing is forgotten: it is tried again
                    logger.warning("news of embeddings are late", reason=str(error))
                    await asyncio.sleep(PAUSE_S)

    @contextlib.contextmanager
    def listen(self, owner: str, ids: set[str] | None) -> Iterator[Listener]:
        """A place among the listeners. Raises Full."""
        his = sum(each.owner == owner for each in self._listeners) if owner else 0
        if len(self._listeners) >= LISTENERS_MAX or his >= LISTENERS_EACH_MAX:
            raise Full
        listener = Listener(owner, ids)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def tell_states(
        self, listener: Listener, ids: Iterable[str], only: Callable[[Embedding | None], bool]
    ) -> None:
        """Put the present states of `ids` into an outbox, where `only` says so; None stands for no such asset."""
        wanted, library = list(ids), self._library.of(listener.owner)
        async with self._reading:
            for start in range(0, len(wanted), READ_MAX):
                part = wanted[start : start + READ_MAX]
                found = await library.embeddings(part)
                for asset_id in part:
                    made = found.get(asset_id)
                    if only(made):
                        listener.put(Update(asset_id, listener.owner, _body(asset_id, made)))

    def mark(self, update: Update) -> str | None:
        """What a client gives back to `replay` when this was the last it heard."""
        return None if update.number is None else f"{self._series}-{update.number}"

    async def replay(self, listener: Listener, mark: str) -> bool:
        """Tell again what came after `mark`; False if that is no mark of this library, or too much for it."""
        series, _, number = mark.partition("-")
        if series != self._series or not (number.isascii() and number.isdigit() and len(number) < 16):
            return False
        async with self._reading:
            missed = await self._ends.after(int(number), HISTORY_MAX + 1, listener.owner)
            if len(missed) > HISTORY_MAX or int(number) > (await self._ends.last())[1]:
                return False
            listener.heard = int(number)
            for each in missed:
                if each.order <= self._last:  # what comes later is shared out
                    body = _body(each.asset_id, each.embedding)
                    self._offer(listener, Update(each.asset_id, each.owner, body, each.order))
        return True

    def close(self) -> None:
        """The server ends: let all listeners go."""
        for listener in self._listeners:
            listener.drop("the server ends")

    def _tell(self, changed: str | None) -> None:
        if changed is not None and len(self._changed) < TOLD_MAX:
            self._changed[changed] = None
        elif changed is not None:
            self._lose_track()
        self._bell.set()

    async def _share_out(self) -> None:
        async with self._reading:
            self._bell.clear()
            try:
                await self._share_out_ended()
                await self._share_out_changed()
            except BaseException:
                self._bell.set()
                raise

    async def _share_out_ended(self) -> None:
        ended = None
        while ended is None or len(ended) == READ_MAX:
            ended = await self._ends.after(self._last, READ_MAX)
            for each in ended:
                self._last = each.order
                self._offer_all(Update(each.asset_id, each.owner, _body(each.asset_id, each.embedding), each.order))

    async def _share_out_changed(self) -> None:
        while self._changed:
            ids = list(self._changed)[:READ_MAX]
            found = await self._library.owned(ids)
            for asset_id in ids:
                self._changed.pop(asset_id, None)
                self._offer_all(_update(asset_id, found.get(asset_id)))

    def _offer_all(self, update: Update) -> None:
        for listener in self._listeners:
            self._offer(listener, update)

    def _offer(self, listener: Listener, update: Update) -> None:
        if listener.wants(update):
            listener.put(update)

    def _lose_track(self) -> None:
        """Something was missed: nobody may go on as if nothing had been."""
        self._changed.clear()
        for listener in self._listeners:
            listener.drop("the server has lost track")


def has_ended(made: Embedding | None) -> bool:
    """Whether nothing more is to be expected, which is so of an unknown asset too."""
    return made is None or made.state in (EmbeddingState.READY, EmbeddingState.FAILED)


def is_known(made: Embedding | None) -> bool:
    return made is not None


def _update(asset_id: str, owned: Owned | None) -> Update:
    if owned is None:
        return Update(asset_id, None, _body(asset_id, None))
    return Update(asset_id, owned.owner, _body(asset_id, owned.embedding))


def _body(asset_id: str, made: Embedding | None) -> dict[str, Any]:
    return {"type": "embedding-update", "assetId": asset_id, **wire.status(made), "timestamp": now_ms()}
