"""The rules of the queue, one example each. test_queue_machine.py tests random sequences."""

import asyncio
import random
import sqlite3
from collections.abc import Callable

import pytest
from store_fixtures import Store, digest, source, version

from splootd.core.error_code import ErrorCode
from splootd.core.item import Priority, State, shard_for
from splootd.errors import StoreFailed
from splootd.store.queue import Queue

SHARD = shard_for(b"/memes/0.png")
IN_SHARD = [path for number in range(2_000) if shard_for(path := b"/memes/%d.png" % number) == SHARD]


async def fill(store: Store, *priorities: Priority, now: float = 0.0) -> list[int]:
    """Enqueue one item of each priority, all in `SHARD`."""
    start = len(store.disk)
    return [
        (await store.put(IN_SHARD[start + n], version(start + n), source(priority), now=now)).item_id
        for n, priority in enumerate(priorities)
    ]


async def claimed_ids(store: Store, count: int, *, chance: float = 0.0) -> list[int]:
    leases = [await store.queue.claim(SHARD, now=1.0, chance=chance) for _ in range(count)]
    return [leased.item.id for leased in leases if leased]


async def test_urgent_items_are_claimed_first(store: Store) -> None:
    normal, background, urgent = await fill(store, Priority.NORMAL, Priority.BACKGROUND, Priority.URGENT)
    assert await claimed_ids(store, 3, chance=0.99) == [urgent, background, normal]


@pytest.mark.parametrize(
    ("chance", "first"), [(0.0, "normal"), (0.79, "normal"), (0.8, "background"), (0.99, "background")]
)
async def test_chance_decides_between_normal_and_background(store: Store, chance: float, first: str) -> None:
    background, normal = await fill(store, Priority.BACKGROUND, Priority.NORMAL)
    ids = {"normal": normal, "background": background}
    assert (await claimed_ids(store, 1, chance=chance)) == [ids[first]]


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.BACKGROUND])
async def test_either_priority_is_served_when_the_other_is_empty(store: Store, priority: Priority) -> None:
    (item_id,) = await fill(store, priority)
    assert await claimed_ids(store, 1, chance=0.99 if priority is Priority.NORMAL else 0.0) == [item_id]


async def test_four_of_five_claims_are_normal_when_both_are_pending(store: Store) -> None:
    chance = random.Random(80)
    await store.run(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) INSERT INTO items (server_id,"
        " path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, tags, force)"
        " SELECT 1, CAST(i AS BLOB), 1, 1, 1, i, 1 + i % 2, 3, 0, 0, '[]', 0 FROM n"
    )
    claims = await asyncio.gather(*(store.queue.claim(3, now=1.0, chance=chance.random()) for _ in range(500)))
    normal = sum(leased is not None and leased.item.priority is Priority.NORMAL for leased in claims)
    assert 0.75 < normal / len(claims) < 0.85


async def test_first_in_first_out_within_a_priority(store: Store) -> None:
    late = await fill(store, Priority.NORMAL, Priority.NORMAL, now=5.0)
    early = await fill(store, Priority.NORMAL, Priority.NORMAL, now=1.0)
    assert await claimed_ids(store, 4) == early + late  # by added time, then by id


async def test_an_item_is_claimed_only_from_its_own_shard_and_server(store: Store) -> None:
    (item_id,) = await fill(store, Priority.NORMAL)
    other_server = Queue(store.database, server_id=99, instance_id="instance1", wake_signals=store.wake_signals)
    for shard in set(range(16)) - {SHARD}:
        assert await store.queue.claim(shard, now=1.0, chance=0.0) is None
    assert await other_server.claim(SHARD, now=1.0, chance=0.0) is None
    assert await claimed_ids(store, 1) == [item_id]


async def test_claim_urgent_takes_the_oldest_of_any_shard_and_nothing_else(store: Store) -> None:
    await store.put(b"/normal", version(1))
    late = await store.put(b"/late", version(2), source(Priority.URGENT), now=5.0)
    early = await store.put(b"/early", version(3), source(Priority.URGENT), now=1.0)
    claims = [await store.queue.claim_urgent(now=9.0) for _ in range(3)]
    assert [leased and leased.item.id for leased in claims] == [early.item_id, late.item_id, None]


async def test_no_item_is_claimed_twice(store: Store) -> None:
    await fill(store, *[Priority.NORMAL] * 20)
    claims = await asyncio.gather(*(store.queue.claim(SHARD, now=1.0, chance=0.0) for _ in range(30)))
    ids = [leased.item.id for leased in claims if leased]
    leases = {leased.lease for leased in claims if leased}
    assert len(ids) == len(set(ids)) == len(leases) == 20


