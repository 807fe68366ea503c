"""Batched claims: requests that wait together are served by one statement for each shard and priority."""

import asyncio
import bisect
import itertools
import secrets
import sqlite3
from asyncio import CancelledError
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from splootd.core.item import Item, Leased, Priority
from splootd.store import completion
from splootd.store.database import Database
from splootd.store.queries import SQL
from splootd.store.rows import item_from_row, json_list

CLAIM_BATCH_MAX = 1_000  # items claimed in one operation; the other writes of its commit wait for them

_LeaseRange = tuple[str, str]  # the first and the last lease of a range


@dataclass(eq=False, slots=True)
class ClaimRequest:
    """A waiting claim of at most `limit` items: urgent ones first, then those of `lower_priorities`.

    `shard` is None for a claim of urgent items from any shard.
    """

    shard: int | None
    lower_priorities: Sequence[Priority]
    limit: int
    now: float
    future: asyncio.Future[list[Leased]]


@dataclass(eq=False, slots=True)
class _ClaimQueue:
    """Waiting claims and the task that processes them."""

    is_urgent: bool
    requests: list[ClaimRequest] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def take_batch(self) -> list[ClaimRequest]:
        """Remove and return the first requests, of at most CLAIM_BATCH_MAX items together."""
        cumulative_limits = list(itertools.accumulate(request.limit for request in self.requests))
        count = bisect.bisect_right(cumulative_limits, CLAIM_BATCH_MAX)
        batch, self.requests = self.requests[:count], self.requests[count:]
        return batch


class Claims:
    """The claims of one queue. `on_claimed(released)` is called after each batch that has changed anything.

    A lease is `instance_id:token.item_id`, with one random token for each batch. A lease is orphaned when its caller
    never received it: the caller was cancelled, or the COMMIT ended with an error, which leaves its outcome unknown.
    The next batch releases the orphaned leases by a range of tokens, whether or not they were committed.

    Claims of urgent items have a queue of their own, so they never wait for a batch of other claims.
    """

    def __init__(
        self, database: Database, *, server_id: int, instance_id: str, on_claimed: Callable[[bool], None]
    ) -> None:
        self._database = database
        self._server_id = server_id
        self._instance_id = instance_id
        self._on_claimed = on_claimed
        self._urgent_queue, self._regular_queue = _ClaimQueue(is_urgent=True), _ClaimQueue(is_urgent=False)
        self._orphaned: set[_LeaseRange] = set()

    async def claim(
        self, shard: int | None, *, lower_priorities: Sequence[Priority] = (), limit: int = 1, now: float
    ) -> list[Leased]:
        """Lease the next items: urgent ones, then those of `lower_priorities` in their order."""
        if not 1 <= limit <= CLAIM_BATCH_MAX:
            raise ValueError(f"{limit} items in one claim; 1 to {CLAIM_BATCH_MAX} are allowed")
        request = ClaimRequest(shard, lower_priorities, limit, now, asyncio.get_running_loop().create_future())
        queue = self._urgent_queue if shard is None else self._regular_queue
        queue.requests.append(request)
        if queue.task is None or queue.task.done():
            queue.task = asyncio.create_task(self._process(queue), name="claims")
        try:
            return await request.future
        except CancelledError:
            queue.requests = [each for each in queue.requests if each is not request]
            self._mark_orphaned(request)
            raise

    async def _process(self, queue: _ClaimQueue) -> None:
        """Process batch after batch until no request waits."""
        while queue.requests:
            batch = queue.take_batch()
            token, orphaned = f"{self._instance_id}:{secrets.token_hex(8)}", frozenset(self._orphaned)
            try:
                op = partial(self._claim, batch=batch, token=token, orphaned=orphaned)
                claimed = await self._database.write(op, urgent=queue.is_urgent)
            except BaseException as error:  # every waiting caller must receive it
                # The COMMIT may have reached the disk before it failed. All leases of this batch are orphaned, in case
                # they exist: "/" is the character after ".", so the range holds every item id of the token.
                self._orphaned.add((f"{token}.", f"{token}/"))
                for request in batch:
                    _fail_request(request, error)
                if isinstance(error, CancelledError):
                    raise
            else:
                self._orphaned -= orphaned
                for request, leased in zip(batch, claimed, strict=True):
                    if request.future.done():  # the caller was cancelled meanwhile
                        self._orphaned.update((each.lease, each.lease) for each in leased)
                    else:
                        request.future.set_result(leased)
                if orphaned or any(claimed):
                    self._on_claimed(bool(orphaned))

    def _mark_orphaned(self, request: ClaimRequest) -> None:
        """Mark the leases of a cancelled caller for release.

        A task can be cancelled after its future was resolved and before the task runs again. `await` then raises
        CancelledError although the future holds a result, and only the future still has the leases.
        """
        future = request.future
        if future.done() and not future.cancelled() and future.exception() is None:
            self._orphaned.update((each.lease, each.lease) for each in future.result())

    def _claim(
        self,
        connection: sqlite3.Connection,
        *,
        batch: Sequence[ClaimRequest],
        token: str,
        orphaned: frozenset[_LeaseRange],
    ) -> list[list[Leased]]:
        """Release orphaned leases, then return the leased items of each request of the batch."""
        now = max(request.now for request in batch)
        for first, last in orphaned:
            params = {"first": first, "last": last, "superseded_message": completion.SUPERSEDED_MESSAGE, "now": now}
            connection.execute(SQL["release_orphaned"], params)
        transaction = ClaimTransaction(connection, batch, server_id=self._server_id, token=token, now=now)
        transaction.claim_urgent()
        for rank in range(max(len(request.lower_priorities) for request in batch)):
            transaction.claim(
                [(request, request.lower_priorities[rank]) for request in batch if rank < len(request.lower_priorities)]
            )
        return list(transaction.claimed.values())


