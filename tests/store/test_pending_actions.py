"""Commands of the user: requeue, bump, forget."""

from store_fixtures import Store, source, version

from splootd.core.error_code import ErrorCode
from splootd.core.item import Priority, State


async def test_a_requeued_item_is_urgent_with_its_attempts_reset(store: Store) -> None:
    failed = await store.new_in(State.FAILED, 1)
    await store.put(b"/other", version(2), source(Priority.URGENT), now=5.0)
    assert (await store.item(failed)).attempts == 1
    assert await store.queue.requeue(ids=[failed], now=9.0) == [failed]
    item = await store.item(failed)
    assert (item.state, item.priority, item.attempts, item.error_code, item.next_at) == (
        State.PENDING,
        0,
        0,
        None,
        None,
    )
    leased = await store.queue.claim_urgent(now=9.0)
    assert leased is not None
    assert leased.item.id == failed


async def test_by_id_failed_missing_and_skipped_items_are_requeued_and_no_others(store: Store) -> None:
    ids = {
        state: await store.new_in(state, number) for number, state in enumerate(State) if state is not State.UPLOADING
    }
    requeued = await store.queue.requeue(ids=list(ids.values()), now=5.0)
    assert sorted(requeued) == sorted(ids[state] for state in (State.FAILED, State.MISSING, State.SKIPPED))


async def test_failed_and_skipped_items_are_requeued_by_error_code(store: Store) -> None:
    failed = await store.new_in(State.FAILED, 0)
    removed = await store.claim((await store.put(b"/removed", version(8))).item_id)
    await store.queue.skip(removed, error_code=ErrorCode.REMOVED, error_message="removed", now=1.0)
    other = await store.claim((await store.put(b"/other", version(9))).item_id)
    await store.queue.discard(other, error_code=ErrorCode.EMPTY, error_message="empty", now=1.0)
    assert await store.queue.requeue(error_code=ErrorCode.EMPTY, now=2.0) == [other.item.id]
    assert await store.queue.requeue(error_code=ErrorCode.REMOVED, now=2.0) == [removed.item.id]
    assert (await store.item(failed)).state is State.FAILED


async def test_thousands_are_requeued_in_bounded_batches(store: Store) -> None:
    await store.run(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) INSERT INTO items (server_id,"
        " path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, tags, force)"
        " SELECT 1, CAST(i AS BLOB), 1, 1, 1, i, 1, i % 16, 0, 0, '[]', 0 FROM n"
    )
    await store.run("UPDATE items SET state = 'uploading', lease = 'x'")
    await store.run("UPDATE items SET state = 'failed', lease = NULL, error_code = 'rejected', error_message = 'r'")
    assert len(await store.queue.requeue(error_code=ErrorCode.REJECTED, now=1.0)) == 2_500
    assert (await store.read_queries.counts()).by_state[State.FAILED] == 0
    await store.assert_sums_are_right()


async def test_a_bump_makes_pending_items_urgent_and_due(store: Store) -> None:
    ids = {
        state: await store.new_in(state, number) for number, state in enumerate(State) if state is not State.UPLOADING
    }
    leased = await store.claim(ids[State.PENDING])
    await store.queue.retry(leased, error_code=ErrorCode.SERVER_ERROR, error_message="500", next_at=99.0, now=1.0)
    assert await store.queue.bump(list(ids.values()), now=2.0) == [ids[State.PENDING]]
    claimed = await store.queue.claim_urgent(now=2.0)
    assert claimed is not None
    assert claimed.item.id == ids[State.PENDING]


async def test_forget_skips_items_that_are_not_uploading_or_stored(store: Store) -> None:
    ids = {state: await store.new_in(state, number) for number, state in enumerate(State)}
    forgotten = await store.queue.forget(list(ids.values()), now=5.0)
    assert sorted(forgotten) == sorted(ids[state] for state in (State.PENDING, State.FAILED, State.MISSING))
    assert {(await store.item(item_id)).error_code for item_id in forgotten} == {"cancelled"}
    assert (await store.item(ids[State.UPLOADING])).state is State.UPLOADING
