import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sploot_server.assets.database import Database
from sploot_server.assets.jobs import SqliteJobs
from sploot_server.assets.sqlite import SqliteAssets, new_id
from sploot_server.blobs import FileBlobs
from sploot_server.embedding import Unavailable, Unreadable
from sploot_server.jobs import ATTEMPTS_MAX, EmbeddingQueue
from sploot_server.model import NewAsset
from sploot_server.notify import Notifier
from toy_library import FakeEmbedder, picture


class Bench:
    """A queue with all it needs, and a clock that stands still until it is set."""

    def __init__(self, data: Path, database: Database, embedder: FakeEmbedder) -> None:
        self.now_ms = 1_000_000
        self.assets, self.jobs = SqliteAssets(database), SqliteJobs(database)
        self.blobs = FileBlobs(data)
        self.blobs.open()
        self.news = Notifier()
        self.queue = EmbeddingQueue(self.jobs, self.blobs, embedder, self.news, lambda: self.now_ms)

    async def add(self, text: str) -> str:
        async with self.blobs.incoming() as incoming:
            incoming.write(picture(text))
            await incoming.keep()
        checksum = hashlib.sha256(picture(text)).hexdigest()
        new = NewAsset(new_id(), checksum, "x.jpg", "image/jpeg", 9, [])
        return (await self.assets.add(new, now_ms=self.now_ms)).asset.id

    async def state(self, asset_id: str) -> tuple[str, str | None]:
        found = (await self.assets.embeddings([asset_id]))[asset_id]
        return found.state.value, found.error

    async def has_ended(self, asset_id: str) -> bool:
        return (await self.state(asset_id))[0] in ("ready", "failed")


@pytest.fixture
async def bench(tmp_path: Path, embedder: FakeEmbedder) -> AsyncIterator[Bench]:
    database = Database(tmp_path / "library.db")
    database.open()
    yield Bench(tmp_path, database, embedder)
    await database.close()


async def test_what_is_read_is_ready(bench: Bench) -> None:
    ids = [await bench.add(text) for text in ("one", "two", "")]
    assert await bench.queue.run_once() == 3
    assert [await bench.state(each) for each in ids] == [("ready", None)] * 3
    assert await bench.queue.run_once() == 0


async def test_an_unreadable_picture_fails_at_once(bench: Bench, embedder: FakeEmbedder) -> None:
    embedder.faults["bad"] = [Unreadable("It is broken.")]
    bad, good = await bench.add("bad"), await bench.add("good")
    await bench.queue.run_once()
    assert await bench.state(bad) == ("failed", "It is broken.")
    assert await bench.state(good) == ("ready", None)


async def test_a_passing_fault_is_tried_again_later(bench: Bench, embedder: FakeEmbedder) -> None:
    embedder.faults["bad"] = [RuntimeError("out of memory")] * (ATTEMPTS_MAX - 1)
    asset_id = await bench.add("bad")
    for _ in range(ATTEMPTS_MAX - 1):
        assert await bench.queue.run_once() == 1
        assert await bench.state(asset_id) == ("pending", None)
        assert await bench.queue.run_once() == 0
        bench.now_ms += 60_000
    await bench.queue.run_once()
    assert await bench.state(asset_id) == ("ready", None)


async def test_a_lasting_fault_is_given_up_with_its_reason(bench: Bench, embedder: FakeEmbedder) -> None:
    embedder.faults["bad"] = [RuntimeError("out of memory")] * ATTEMPTS_MAX
    asset_id = await bench.add("bad")
    for _ in range(ATTEMPTS_MAX):
        await bench.queue.run_once()
        bench.now_ms += 60_000
    assert await bench.state(asset_id) == ("failed", "The picture could not be read: out of memory")
    assert await bench.queue.run_once() == 0


async def test_who_was_lost_in_bad_company_is_not_blamed(bench: Bench, embedder: FakeEmbedder) -> None:
    embedder.deadly = "killer"
    killer = await bench.add("killer")
    others = [await bench.add(str(number)) for number in range(5)]
    for _ in range(ATTEMPTS_MAX):
        await bench.queue.run_once()
        bench.now_ms += 60_000
    assert await bench.state(killer) == ("failed", "The worker broke down.")
    assert [await bench.state(each) for each in others] == [("ready", None)] * 5


async def test_a_lack_of_workers_is_nobodys_fault(bench: Bench, embedder: FakeEmbedder) -> None:
    embedder.faults["a"] = [Unavailable("not today")] * 9
    asset_id = await bench.add("a")
    for _ in range(9):
        with pytest.raises(Unavailable):
            await bench.queue.run_once()
        await bench.jobs.release(embedder.model, now_ms=bench.now_ms)
    await bench.queue.run_once()
    assert await bench.state(asset_id) == ("ready", None)


async def test_what_a_dead_process_had_in_hand_is_taken_up(bench: Bench) -> None:
    asset_id = await bench.add("a")
    await bench.jobs.claim(1, now_ms=bench.now_ms)
    with bench.news.subscribe(asset_id) as ended:
        running = asyncio.create_task(bench.queue.run())
        async with asyncio.timeout(10):
            await ended.wait()
        running.cancel()
    assert await bench.state(asset_id) == ("ready", None)


async def test_hurrying_waits_for_the_end_but_not_for_ever(bench: Bench, embedder: FakeEmbedder) -> None:
    embedder.hold = asyncio.Event()
    asset_id = await bench.add("a")
    running = asyncio.create_task(bench.queue.run())
    await bench.queue.hurry(asset_id, lambda: bench.has_ended(asset_id), wait_s=0.01)
    assert (await bench.state(asset_id))[0] in ("pending", "processing")
    hurried = asyncio.create_task(bench.queue.hurry(asset_id, lambda: bench.has_ended(asset_id), wait_s=10))
    await asyncio.sleep(0)
    embedder.hold.set()
    await hurried
    running.cancel()
    assert await bench.state(asset_id) == ("ready", None)


async def test_hurrying_is_not_ended_by_news_of_the_attempt_before(bench: Bench, embedder: FakeEmbedder) -> None:
    """The attempt has failed, which is committed; it is put before all others; and only then its end is told."""
    embedder.faults["a"] = [Unreadable("It is broken.")]
    asset_id = await bench.add("a")
    await bench.queue.run_once()
    hurried = asyncio.create_task(bench.queue.hurry(asset_id, lambda: bench.has_ended(asset_id), wait_s=10))
    async with asyncio.timeout(10):
        while await bench.has_ended(asset_id):  # until it is put before all others
            pass
    bench.news.publish_end(asset_id)
    assert await bench.state(asset_id) == ("pending", None)
    assert not hurried.done()
    await bench.queue.run_once()
    await hurried
    assert await bench.state(asset_id) == ("ready", None)