class ClaimTransaction:
    """The claims of one batch inside one transaction: selects items for each request and leases them."""

    def __init__(
        self, connection: sqlite3.Connection, batch: Sequence[ClaimRequest], *, server_id: int, token: str, now: float
    ) -> None:
        self.claimed: dict[ClaimRequest, list[Leased]] = {request: [] for request in batch}
        self._cursor = connection.cursor()
        self._cursor.row_factory = None  # plain tuples take half the time to create and to read
        self._server_id = server_id
        self._token = token
        self._now = now

    def claim_urgent(self) -> None:
        """Lease urgent items. One query over all shards detects the common case that there are none."""
        if self._cursor.execute(SQL["has_urgent"], {"server_id": self._server_id}).fetchall():
            self.claim([(request, Priority.URGENT) for request in self.claimed])

    def claim(self, requests: Sequence[tuple[ClaimRequest, Priority]]) -> None:
        """Select once for all requests of one shard and priority, in their order, and lease all items by one UPDATE."""
        by_shard_and_priority: defaultdict[tuple[int | None, Priority], list[ClaimRequest]] = defaultdict(list)
        for request, priority in requests:
            if len(self.claimed[request]) < request.limit:
                by_shard_and_priority[request.shard, priority].append(request)
        ids: list[int] = []
        for (shard, priority), same_requests in by_shard_and_priority.items():
            remaining = [request.limit - len(self.claimed[request]) for request in same_requests]
            items = self._select_claimable(shard, priority, limit=sum(remaining))
            ids += [item.id for item in items]
            leased = [Leased(item, f"{self._token}.{item.id}") for item in items]
            for request, first, count in zip(
                same_requests, itertools.accumulate(remaining, initial=0), remaining, strict=False
            ):
                self.claimed[request] += leased[first : first + count]
        if ids:
            self._cursor.execute(SQL["claim"], {"token": self._token, "ids": json_list(ids), "now": self._now})

    def _select_claimable(self, shard: int | None, priority: Priority, *, limit: int) -> list[Item]:
        values = {"server_id": self._server_id, "shard": shard, "priority": priority, "limit": limit}
        rows = self._cursor.execute(SQL["claimable_urgent" if shard is None else "claimable"], values)
        return [item_from_row(row, leased_at=self._now) for row in rows]


def _fail_request(request: ClaimRequest, error: BaseException) -> None:
    if request.future.done():
        return
    if isinstance(error, CancelledError):
        request.future.cancel()
    else:
        request.future.set_exception(error)
