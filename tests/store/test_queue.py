"""The laws of the queue, one example each; test_queue_machine.py looks for those nobody has thought of."""

import asyncio
import random
import sqlite3
from collections.abc import Callable

import pytest
from storekit import Store, digest, origin, version

from splootd.core.fault import Fault
from splootd.core.item import Priority, State, shard_of
from splootd.errors import StoreFailed
from splootd.store.queue import Queue

SHARD = shard_of(b"/memes/0.png")
IN_SHARD = [path for number in range(2_000) if shard_of(path := b"/memes/%d.png" % number) == SHARD]


async def fill(store: Store, *priorities: Priority, now: float = 0.0) -> list[int]:
    """One item of each priority, all in `SHARD`."""
    start = len(store.disk)
    return [
        (await store.put(IN_SHARD[start + n], version(start + n), origin(priority), now=now)).item_id
        for n, priority in enumerate(priorities)
    ]


async def claimed_ids(store: Store, count: int, *, chance: float = 0.0) -> list[int]:
    leases = [await store.queue.claim(SHARD, now=1.0, chance=chance) for _ in range(count)]
    return [leased.item.id for leased in leases if leased]


async def test_urgent_is_always_first(store: Store) -> None:
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
async def test_either_class_is_served_when_the_other_is_empty(store: Store, priority: Priority) -> None:
    (item_id,) = await fill(store, priority)
    assert await claimed_ids(store, 1, chance=0.99 if priority is Priority.NORMAL else 0.0) == [item_id]


async def test_four_of_five_claims_are_normal_when_both_wait(store: Store) -> None:
    chance = random.Random(80)
    await store.run(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) INSERT INTO items (server_id,"
        " path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, tags, force)"
        " SELECT 1, CAST(i AS BLOB), 1, 1, 1, i, 1 + i % 2, 3, 0, 0, '[]', 0 FROM n"
    )
    claims = await asyncio.gather(*(store.queue.claim(3, now=1.0, chance=chance.random()) for _ in range(500)))
    normal = sum(leased is not None and leased.item.priority is Priority.NORMAL for leased in claims)
    assert 0.75 < normal / len(claims) < 0.85


async def test_first_in_first_out_within_a_class(store: Store) -> None:
    late = await fill(store, Priority.NORMAL, Priority.NORMAL, now=5.0)
    early = await fill(store, Priority.NORMAL, Priority.NORMAL, now=1.0)
    assert await claimed_ids(store, 4) == early + late  # by added time, then by id


async def test_an_item_is_claimed_only_from_its_own_shard_and_server(store: Store) -> None:
    (item_id,) = await fill(store, Priority.NORMAL)
    other_server = Queue(store.database, server_id=99, boot="boot1", bells=store.bells)
    for shard in set(range(16)) - {SHARD}:
        assert await store.queue.claim(shard, now=1.0, chance=0.0) is None
    assert await other_server.claim(SHARD, now=1.0, chance=0.0) is None
    assert await claimed_ids(store, 1) == [item_id]


async def test_claim_urgent_takes_the_oldest_of_any_shard_and_nothing_else(store: Store) -> None:
    await store.put(b"/normal", version(1))
    late = await store.put(b"/late", version(2), origin(Priority.URGENT), now=5.0)
    early = await store.put(b"/early", version(3), origin(Priority.URGENT), now=1.0)
    claims = [await store.queue.claim_urgent(now=9.0) for _ in range(3)]
    assert [leased and leased.item.id for leased in claims] == [early.item_id, late.item_id, None]


async def test_no_item_is_claimed_twice(store: Store) -> None:
    await fill(store, *[Priority.NORMAL] * 20)
    claims = await asyncio.gather(*(store.queue.claim(SHARD, now=1.0, chance=0.0) for _ in range(30)))
    ids = [leased.item.id for leased in claims if leased]
    leases = {leased.lease for leased in claims if leased}
    assert len(ids) == len(set(ids)) == len(leases) == 20


