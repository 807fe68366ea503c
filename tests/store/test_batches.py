"""Batches: few statements and few pages, with the same results as single calls."""

import asyncio
import itertools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from store_fixtures import PAGE_BYTES, Store, open_store, source, version

from splootd.core.item import SHARDS, FoundFile, Leased, Priority, State, shard_for
from splootd.store.enqueue import ENQUEUE_BATCH_MAX
from splootd.store.upsert import UpsertResult

RAM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # each commit waits for the disk
FRAME_BYTES = PAGE_BYTES + 24  # a page in the write-ahead log, with its header
ONE_BY_ONE = 20
PAGES_MAX = (10, 7.5, 11.5)  # enqueue, claim, accept
ROW = """path, latest, size, mtime_ns, device, inode, state, priority, next_at, folder_id, import_id, tags, force,
  error_code"""


def requests_of(count: int) -> list[FoundFile]:
    return [FoundFile(b"/memes/%d.jpg" % number, version(number)) for number in range(count)]


async def statements(store: Store) -> Counter[str]:
    """Return a counter of the statements that the writer runs from now on, by verb and table."""
    seen: Counter[str] = Counter()
    last = ""

    def record(sql: str) -> None:
        nonlocal last
        if sql != last:  # SQLite reports a statement again for each trigger
            verb, *rest = sql.split()
            seen[" ".join([verb, *[word for word in rest if word not in ("INTO", "FROM", "NOT")][:1]])] += 1
        last = sql

    await store.database.write(lambda connection: connection.set_trace_callback(record))
    await store.database.ping()
    seen.clear()
    return seen


files = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 3))  # path, time, inode


@settings(max_examples=60)
@given(
    st.lists(st.tuples(files, st.sampled_from([*State]), st.booleans()), max_size=4),
    st.lists(files, min_size=2, max_size=6),
)
@example([((0, 0, 0), State.READY, False)], [(1, 0, 0), (0, 0, 0), (1, 0, 0)])  # renamed and renamed back in one batch
@example([], [(0, 0, 0), (0, 1, 0), (1, 1, 0)])
def test_batched_and_single_calls_have_the_same_results(
    before: list[tuple[tuple[int, int, int], State, bool]], found: list[tuple[int, int, int]]
) -> None:
    async def outcomes(*, together: bool) -> tuple[list[UpsertResult], list[tuple[Any, ...]]]:
        with tempfile.TemporaryDirectory(dir=RAM) as scratch:
            async with open_store(Path(scratch, "queue.db")) as store:
                for (path, time, inode), state, is_there in before:
                    await put(store, path, time, inode, state, is_there=is_there)
                requests = [FoundFile(name(path), version(time, inode=inode)) for path, time, inode in found]
                store.disk.update({request.path: request.version for request in requests})
                if together:
                    results = await enqueue_all(store, requests)
                else:
                    results = [outcome for each in requests for outcome in await enqueue_all(store, [each])]
                await store.assert_sums_are_right()
                return results, sorted(await store.rows(f"SELECT {ROW} FROM items"), key=repr)

    assert asyncio.run(outcomes(together=True)) == asyncio.run(outcomes(together=False))


def name(number: int) -> bytes:
    return b"/memes/%d.png" % number


async def enqueue_all(store: Store, requests: list[FoundFile]) -> list[UpsertResult]:
    results = await store.import_store.enqueue(requests, source(), is_still_there=store.is_still_there, now=1.0)
    return [result.outcome for result in results]


async def put(store: Store, path: int, time: int, inode: int, state: State, *, is_there: bool) -> None:
    result = await store.put(name(path), version(time, inode=inode))
    if result.outcome is UpsertResult.QUEUED and state is not State.PENDING:
        await store.lead(await store.claim(result.item_id), state)
    if not is_there:
        del store.disk[name(path)]


async def test_new_files_are_written_by_one_statement(store: Store) -> None:
    seen = await statements(store)
    assert set(await enqueue_all(store, requests_of(ENQUEUE_BATCH_MAX))) == {UpsertResult.QUEUED}
    assert (seen["INSERT items"], seen["COMMIT"], seen["SAVEPOINT op"]) == (1, 1, 0)
    assert seen.total() <= 2 * ENQUEUE_BATCH_MAX + 10  # one query and one staged row for each file


async def test_a_single_new_file_takes_one_query(store: Store) -> None:
    seen = await statements(store)
    await store.put(b"/memes/0.png", version(0))
    assert seen == {"BEGIN IMMEDIATE": 1, "SELECT 1": 1, "INSERT items": 1, "COMMIT": 1}


async def test_known_files_take_one_query_each_and_no_write(store: Store) -> None:
    await enqueue_all(store, requests_of(100))
    for shard in range(SHARDS):
        for leased in await store.queue.claim_batch(shard, limit=100, now=1.0, chance=0.0):
            await store.accept(leased, embedded=True)
    pages, seen = log_pages(store), await statements(store)
    assert set(await enqueue_all(store, requests_of(100))) == {UpsertResult.KNOWN}
    assert log_pages(store) == pages
    assert seen.total() <= 100 + 10


