"""What one item may cost, in counts and not in times: requests, transactions, fsyncs."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from storekit import opened, origin, version
from walkkit import Walk, walking

from splootd.core.item import SHARDS, Priority, State
from splootd.store import database
from splootd.store.arrivals import OFFER_MAX, Candidate
from splootd.store.transaction import Committed, commit_all

ITEMS = 24
TOUCHES = 20
TURNS = 100  # of the event loop: more than all lanes need to wake and ask


class Commits:
    """Every group that was committed, by its number of operations; the empty ones too."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.wrote = 0

    def __call__(self, connection: object, ops: list[object]) -> Committed:
        committed = commit_all(connection, ops)  # type: ignore[arg-type]  # as it came
        self.groups.append(len(ops))
        self.wrote += committed.wrote
        return committed


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Commits:
    commits = Commits()
    monkeypatch.setattr(database, "commit_all", commits)
    return commits


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    async with walking(tmp_path) as walk:
        yield walk


async def test_a_new_item_costs_one_check_and_one_upload(walk: Walk) -> None:
    for number in range(ITEMS):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.until_through()
    assert walk.sploot.count("check") == ITEMS
    assert walk.sploot.count("upload") == ITEMS
    assert walk.sploot.count("limits") == 1
    assert len(walk.sploot.requests) == 2 * ITEMS + 1


async def test_what_the_library_just_told_is_not_asked_again(walk: Walk) -> None:
    first = await walk.add("first.jpg", b"\xff\xd8\xff\xe0same\xff\xd9")
    await walk.take(first)
    asked = len(walk.sploot.requests)
    second = await walk.add("second.jpg", b"\xff\xd8\xff\xe0same\xff\xd9")
    await walk.take(second)
    assert len(walk.sploot.requests) == asked


async def test_an_item_costs_at_most_two_commits(walk: Walk, commits: Commits) -> None:
    """One for its claim, one for its answer; neighbours share them."""
    for number in range(ITEMS):
        await walk.add(f"{number}.jpg")
    commits.wrote = 0
    walk.start()
    await walk.until_through()
    assert commits.wrote <= 2 * ITEMS
    assert sum(commits.groups) >= 2 * ITEMS  # all that was asked went through here


async def test_a_thousand_files_are_queued_in_one_commit(tmp_path: Path, commits: Commits) -> None:
    async with opened(tmp_path / "queue.db") as store:
        commits.wrote = 0
        batch = [Candidate(b"/memes/%d.jpg" % number, version(number), None) for number in range(OFFER_MAX)]
        await store.arrivals.offer(batch, origin(), still_there=lambda path, of: True, now=1.0)
        assert commits.wrote == 1


async def test_a_thousand_known_files_write_nothing(tmp_path: Path, commits: Commits) -> None:
    async with opened(tmp_path / "queue.db") as store:
        batch = [Candidate(b"/memes/%d.jpg" % number, version(number), None) for number in range(OFFER_MAX)]
        await store.arrivals.offer(batch, origin(), still_there=lambda path, of: True, now=1.0)
        commits.wrote = 0
        await store.arrivals.offer(batch, origin(), still_there=lambda path, of: True, now=2.0)
        assert commits.wrote == 0


async def test_claims_that_wait_together_are_one_commit(tmp_path: Path, commits: Commits) -> None:
    async with opened(tmp_path / "queue.db") as store:
        batch = [Candidate(b"/memes/%d.jpg" % number, version(number), None) for number in range(OFFER_MAX)]
        await store.arrivals.offer(batch, origin(), still_there=lambda path, of: True, now=1.0)
        commits.groups.clear()
        commits.wrote = 0
        claims = [store.queue.claim(shard, now=2.0, chance=0.0) for shard in range(SHARDS)]
        assert all(await asyncio.gather(*claims))
        assert (len(commits.groups), commits.wrote) == (1, 1)


async def test_what_is_urgent_is_claimed_in_the_commit_that_queues_it(walk: Walk, commits: Commits) -> None:
    """Where the writer is busy, as it is under a backlog, a commit more is what a person waits for."""
    walk.start()
    for _ in range(TOUCHES):
        await walk.store.database.touch()  # the lanes have looked, and sleep
    commits.groups.clear()
    busy = threading.Event()
    before = asyncio.ensure_future(walk.store.database.write(lambda _: busy.wait()))
    await asyncio.sleep(0)
    adding = asyncio.ensure_future(walk.add("urgent.jpg", priority=Priority.URGENT))
    for _ in range(TURNS):
        await asyncio.sleep(0)
    busy.set()
    await asyncio.gather(before, adding)
    assert commits.groups[:2] == [1, 2]  # the file and all the claims
    assert (await walk.store.item(adding.result())).state is not State.PENDING


async def test_an_empty_queue_is_asked_once_a_lane_and_then_left_alone(walk: Walk, commits: Commits) -> None:
    """Sixteen lanes and the express lane look, find nothing, and sleep until a bell rings."""
    commits.groups.clear()
    walk.start()
    for _ in range(TOUCHES):
        await walk.store.database.touch()
    assert sum(commits.groups) == 2 + TOUCHES  # all of the sixteen in one look, and the express lane, which goes ahead


async def test_an_item_costs_two_trips_to_a_thread_and_one_look_into_the_ledger(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To be read and hashed at once, and to be looked at again when it has been sent. Its token is no trip."""
    trips: Counter[str] = Counter()
    to_thread, read = asyncio.to_thread, walk.store.database.read

    def counted_thread(work: Any, *args: Any) -> Any:
        trips["thread"] += 1
        return to_thread(work, *args)

    def counted_read(query: Any) -> Any:
        trips["ledger"] += "Ledger" in query.__qualname__
        return read(query)

    for number in range(ITEMS):
        await walk.add(f"{number}.jpg")
    monkeypatch.setattr(asyncio, "to_thread", counted_thread)
    monkeypatch.setattr(walk.store.database, "read", counted_read)
    walk.start()
    await walk.until_through()
    assert trips["thread"] <= 2 * ITEMS + 1  # that there is no token is looked up once
    assert trips["ledger"] <= ITEMS
