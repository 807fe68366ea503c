"""Batched claims: requests that wait together are served together, with the result of single claims."""

import asyncio
import sqlite3
import tempfile
import threading
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from store_fixtures import Store, open_store, source, version

from splootd.core.error_code import ErrorCode
from splootd.core.item import SHARDS, Priority, State, shard_for

SHARD = 3
IN_SHARD = [path for number in range(500) if shard_for(path := b"/memes/%d.jpg" % number) == SHARD]
CLASSES = (Priority.URGENT, Priority.NORMAL, Priority.BACKGROUND)


async def put(store: Store, priorities: list[Priority]) -> None:
    for number, priority in enumerate(priorities):
        await store.put(b"/memes/%d.jpg" % number, version(number), source(priority), now=float(number))


async def test_claims_of_one_shard_are_served_in_their_order(store: Store) -> None:
    priorities = [Priority.NORMAL, Priority.BACKGROUND, Priority.URGENT] * 10
    await put(store, priorities)
    claims = [store.queue.claim(shard, now=99.0, chance=0.0) for shard in range(SHARDS) for _ in priorities]
    given = [leased for leased in await asyncio.gather(*claims) if leased is not None]
    assert sorted(leased.item.id for leased in given) == list(range(1, len(priorities) + 1))
    assert len({leased.lease for leased in given}) == len(given)
    for shard in range(SHARDS):
        mine = [leased.item for leased in given if leased.item.shard == shard]
        assert mine == sorted(mine, key=lambda item: (item.priority, item.added_at))


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from(CLASSES), max_size=6),
    st.lists(st.sampled_from([0.0, 0.9]), min_size=1, max_size=8),
)
def test_batched_and_single_claims_lease_the_same_items(priorities: list[Priority], chances: list[float]) -> None:
    """The number of leased items of each priority does not depend on the other claims of the batch."""

    async def taken(*, together: bool) -> list[Priority]:
        with tempfile.TemporaryDirectory() as scratch:
            async with open_store(Path(scratch, "queue.db")) as store:
                for path, priority in zip(IN_SHARD, priorities, strict=False):
                    await store.put(path, version(len(store.disk)), source(priority))
                claims = [store.queue.claim(SHARD, now=2.0, chance=chance) for chance in chances]
                given = await asyncio.gather(*claims) if together else [await claim for claim in claims]
        return sorted(leased.item.priority for leased in given if leased is not None)

    assert asyncio.run(taken(together=True)) == asyncio.run(taken(together=False))


async def test_an_urgent_item_is_queued_and_leased_in_one_commit_ahead_of_waiting_claims(store: Store) -> None:
    await put(store, [Priority.NORMAL] * 40)
    loop, is_busy, is_free = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    commits: list[set[str]] = [set()]

    def busy(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(record)
        loop.call_soon_threadsafe(is_busy.set)
        is_free.wait(30)

    def record(sql: str) -> None:
        commits[-1].update(words for words in ("INSERT INTO items", "SET state = 'uploading'") if words in sql)
        if sql == "COMMIT":
            commits.append(set())

    tasks = [asyncio.create_task(store.database.write(busy))]
    await is_busy.wait()
    tasks += [asyncio.create_task(store.queue.claim(shard, now=9.0, chance=0.0)) for shard in range(SHARDS)]
    tasks += [asyncio.create_task(store.put(b"/memes/now.jpg", version(99), source(Priority.URGENT), now=9.0))]
    urgent_claim = asyncio.create_task(store.queue.claim_urgent(now=9.0))
    for _ in range(3):
        await asyncio.sleep(0)
    is_free.set()
    leased = await urgent_claim
    await asyncio.gather(*tasks)
    assert leased is not None
    assert leased.item.path == b"/memes/now.jpg"
    assert commits[:3] == [set(), {"INSERT INTO items", "SET state = 'uploading'"}, {"SET state = 'uploading'"}]


async def test_a_cancelled_claim_of_a_batch_leaves_no_item_leased(store: Store) -> None:
    """Whenever the cancellation comes, no lease without a caller stays."""
    await put(store, [Priority.NORMAL] * 40)
    for turns in range(12):
        claims = [asyncio.create_task(store.queue.claim(shard, now=1.0, chance=0.0)) for shard in range(SHARDS)]
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns % 3 == 0:
            await store.database.ping()
        for task in claims[::2]:
            task.cancel()
        results = await asyncio.gather(*claims, return_exceptions=True)
        await store.database.ping()
        kept = {each.item.id for each in results if each is not None and not isinstance(each, BaseException)}
        await store.queue.claim_urgent(now=2.0)  # the next claim releases the orphaned leases
        leased = {item.id for item in await store.read_queries.items(limit=99, state=State.UPLOADING)}
        assert leased == kept
        for each in results:
            if each is not None and not isinstance(each, BaseException):
                await store.queue.snooze(
                    each, error_code=ErrorCode.INTERRUPTED, error_message="r", next_at=None, now=3.0
                )