def log_pages(store: Store) -> int:
    """Return the number of pages in the write-ahead log. No checkpoint runs in these tests."""
    return (Path(f"{store.database.path}-wal").stat().st_size - 32) // FRAME_BYTES


async def test_few_pages_are_written_for_one_item(store: Store) -> None:
    """Every page costs its share of a commit. The items inserted first keep any two indexes from sharing a page."""
    await store.run("PRAGMA wal_autocheckpoint = 0")
    await enqueue_all(store, requests_of(500))
    marks = [log_pages(store)]
    for number in range(ONE_BY_ONE):
        await store.put(b"/memes/%d.png" % number, version(501 + number))
    marks.append(log_pages(store))
    claimed = [await store.queue.claim(3, now=2.0, chance=0.0) for _ in range(ONE_BY_ONE)]
    marks.append(log_pages(store))
    for leased in claimed:
        assert leased is not None
        assert await store.accept(leased)
    marks.append(log_pages(store))
    written = [(after - before) / ONE_BY_ONE for before, after in itertools.pairwise(marks)]
    assert [pages <= most for pages, most in zip(written, PAGES_MAX, strict=True)] == [True] * 3, written


async def test_a_batch_of_claims_takes_one_statement_for_each_priority(store: Store) -> None:
    paths = [path for number in range(500) if shard_for(path := b"/memes/%d.png" % number) == 3][:20]
    for number, path in enumerate(paths):
        priority = Priority.URGENT if number == 19 else Priority.NORMAL
        await store.put(path, version(number), source(priority), now=float(number))
    seen = await statements(store)
    first, second = await asyncio.gather(
        *(store.queue.claim_batch(3, limit=limit, now=99.0, chance=0.0) for limit in (5, 50))
    )
    assert [leased.item.path for leased in first] == [paths[19], *paths[:4]]
    assert [leased.item.path for leased in second] == paths[4:19]
    assert (seen["UPDATE items"], seen["COMMIT"]) == (
        2,
        1,
    )  # urgent and normal; no item is left for the rest of the limit
    seen.clear()
    await asyncio.gather(*(store.queue.claim_batch(shard, limit=5, now=99.0, chance=0.0) for shard in range(SHARDS)))
    assert seen["UPDATE items"] == 0
    with pytest.raises(ValueError, match="1 to 1000"):
        await store.queue.claim_batch(3, limit=1_001, now=99.0, chance=0.0)


async def test_simultaneous_claims_are_leased_by_one_statement(store: Store) -> None:
    await enqueue_all(store, requests_of(400))
    seen = await statements(store)
    groups = await asyncio.gather(
        *(store.queue.claim_batch(shard, limit=5, now=2.0, chance=0.0) for shard in range(SHARDS))
    )
    assert [len(group) for group in groups] == [5] * SHARDS
    assert (seen["UPDATE items"], seen["COMMIT"], seen.total()) == (1, 1, 1 + SHARDS + 3)  # one checks for urgent items
    for leased in itertools.chain(*groups):
        stored = await store.item(leased.item.id)
        assert (stored.attempted, leased.item.attempted) == (True, False), "the claim returns what was known before it"
        assert stored._replace(attempted=False) == leased.item
        assert await store.rows("SELECT lease FROM items WHERE id = ?", (leased.item.id,)) == [(leased.lease,)]


async def leased_in(store: Store, count: int) -> list[Leased]:
    await enqueue_all(store, requests_of(count))
    groups = [await store.queue.claim_batch(shard, limit=count, now=2.0, chance=0.0) for shard in range(SHARDS)]
    return [leased for group in groups for leased in group]


async def test_a_batch_is_accepted_by_one_statement_and_each_item_is_fenced(store: Store) -> None:
    leased = await leased_in(store, 100)
    stale, doubled, *_ = leased
    await store.run("UPDATE items SET lease = 'another' WHERE id = ?", (stale.item.id,))
    seen = await statements(store)
    results = await store.queue.accept_batch([store.accepted(each) for each in [*leased, doubled]], now=4.0)
    assert results == [False, *[True] * 99, False]
    assert (seen["UPDATE items"], seen["INSERT ledger"], seen["COMMIT"]) == (1, 1, 1)
    assert (await store.read_queries.counts()).by_state[State.EMBEDDING] == 99
    assert await store.rows("SELECT count(*) FROM ledger") == [(99,)]
    await store.assert_sums_are_right()
    one = await store.item(doubled.item.id)
    assert (one.asset_id, one.sha256) == (f"a{one.id}", store.accepted(doubled).sha256)
    with pytest.raises(ValueError, match="1000 are allowed"):
        await store.queue.accept_batch([store.accepted(stale)] * 1_001, now=4.0)


async def test_small_bulk_shares_a_commit(store: Store) -> None:
    """Sixteen callers that each enqueue one file share one commit."""
    seen = await statements(store)
    await asyncio.gather(*(store.put(b"/memes/%d.png" % number, version(number)) for number in range(16)))
    assert seen["COMMIT"] <= 2
    await asyncio.gather(*(enqueue_all(store, requests_of(600)) for _ in range(2)))
    assert 2 <= seen["COMMIT"] <= 4