async def test_what_is_not_due_is_never_claimed(store: Store) -> None:
    (item_id,) = await fill(store, Priority.URGENT)
    leased = await store.claim(item_id)
    assert await store.queue.retry(leased, fault=Fault.SERVER_FAULT, reason="500", next_at=10.0, now=1.0)
    assert await store.queue.claim(SHARD, now=100.0, chance=0.0) is None
    assert await store.queue.claim_urgent(now=100.0) is None
    assert await store.queue.next_due() == 10.0
    assert await store.queue.promote(now=9.9) == 0
    assert await store.queue.promote(now=10.0) == 1
    assert await store.queue.next_due() is None
    assert await claimed_ids(store, 1) == [item_id]


async def test_a_retry_keeps_its_place(store: Store) -> None:
    first, second = await fill(store, Priority.NORMAL, Priority.NORMAL)
    leased = await store.queue.claim(SHARD, now=1.0, chance=0.0)
    assert leased is not None
    assert await store.queue.retry(leased, fault=Fault.SERVER_FAULT, reason="500", next_at=2.0, now=1.0)
    item = await store.item(first)
    assert (item.state, item.attempts, item.fault, item.reason) == (State.PENDING, 1, "server_fault", "500")
    await store.queue.promote(now=2.0)
    assert await claimed_ids(store, 2) == [first, second]


async def test_waiting_is_not_counted_and_may_end_at_once(store: Store) -> None:
    (item_id,) = await fill(store, Priority.NORMAL)
    leased = await store.claim(item_id)
    assert await store.queue.wait(leased, fault=Fault.SERVER_SICK, reason="sick", next_at=None, now=1.0)
    assert (await store.item(item_id)).attempts == 0
    assert await claimed_ids(store, 1) == [item_id]


async def test_a_file_that_has_changed_waits_as_its_new_version_and_starts_afresh(store: Store) -> None:
    (item_id,) = await fill(store, Priority.NORMAL)
    leased = await store.claim(item_id)
    await store.queue.retry(leased, fault=Fault.SERVER_FAULT, reason="500", next_at=2.0, now=1.0)
    leased = await store.claim(item_id)
    changed = version(77)
    assert await store.queue.wait(
        leased, fault=Fault.DISTURBED, reason="changed", next_at=5.0, now=1.0, version=changed
    )
    item = await store.item(item_id)
    assert (item.version, item.attempts, item.next_at, item.fault) == (changed, 0, 5.0, None)


async def test_accepting_writes_the_ledger_in_the_same_transaction(store: Store) -> None:
    item_id = await store.new_in(State.EMBEDDING, 1)
    item = await store.item(item_id)
    content = await store.ledger.content(digest(item_id))
    assert content is not None
    assert (item.asset_id, item.sha256, content.asset_id, content.ready) == (
        f"a{item_id}",
        digest(item_id),
        f"a{item_id}",
        False,
    )
    await store.queue.finish([item_id], now=5.0)
    content = await store.ledger.content(digest(item_id))
    assert content is not None
    assert content.ready
    assert (await store.item(item_id)).state is State.READY


async def test_finishing_touches_only_what_is_embedding(store: Store) -> None:
    ids = {
        state: await store.new_in(state, number) for number, state in enumerate(State) if state is not State.UPLOADING
    }
    await store.queue.finish(ids.values(), now=5.0)
    assert {state: (await store.item(item_id)).state for state, item_id in ids.items()} == {
        state: State.READY if state is State.EMBEDDING else state for state in ids
    }


async def test_the_oldest_that_are_due_are_asked_about_first(store: Store) -> None:
    ids = [await store.new_in(State.EMBEDDING, number) for number in range(5)]
    await store.queue.ask_again(dict(zip(ids, [3.0, 9.0, 1.0, 2.0, 9.0], strict=True)))
    assert [each.item_id for each in await store.queue.due_embeddings(now=3.0, limit=2)] == [ids[0], ids[2]]
    assert [each.item_id for each in await store.queue.due_embeddings(now=3.0, limit=50)] == [ids[0], ids[2], ids[3]]
    assert await store.queue.next_embedding_due() == 1.0


