"""Who hears of which embedding: the truth is read once and shared out, and nobody is waited for.

A listener hears everything or is dropped: whoever comes back is told where things stand, so a gap is never hidden.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from sploot_server import wire
from sploot_server.assets import Owned
from sploot_server.library import Library, now_ms
from sploot_server.model import Embedding, EmbeddingState
from sploot_server.notify import Notifier

LISTENERS_MAX = 200
OUTBOX_MAX = 2_000  # updates that one listener may be behind; then it is dropped
HISTORY_MAX = 1_000  # updates that can be told again to whoever was away
TOLD_MAX = 10_000  # assets whose new state is still to be read
READ_MAX = 500  # in one question to the database

logger = structlog.get_logger()


class Full(Exception):
    """There are as many listeners as can be served."""


class Dropped(Exception):
    """This listener was too slow, or the server ends; the message says which."""


@dataclass(frozen=True, slots=True)
class Update:
    """The state of one embedding, for the owner of the asset; None if there is no such asset any more.

    `number` counts what happened; None for the answer to a question.
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
        self._outbox: dict[str, Update] = {}
        self._dropped: str | None = None
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def wants(self, update: Update) -> bool:
        """What is gone has no owner: it concerns whoever named it."""
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
    """Reads the state of whatever there is news of, and puts it into the outbox of all who want it."""

    def __init__(self, library: Library, news: Notifier) -> None:
        self._library = library
        self._news = news
        self._listeners: set[Listener] = set()
        self._told: dict[str, None] = {}
        self._bell = asyncio.Event()
        self._reading = asyncio.Lock()  # what is read earlier is put earlier
        self._history: deque[Update] = deque(maxlen=HISTORY_MAX)
        self._series = secrets.token_hex(4)  # numbers mean something within one series only
        self._number = 0

    def __len__(self) -> int:
        return len(self._listeners)

    async def run(self) -> None:
        """Until cancelled."""
        with self._news.hear(self._tell):
            while True:
                await self._bell.wait()
                try:
                    await self._share_out()
                except Exception:
                    logger.exception("news of embeddings lost")
                    self._lose_all()

    @contextlib.contextmanager
    def listen(self, owner: str, ids: set[str] | None) -> Iterator[Listener]:
        """A place among the listeners. Raises Full."""
        if len(self._listeners) >= LISTENERS_MAX:
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

    def replay(self, listener: Listener, mark: str) -> bool:
        """Tell again what came after `mark`; False if that is no longer known."""
        series, _, number = mark.partition("-")
        if series != self._series or not (number.isascii() and number.isdigit() and len(number) < 20):
            return False
        oldest = self._number - len(self._history)
        if not oldest <= int(number) <= self._number:
            return False
        for update in self._history:
            if update.number is not None and update.number > int(number):
                self._offer(listener, update)
        return True

    def close(self) -> None:
        """The server ends: let all listeners go."""
        for listener in self._listeners:
            listener.drop("the server ends")

    def _tell(self, asset_id: str) -> None:
        if len(self._told) < TOLD_MAX:
            self._told[asset_id] = None
        else:
            self._lose_all()
        self._bell.set()

    async def _share_out(self) -> None:
        async with self._reading:
            ids = list(self._told)[:READ_MAX]
            for asset_id in ids:
                del self._told[asset_id]
            found = await self._library.owned(ids)
            for asset_id in ids:
                self._number += 1
                update = _update(asset_id, found.get(asset_id), self._number)
                self._history.append(update)
                for listener in self._listeners:
                    self._offer(listener, update)
            if not self._told:
                self._bell.clear()

    def _offer(self, listener: Listener, update: Update) -> None:
        if listener.wants(update):
            listener.put(update)

    def _lose_all(self) -> None:
        """Something was missed: nobody may go on as if nothing had been."""
        self._told.clear()
        self._bell.clear()
        self._history.clear()
        self._series = secrets.token_hex(4)
        for listener in self._listeners:
            listener.drop("the server has lost track")


def has_ended(made: Embedding | None) -> bool:
    """Whether nothing more is to be expected, which is so of an unknown asset too."""
    return made is None or made.state in (EmbeddingState.READY, EmbeddingState.FAILED)


def is_known(made: Embedding | None) -> bool:
    return made is not None


def _update(asset_id: str, owned: Owned | None, number: int) -> Update:
    if owned is None:
        return Update(asset_id, None, _body(asset_id, None), number)
    return Update(asset_id, owned.owner, _body(asset_id, owned.embedding), number)


def _body(asset_id: str, made: Embedding | None) -> dict[str, Any]:
    return {"type": "embedding-update", "assetId": asset_id, **wire.status(made), "timestamp": now_ms()}