async def test_a_delayed_item_is_never_claimed(store: Store) -> None:
    (item_id,) = await fill(store, Priority.URGENT)
    leased = await store.claim(item_id)
    assert await store.queue.retry(
        leased, error_code=ErrorCode.SERVER_ERROR, error_message="500", next_at=10.0, now=1.0
    )
    assert await store.queue.claim(SHARD, now=100.0, chance=0.0) is None
    assert await store.queue.claim_urgent(now=100.0) is None
    assert await store.queue.next_due() == 10.0
    assert await store.queue.make_due(now=9.9) == 0
    assert await store.queue.make_due(now=10.0) == 1
    assert await store.queue.next_due() is None
    assert await claimed_ids(store, 1) == [item_id]


async def test_a_retry_keeps_its_place_in_the_queue(store: Store) -> None:
    first, second = await fill(store, Priority.NORMAL, Priority.NORMAL)
    leased = await store.queue.claim(SHARD, now=1.0, chance=0.0)
    assert leased is not None
    assert await store.queue.retry(leased, error_code=ErrorCode.SERVER_ERROR, error_message="500", next_at=2.0, now=1.0)
    item = await store.item(first)
    assert (item.state, item.attempts, item.error_code, item.error_message) == (State.PENDING, 1, "server_error", "500")
    await store.queue.make_due(now=2.0)
    assert await claimed_ids(store, 2) == [first, second]


async def test_a_snooze_is_not_counted_and_may_have_no_delay(store: Store) -> None:
    (item_id,) = await fill(store, Priority.NORMAL)
    leased = await store.claim(item_id)
    assert await store.queue.snooze(
        leased, error_code=ErrorCode.SERVER_UNAVAILABLE, error_message="503", next_at=None, now=1.0
    )
    assert (await store.item(item_id)).attempts == 0
    assert await claimed_ids(store, 1) == [item_id]


async def test_a_snooze_with_a_new_version_resets_the_attempts(store: Store) -> None:
    (item_id,) = await fill(store, Priority.NORMAL)
    leased = await store.claim(item_id)
    await store.queue.retry(leased, error_code=ErrorCode.SERVER_ERROR, error_message="500", next_at=2.0, now=1.0)
    leased = await store.claim(item_id)
    changed = version(77)
    assert await store.queue.snooze(
        leased, error_code=ErrorCode.INTERRUPTED, error_message="changed", next_at=5.0, now=1.0, version=changed
    )
    item = await store.item(item_id)
    assert (item.version, item.attempts, item.next_at, item.error_code) == (changed, 0, 5.0, None)


async def test_accepting_writes_the_ledger_in_the_same_transaction(store: Store) -> None:
    item_id = await store.new_in(State.EMBEDDING, 1)
    item = await store.item(item_id)
    content = await store.ledger.get(digest(item_id))
    assert content is not None
    assert (item.asset_id, item.sha256, content.asset_id, content.was_embedded) == (
        f"a{item_id}",
        digest(item_id),
        f"a{item_id}",
        False,
    )
    await store.queue.finish([item_id], now=5.0)
    content = await store.ledger.get(digest(item_id))
    assert content is not None
    assert content.was_embedded
    assert (await store.item(item_id)).state is State.READY


async def test_finish_changes_only_embedding_items(store: Store) -> None:
    ids = {
        state: await store.new_in(state, number) for number, state in enumerate(State) if state is not State.UPLOADING
    }
    await store.queue.finish(ids.values(), now=5.0)
    assert {state: (await store.item(item_id)).state for state, item_id in ids.items()} == {
        state: State.READY if state is State.EMBEDDING else state for state in ids
    }


async def test_the_oldest_due_embeddings_are_polled_first(store: Store) -> None:
    ids = [await store.new_in(State.EMBEDDING, number) for number in range(5)]
    await store.queue.schedule_polls(dict(zip(ids, [3.0, 9.0, 1.0, 2.0, 9.0], strict=True)))
    assert [each.item_id for each in await store.queue.due_embeddings(now=3.0, limit=2)] == [ids[0], ids[2]]
    assert [each.item_id for each in await store.queue.due_embeddings(now=3.0, limit=50)] == [ids[0], ids[2], ids[3]]
    assert await store.queue.next_embedding_due() == 1.0


async def test_a_failed_embedding_is_a_dead_letter_and_a_removed_one_is_skipped(store: Store) -> None:
    failed, removed = await store.new_in(State.EMBEDDING, 1), await store.new_in(State.EMBEDDING, 2)
    await store.queue.discard_embedding(failed, error_code=ErrorCode.EMBEDDING_FAILED, error_message="no text", now=5.0)
    await store.queue.skip_removed(removed, error_message="deleted there", now=6.0)
    assert (await store.item(failed)).state is State.FAILED
    assert ((await store.item(removed)).state, (await store.item(removed)).error_code) == (
        State.SKIPPED,
        ErrorCode.REMOVED,
    )
    content = await store.ledger.get(digest(removed))
    assert content is not None
    assert content.removed_at == 6.0
    assert [each.action for each in await store.read_queries.attempts(failed)] == ["discard"]
    before = await store.rows("SELECT * FROM items")
    await store.queue.discard_embedding(removed, error_code=ErrorCode.EMBEDDING_FAILED, error_message="late", now=7.0)
    await store.queue.skip_removed(failed, error_message="late", now=7.0)
    assert await store.rows("SELECT * FROM items") == before


