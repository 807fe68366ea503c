"""What people wish: a fresh start, the front of the queue, or out of it."""

from storekit import Store, origin, version

from splootd.core.fault import Fault
from splootd.core.item import Priority, State


async def test_reviving_gives_a_fresh_start_before_all_others(store: Store) -> None:
    dead = await store.new_in(State.DEAD, 1)
    await store.put(b"/other", version(2), origin(Priority.URGENT), now=5.0)
    assert (await store.item(dead)).attempts == 1
    assert await store.queue.revive(ids=[dead], now=9.0) == [dead]
    item = await store.item(dead)
    assert (item.state, item.priority, item.attempts, item.fault, item.next_at) == (State.PENDING, 0, 0, None, None)
    leased = await store.queue.claim_urgent(now=9.0)
    assert leased is not None
    assert leased.item.id == dead


async def test_by_id_gone_and_skipped_ones_are_revived_too_and_no_others(store: Store) -> None:
    ids = {
        state: await store.new_in(state, number) for number, state in enumerate(State) if state is not State.UPLOADING
    }
    revived = await store.queue.revive(ids=list(ids.values()), now=5.0)
    assert sorted(revived) == sorted(ids[state] for state in (State.DEAD, State.GONE, State.SKIPPED))


async def test_dead_letters_are_revived_by_fault_or_all(store: Store) -> None:
    ids = [await store.new_in(State.DEAD, number) for number in range(3)]
    other = await store.claim((await store.put(b"/other", version(9))).item_id)
    await store.queue.bury(other, fault=Fault.EMPTY, reason="empty", now=1.0)
    gone = await store.new_in(State.GONE, 10)
    assert await store.queue.revive(fault=Fault.EMPTY, now=2.0) == [other.item.id]
    assert await store.queue.revive(all_dead=True, now=2.0) == ids
    assert (await store.item(gone)).state is State.GONE


async def test_thousands_are_revived_in_bounded_batches(store: Store) -> None:
    await store.run(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) INSERT INTO items (server_id,"
        " path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, tags, force)"
        " SELECT 1, CAST(i AS BLOB), 1, 1, 1, i, 1, i % 16, 0, 0, '[]', 0 FROM n"
    )
    await store.run("UPDATE items SET state = 'uploading', lease = 'x'")
    await store.run("UPDATE items SET state = 'dead', lease = NULL, fault = 'refused', reason = 'r'")
    assert len(await store.queue.revive(all_dead=True, now=1.0)) == 2_500
    assert (await store.listing.counts()).by_state[State.DEAD] == 0
    await store.assert_sums_are_right()


async def test_bumping_moves_what_waits_to_the_front_even_if_it_is_not_due(store: Store) -> None:
    ids = {
        state: await store.new_in(state, number) for number, state in enumerate(State) if state is not State.UPLOADING
    }
    leased = await store.claim(ids[State.PENDING])
    await store.queue.retry(leased, fault=Fault.SERVER_FAULT, reason="500", next_at=99.0, now=1.0)
    assert await store.queue.bump(list(ids.values()), now=2.0) == [ids[State.PENDING]]
    claimed = await store.queue.claim_urgent(now=2.0)
    assert claimed is not None
    assert claimed.item.id == ids[State.PENDING]


async def test_forgetting_takes_out_of_the_queue_and_leaves_alone_what_is_under_way(store: Store) -> None:
    ids = {state: await store.new_in(state, number) for number, state in enumerate(State)}
    forgotten = await store.queue.forget(list(ids.values()), now=5.0)
    assert sorted(forgotten) == sorted(ids[state] for state in (State.PENDING, State.DEAD, State.GONE))
    assert {(await store.item(item_id)).fault for item_id in forgotten} == {"forgotten"}
    assert (await store.item(ids[State.UPLOADING])).state is State.UPLOADING
