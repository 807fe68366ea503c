"""A clock that is set back does not delay any item beyond the maximum."""

from store_fixtures import Store

from splootd.core.error_code import ErrorCode
from splootd.core.item import State

NOW = 2_000_000_000.0
YEAR_S = 365 * 86_400.0
MINUTE_S = 60.0


async def delayed(store: Store, number: int, until: float) -> int:
    item_id = await store.new_in(State.PENDING, number)
    leased = await store.claim(item_id)
    await store.queue.retry(
        leased, error_code=ErrorCode.SERVER_ERROR, error_message="500", next_at=until, now=until - 5
    )
    return item_id


async def clamp(store: Store) -> int:
    return await store.queue.clamp_delays(now=NOW, delay_max_s=MINUTE_S, poll_max_s=MINUTE_S)


async def test_a_delayed_item_is_due_after_the_clock_was_set_back(store: Store) -> None:
    soon, far = await delayed(store, 1, NOW + MINUTE_S), await delayed(store, 2, NOW + YEAR_S)
    assert await clamp(store) == 1
    assert (await store.item(soon)).next_at == NOW + MINUTE_S
    assert (await store.item(far)).next_at is None
    assert (await store.item(far)).attempts == 1
    leased = await store.queue.claim_urgent(now=NOW)
    assert leased is not None
    assert leased.item.id == far
    await store.assert_sums_are_right()


async def test_an_embedding_is_polled_after_the_clock_was_set_back(store: Store) -> None:
    item_id = await store.new_in(State.EMBEDDING, 1)
    await store.run(
        "UPDATE items SET next_at = ?, accepted_at = ? WHERE id = ?", (NOW + YEAR_S, NOW + YEAR_S - 60, item_id)
    )
    assert await store.queue.due_embeddings(now=NOW, limit=10) == []
    assert await clamp(store) == 1
    (due,) = await store.queue.due_embeddings(now=NOW, limit=10)
    assert (due.item_id, due.accepted_at) == (item_id, NOW)


async def test_thousands_are_clamped_in_bounded_batches(store: Store) -> None:
    for number in range(3):
        await delayed(store, number, NOW + YEAR_S)
    await store.run(
        """INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at,
          next_at, tags, force)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
        SELECT 1, CAST('/x/' || i AS BLOB), 1, i, 1, i, 1, 1, 0, 0, 9e12, '[]', 0 FROM n"""
    )
    assert await clamp(store) == 2_503
    assert (await store.read_queries.counts()).delayed == 0
    await store.assert_sums_are_right()