async def test_release_stale_releases_the_leases_of_other_instances_only(store: Store) -> None:
    await store.put(b"/theirs", version(1), source(Priority.URGENT))
    theirs = await store.queue_of("instance10").claim_urgent(now=0.0)  # an id with the same beginning
    ours = await store.claim((await store.put(b"/ours", version(2))).item_id, now=1.0)
    assert theirs is not None
    later = store.queue
    assert await later.release_stale(now=2.0) == 1
    assert await later.release_stale(now=2.0) == 0
    item = await store.item(theirs.item.id)
    assert (item.state, item.attempts, item.error_code) == (State.PENDING, 0, "interrupted")
    assert (await store.item(ours.item.id)).state is State.UPLOADING
    assert await store.accept(theirs) is False
    assert [each.error_code for each in await store.read_queries.attempts(theirs.item.id)] == ["interrupted"]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), StoreFailed("unknown")])
async def test_an_orphaned_claim_is_released(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Otherwise it would stay leased until the next start, after a cancellation or an I/O error of the COMMIT."""
    (item_id,) = await fill(store, Priority.NORMAL)
    write = store.database.write

    async def write_and_lose(op: Callable[[sqlite3.Connection], object], **how: bool) -> None:
        await write(op, **how)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(store.database, "write", write_and_lose)
        with pytest.raises(type(error)):
            await store.queue.claim(SHARD, now=1.0, chance=0.0)
    assert (await store.item(item_id)).state is State.UPLOADING
    again = await store.queue.claim(SHARD, now=2.0, chance=0.0)
    assert again is not None
    assert again.item.id == item_id
    assert await store.accept(again)


async def test_attempts_are_refunded_after_a_server_failure(store: Store) -> None:
    ids = await fill(store, Priority.NORMAL, Priority.NORMAL, Priority.NORMAL)
    for item_id in ids[:2]:
        leased = await store.claim(item_id)
        await store.queue.retry(leased, error_code=ErrorCode.SERVER_ERROR, error_message="500", next_at=9.0, now=1.0)
    await store.claim(ids[1])
    await store.queue.refund_attempts(ids, now=2.0)
    assert [(await store.item(item_id)).attempts for item_id in ids] == [0, 1, 0]  # the second one is uploading


async def test_wake_signals_follow_the_changes(store: Store) -> None:
    def snapshots() -> tuple[asyncio.Event, asyncio.Event, asyncio.Event]:
        return (
            store.wake_signals.work.snapshot(),
            store.wake_signals.embedding.snapshot(),
            store.wake_signals.events.snapshot(),
        )

    work, embedding, events = snapshots()
    (item_id,) = await fill(store, Priority.NORMAL)
    assert (work.is_set(), embedding.is_set(), events.is_set()) == (True, False, True)
    leased = await store.claim(item_id)
    work, embedding, events = snapshots()
    await store.accept(leased)
    assert (work.is_set(), embedding.is_set(), events.is_set()) == (False, True, True)
    work, embedding, events = snapshots()
    await store.queue.finish([item_id], now=2.0)
    assert (work.is_set(), embedding.is_set(), events.is_set()) == (False, False, True)


async def test_the_hihistory_keeps_its_last_twenty_attempts(store: Store) -> None:
    item_id = (await store.put(b"/a", version(1))).item_id
    for number in range(30):
        leased = await store.claim(item_id)
        await store.queue.snooze(
            leased, error_code=ErrorCode.UNREACHABLE, error_message=f"{number}", next_at=None, now=float(number)
        )
    history = await store.read_queries.attempts(item_id)
    assert [each.error_message for each in history] == [str(number) for number in range(10, 30)]
    assert (history[0].at, history[0].error_code, history[0].action) == (10.0, "unreachable", "snooze")


async def test_the_durations_of_recent_embeddings_are_kept_without_those_that_took_no_time(store: Store) -> None:
    """A duplicate is ready at once, and a later event of a ready item is a new path or priority."""
    for number in range(4):
        result = await store.put(b"/memes/%d.png" % number, version(number))
        leased = await store.claim(result.item_id)
        await store.accept(leased, embedded=number == 3, now=100.0)
        await store.queue.finish([result.item_id], now=110.0 + number)
    moved = version(1)
    store.disk[b"/memes/moved.png"] = moved
    await store.enqueue(b"/memes/moved.png", now=5_000.0)
    assert await store.queue.embedding_durations(limit=2) == [12.0, 11.0]
    assert await store.queue.embedding_durations(limit=200) == [12.0, 11.0, 10.0]
