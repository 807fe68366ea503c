"""The cost of one item, in counts and not in times: requests, transactions, thread calls."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_fixtures import PipelineHarness, open_pipeline
from store_fixtures import open_store, source, version

from splootd.core.item import SHARDS, FoundFile, Priority, State
from splootd.store import database
from splootd.store.enqueue import ENQUEUE_BATCH_MAX
from splootd.store.transaction import CommitResult, commit_all

ITEMS = 24
TOUCHES = 20
TURNS = 100  # of the event loop: more than all workers need to wake up and query


class Commits:
    """Records every committed group by its number of operations, empty groups too."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.wrote = 0

    def __call__(self, connection: object, ops: list[object]) -> CommitResult:
        committed = commit_all(connection, ops)  # type: ignore[arg-type]  # passed on unchanged
        self.groups.append(len(ops))
        self.wrote += committed.wrote
        return committed


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Commits:
    commits = Commits()
    monkeypatch.setattr(database, "commit_all", commits)
    return commits


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncIterator[PipelineHarness]:
    async with open_pipeline(tmp_path) as pipeline:
        yield pipeline


async def test_a_new_item_costs_one_upload_and_no_lookup(pipeline: PipelineHarness) -> None:
    for number in range(ITEMS):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.until_through()
    assert pipeline.sploot.count("upload") == ITEMS
    assert pipeline.sploot.count("limits") == 1
    assert len(pipeline.sploot.requests) == ITEMS + 1


async def test_what_the_library_just_reported_is_not_queried_again(pipeline: PipelineHarness) -> None:
    first = await pipeline.add("first.jpg", b"\xff\xd8\xff\xe0same\xff\xd9")
    await pipeline.take(first)
    requests_before = len(pipeline.sploot.requests)
    second = await pipeline.add("second.jpg", b"\xff\xd8\xff\xe0same\xff\xd9")
    await pipeline.take(second)
    assert len(pipeline.sploot.requests) == requests_before


async def test_an_item_costs_at_most_two_commits(pipeline: PipelineHarness, commits: Commits) -> None:
    """One for its claim, one for its result; items share them."""
    for number in range(ITEMS):
        await pipeline.add(f"{number}.jpg")
    commits.wrote = 0
    pipeline.start()
    await pipeline.until_through()
    assert commits.wrote <= 2 * ITEMS
    assert sum(commits.groups) >= 2 * ITEMS  # every operation was counted


async def test_a_thousand_files_are_queued_in_one_commit(tmp_path: Path, commits: Commits) -> None:
    async with open_store(tmp_path / "queue.db") as store:
        commits.wrote = 0
        batch = [FoundFile(b"/memes/%d.jpg" % number, version(number)) for number in range(ENQUEUE_BATCH_MAX)]
        await store.import_store.enqueue(batch, source(), is_still_there=lambda path, of: True, now=1.0)
        assert commits.wrote == 1


async def test_a_thousand_known_files_write_nothing(tmp_path: Path, commits: Commits) -> None:
    async with open_store(tmp_path / "queue.db") as store:
        batch = [FoundFile(b"/memes/%d.jpg" % number, version(number)) for number in range(ENQUEUE_BATCH_MAX)]
        await store.import_store.enqueue(batch, source(), is_still_there=lambda path, of: True, now=1.0)
        commits.wrote = 0
        await store.import_store.enqueue(batch, source(), is_still_there=lambda path, of: True, now=2.0)
        assert commits.wrote == 0


async def test_claims_that_wait_together_are_one_commit(tmp_path: Path, commits: Commits) -> None:
    async with open_store(tmp_path / "queue.db") as store:
        batch = [FoundFile(b"/memes/%d.jpg" % number, version(number)) for number in range(ENQUEUE_BATCH_MAX)]
        await store.import_store.enqueue(batch, source(), is_still_there=lambda path, of: True, now=1.0)
        commits.groups.clear()
        commits.wrote = 0
        claims = [store.queue.claim(shard, now=2.0, chance=0.0) for shard in range(SHARDS)]
        assert all(await asyncio.gather(*claims))
        assert (len(commits.groups), commits.wrote) == (1, 1)


async def test_what_is_urgent_is_claimed_in_the_commit_that_queues_it(
    pipeline: PipelineHarness, commits: Commits
) -> None:
    """While the writer is busy, as under a backlog, each further commit delays the user."""
    pipeline.start()
    for _ in range(TOUCHES):
        await pipeline.store.database.ping()  # the workers have queried, and wait
    commits.groups.clear()
    busy = threading.Event()
    before = asyncio.ensure_future(pipeline.store.database.write(lambda _: busy.wait()))
    await asyncio.sleep(0)
    adding = asyncio.ensure_future(pipeline.add("urgent.jpg", priority=Priority.URGENT))
    for _ in range(TURNS):
        await asyncio.sleep(0)
    busy.set()
    await asyncio.gather(before, adding)
    assert commits.groups[:2] == [1, 2]  # the file and all the claims
    assert (await pipeline.store.item(adding.result())).state is not State.PENDING


async def test_an_empty_queue_is_queried_once_per_worker(pipeline: PipelineHarness, commits: Commits) -> None:
    """Sixteen workers and the urgent worker query, find nothing, and wait for a wake signal."""
    commits.groups.clear()
    pipeline.start()
    for _ in range(TOUCHES):
        await pipeline.store.database.ping()
    assert sum(commits.groups) == 2 + TOUCHES  # one query for all sixteen, and one for the urgent worker


async def test_an_item_costs_two_thread_calls_and_one_ledger_query(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread call reads and hashes it, one checks it again after the upload. The token costs none."""
    calls: Counter[str] = Counter()
    loop, read = asyncio.get_running_loop(), pipeline.store.database.read
    run_in_executor = loop.run_in_executor

    def counted_thread(executor: Any, work: Any, *args: Any) -> Any:
        calls["thread"] += 1
        return run_in_executor(executor, work, *args)

    def counted_read(query: Any) -> Any:
        calls["ledger"] += "Ledger" in query.__qualname__
        return read(query)

    for number in range(ITEMS):
        await pipeline.add(f"{number}.jpg")
    monkeypatch.setattr(loop, "run_in_executor", counted_thread)
    monkeypatch.setattr(pipeline.store.database, "read", counted_read)
    pipeline.start()
    await pipeline.until_through()
    assert ITEMS < calls["thread"] <= 2 * ITEMS + 1  # the missing token is looked up once
    assert calls["ledger"] <= ITEMS
