"""Subscriptions to embedding updates: the hub reads each change once and puts it into the outbox of each subscriber.

The hub never waits for a subscriber. A subscriber receives every update or is dropped: a client that reconnects
receives the current states, so a gap is never hidden.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from sploot_server.domain.entities import Embedding, EmbeddingState
from sploot_server.http import serializers
from sploot_server.library.service import Library, now_ms
from sploot_server.pubsub.broker import Broker
from sploot_server.storage.completion_log import CompletionLog
from sploot_server.storage.interfaces import OwnedEmbedding

SUBSCRIBERS_MAX = 200
SUBSCRIBERS_PER_USER_MAX = 50  # applies to libraries with accounts
OUTBOX_MAX = 2_000  # updates waiting to be sent to one subscriber; beyond it the subscriber is dropped
HISTORY_MAX = 1_000  # updates replayed to a client that reconnects
CHANGED_MAX = 10_000  # changed assets whose new state is still to be read
READ_BATCH_MAX = 500  # assets per database query
RETRY_DELAY_S = 1.0  # before a failed query is repeated

logger = structlog.get_logger()


class TooManySubscribers(Exception):
    """The limit on subscribers is reached."""


class SubscriberDropped(Exception):
    """The hub dropped the subscriber; the message states the cause."""


@dataclass(frozen=True, slots=True)
class Update:
    """State of one embedding. `owner` is None if the asset does not exist any more.

    `sequence` is the position in the completion log, or None if the update is not a completion.
    """

    asset_id: str
    owner: str | None
    body: Mapping[str, Any]
    sequence: int | None = None


class Subscriber:
    """Bounded outbox of one client, holding only the latest update of each asset.

    It receives updates of the assets of `owner` that are in `ids`, or of all assets if `ids` is None.
    """

    def __init__(self, owner: str, ids: set[str] | None) -> None:
        self.owner = owner
        self.ids = ids
        self.last_sequence = 0  # last position received on an earlier connection, perhaps from another server
        self._outbox: dict[str, Update] = {}
        self._drop_message: str | None = None
        self._not_empty = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def matches(self, update: Update) -> bool:
        """Return True if the update concerns this subscriber.

        A removed asset has no owner any more, so its update goes to the subscribers that listed its id.
        """
        if update.sequence is not None and update.sequence <= self.last_sequence:
            return False
        named = self.ids is None or update.asset_id in self.ids
        return named and (update.owner == self.owner or (update.owner is None and self.ids is not None))

    def put(self, update: Update) -> None:
        """Add an update, replacing an older one of the same asset; drop the subscriber if the outbox is full."""
        self._outbox.pop(update.asset_id, None)
        if len(self._outbox) >= OUTBOX_MAX:
            self.drop("the client reads too slowly")
        elif self._drop_message is None:
            self._outbox[update.asset_id] = update
            self._empty.clear()
            self._not_empty.set()

    def drop(self, message: str) -> None:
        """Discard the outbox and make `next` raise SubscriberDropped."""
        self._drop_message = self._drop_message or message
        self._outbox.clear()
        self._empty.set()
        self._not_empty.set()

    async def next(self) -> Update:
        """Remove and return the oldest update. Raise SubscriberDropped."""
        await self._not_empty.wait()
        if self._drop_message is not None:
            raise SubscriberDropped(self._drop_message)
        update = self._outbox.pop(next(iter(self._outbox)))
        if not self._outbox:
            self._not_empty.clear()
            self._empty.set()
        return update

    async def wait_until_empty(self) -> None:
        """Wait until the outbox is empty."""
        await self._empty.wait()


class SubscriptionHub:
    """Reads new states after each event and puts them into the outboxes of matching subscribers.

    Completions are read from the completion log after the last position read: events may be lost, repeated or
    reordered, and still no completion is missed. `poll_interval_s` is the interval of reading without an event; None
    if events cannot be lost.
    """

    def __init__(
        self, library: Library, completion_log: CompletionLog, broker: Broker, poll_interval_s: float | None = None
    ) -> None:
        self._library = library
        self._completion_log = completion_log
        self._broker = broker
        self._poll_interval_s = poll_interval_s
        self._subscribers: set[Subscriber] = set()
        self._changed: dict[str, None] = {}
        self._wake_signal = asyncio.Event()
        self._read_lock = asyncio.Lock()  # keeps the order: without it, an older state could overwrite a newer one
        self._library_id = ""  # positions are comparable within one library only
        self._last_sequence = 0  # last position dispatched

    def __len__(self) -> int:
        return len(self._subscribers)

    async def open(self) -> None:
        """Start after the last completion stored so far."""
        self._library_id, self._last_sequence = await self._completion_log.last_seq()

    async def run(self) -> None:
        """Dispatch updates until cancelled."""
        with self._broker.on_event(self._on_event):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_interval_s):
                        await self._wake_signal.wait()
                try:
                    await self._dispatch()
                except Exception as error:  # noqa: BLE001 - `_dispatch` keeps what it has not sent and is repeated
                    logger.warning("dispatching embedding updates failed", error_message=str(error))
                    await asyncio.sleep(RETRY_DELAY_S)

    @contextlib.contextmanager
    def subscribe(self, owner: str, ids: set[str] | None) -> Iterator[Subscriber]:
        """Register a subscriber for the duration of the block. Raise TooManySubscribers."""
        owned_count = sum(each.owner == owner for each in self._subscribers) if owner else 0
        if len(self._subscribers) >= SUBSCRIBERS_MAX or owned_count >= SUBSCRIBERS_PER_USER_MAX:
            raise TooManySubscribers
        subscriber = Subscriber(owner, ids)
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    async def send_snapshot(
        self, subscriber: Subscriber, ids: Iterable[str], predicate: Callable[[Embedding | None], bool]
    ) -> None:
        """Put the current states of `ids` that match `predicate` into an outbox; the state of an unknown id is None."""
        pending, library = list(ids), self._library.for_owner(subscriber.owner)
        async with self._read_lock:
            for start in range(0, len(pending), READ_BATCH_MAX):
                batch = pending[start : start + READ_BATCH_MAX]
                found = await library.get_embeddings(batch)
                for asset_id in batch:
                    embedding = found.get(asset_id)
                    if predicate(embedding):
                        subscriber.put(Update(asset_id, subscriber.owner, _build_body(asset_id, embedding)))

    def cursor(self, update: Update) -> str | None:
        """Return the event id of an update, which a client sends back as `Last-Event-ID`; None without a position."""
        return None if update.sequence is None else f"{self._library_id}-{update.sequence}"

    async def replay(self, subscriber: Subscriber, cursor: str) -> bool:
        """Put the completions after `cursor` into the outbox.

        Return False for a cursor of another library or one that is too old; the client then needs a snapshot.
        """
        library_id, _, sequence = cursor.partition("-")
        if library_id != self._library_id or not (sequence.isascii() and sequence.isdigit() and len(sequence) < 16):
            return False
        async with self._read_lock:
            missed = await self._completion_log.list_after(int(sequence), HISTORY_MAX + 1, subscriber.owner)
            if len(missed) > HISTORY_MAX or int(sequence) > (await self._completion_log.last_seq())[1]:
                return False
            subscriber.last_sequence = int(sequence)
            for each in missed:
                if each.seq <= self._last_sequence:  # `_dispatch` sends the later ones; here they would come twice
                    body = _build_body(each.asset_id, each.embedding)
                    self._enqueue(subscriber, Update(each.asset_id, each.owner, body, each.seq))
        return True

    def close(self) -> None:
        """Drop all subscribers, because the server stops."""
        for subscriber in self._subscribers:
            subscriber.drop("the server is stopping")

    def _on_event(self, asset_id: str | None) -> None:
        if asset_id is not None and len(self._changed) < CHANGED_MAX:
            self._changed[asset_id] = None
        elif asset_id is not None:
            self._drop_all()
        self._wake_signal.set()

    async def _dispatch(self) -> None:
        async with self._read_lock:
            self._wake_signal.clear()
            try:
                await self._dispatch_completions()
                await self._dispatch_changes()
            except BaseException:
                self._wake_signal.set()  # `run` repeats the dispatch without waiting for another event
                raise

    async def _dispatch_completions(self) -> None:
        completions = None
        while completions is None or len(completions) == READ_BATCH_MAX:
            completions = await self._completion_log.list_after(self._last_sequence, READ_BATCH_MAX)
            for each in completions:
                self._last_sequence = each.seq
                self._broadcast(Update(each.asset_id, each.owner, _build_body(each.asset_id, each.embedding), each.seq))

    async def _dispatch_changes(self) -> None:
        while self._changed:
            ids = list(self._changed)[:READ_BATCH_MAX]
            found = await self._library.get_owned_embeddings(ids)
            for asset_id in ids:
                self._changed.pop(asset_id, None)
                self._broadcast(_build_update(asset_id, found.get(asset_id)))

    def _broadcast(self, update: Update) -> None:
        for subscriber in self._subscribers:
            self._enqueue(subscriber, update)

    def _enqueue(self, subscriber: Subscriber, update: Update) -> None:
        if subscriber.matches(update):
            subscriber.put(update)

    def _drop_all(self) -> None:
        """Drop all subscribers after a loss of changes; they reconnect and receive snapshots."""
        self._changed.clear()
        for subscriber in self._subscribers:
            subscriber.drop("updates were lost; reconnect")


def is_final(embedding: Embedding | None) -> bool:
    """Return True if the state will not change any more; this includes unknown assets."""
    return embedding is None or embedding.state in (EmbeddingState.READY, EmbeddingState.FAILED)


def is_known(embedding: Embedding | None) -> bool:
    return embedding is not None


def _build_update(asset_id: str, owned: OwnedEmbedding | None) -> Update:
    if owned is None:
        return Update(asset_id, None, _build_body(asset_id, None))
    return Update(asset_id, owned.owner, _build_body(asset_id, owned.embedding))


def _build_body(asset_id: str, embedding: Embedding | None) -> dict[str, Any]:
    return {
        "type": "embedding-update",
        "assetId": asset_id,
        **serializers.embedding_status_to_json(embedding),
        "timestamp": now_ms(),
    }