async def test_an_embedding_that_failed_is_a_dead_letter_and_a_removed_one_stays_removed(store: Store) -> None:
    failed, removed = await store.new_in(State.EMBEDDING, 1), await store.new_in(State.EMBEDDING, 2)
    await store.queue.embedding_failed(failed, fault=Fault.EMBEDDING_FAILED, reason="no text", now=5.0)
    await store.queue.removed(removed, reason="deleted there", now=6.0)
    assert (await store.item(failed)).state is State.DEAD
    assert ((await store.item(removed)).state, (await store.item(removed)).fault) == (State.SKIPPED, Fault.REMOVED)
    content = await store.ledger.content(digest(removed))
    assert content is not None
    assert content.removed_at == 6.0
    assert [each.verdict for each in await store.listing.attempts(failed)] == ["bury"]
    before = await store.rows("SELECT * FROM items")
    await store.queue.embedding_failed(removed, fault=Fault.EMBEDDING_FAILED, reason="late", now=7.0)
    await store.queue.removed(failed, reason="late", now=7.0)
    assert await store.rows("SELECT * FROM items") == before


async def test_recovery_gives_back_what_other_boots_had_and_nothing_else(store: Store) -> None:
    await store.put(b"/theirs", version(1), origin(Priority.URGENT))
    theirs = await store.queue_of("boot10").claim_urgent(now=0.0)  # whose name begins like ours
    ours = await store.claim((await store.put(b"/ours", version(2))).item_id, now=1.0)
    assert theirs is not None
    later = store.queue
    assert await later.recover(now=2.0) == 1
    assert await later.recover(now=2.0) == 0
    item = await store.item(theirs.item.id)
    assert (item.state, item.attempts, item.fault) == (State.PENDING, 0, "disturbed")
    assert (await store.item(ours.item.id)).state is State.UPLOADING
    assert await store.accept(theirs) is False
    assert [each.fault for each in await store.listing.attempts(theirs.item.id)] == ["disturbed"]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), StoreFailed("unknown")])
async def test_a_claim_that_nobody_learns_of_is_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Else it would stay leased until the next start: its lane was cancelled, or COMMIT ended with an I/O error."""
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


async def test_the_sick_servers_faults_are_forgiven(store: Store) -> None:
    ids = await fill(store, Priority.NORMAL, Priority.NORMAL, Priority.NORMAL)
    for item_id in ids[:2]:
        leased = await store.claim(item_id)
        await store.queue.retry(leased, fault=Fault.SERVER_FAULT, reason="500", next_at=9.0, now=1.0)
    await store.claim(ids[1])
    await store.queue.pardon(ids, now=2.0)
    assert [(await store.item(item_id)).attempts for item_id in ids] == [0, 1, 0]  # the second is under way


async def test_bells_ring_for_what_has_become_possible(store: Store) -> None:
    def tickets() -> tuple[asyncio.Event, asyncio.Event, asyncio.Event]:
        return store.bells.work.ticket(), store.bells.embedding.ticket(), store.bells.news.ticket()

    work, embedding, news = tickets()
    (item_id,) = await fill(store, Priority.NORMAL)
    assert (work.is_set(), embedding.is_set(), news.is_set()) == (True, False, True)
    leased = await store.claim(item_id)
    work, embedding, news = tickets()
    await store.accept(leased)
    assert (work.is_set(), embedding.is_set(), news.is_set()) == (False, True, True)
    work, embedding, news = tickets()
    await store.queue.finish([item_id], now=2.0)
    assert (work.is_set(), embedding.is_set(), news.is_set()) == (False, False, True)


async def test_a_story_keeps_its_last_twenty_lines(store: Store) -> None:
    item_id = (await store.put(b"/a", version(1))).item_id
    for number in range(30):
        leased = await store.claim(item_id)
        await store.queue.wait(leased, fault=Fault.UNREACHABLE, reason=f"{number}", next_at=None, now=float(number))
    story = await store.listing.attempts(item_id)
    assert [each.reason for each in story] == [str(number) for number in range(10, 30)]
    assert (story[0].at, story[0].fault, story[0].verdict) == (10.0, "unreachable", "wait")
